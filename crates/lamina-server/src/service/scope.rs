//! Whose call it is: namespace and lease, from the headers of a request.

use lamina_core::{Error, Namespace, Scope};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::status;

/// Names the namespace of a call; nearly every call has one.
const NAMESPACE: &str = "containerd-namespace";
/// Names the lease that gets what the call makes.
const LEASE: &str = "containerd-lease";

/// The scope of a call.
///
/// # Errors
/// FailedPrecondition when it names no namespace, InvalidArgument for one that cannot be.
pub(crate) fn scope<T>(request: &Request<T>) -> Result<Scope, Status> {
    let headers = request.metadata();
    let Some(name) = text(headers, NAMESPACE)?.filter(|name| !name.is_empty()) else {
        return Err(status(Error::failed_precondition("namespace is required")));
    };
    let scope = Scope::new(Namespace::new(name).map_err(status)?);
    Ok(match text(headers, LEASE)?.filter(|lease| !lease.is_empty()) {
        Some(lease) => scope.with_lease(lease),
        None => scope,
    })
}

fn text<'a>(headers: &'a MetadataMap, name: &str) -> Result<Option<&'a str>, Status> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let bad = |_| status(Error::invalid_argument(format!("header {name} is not text")));
    value.to_str().map(Some).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn request(headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn namespace_and_lease_come_from_the_headers() {
        let got = scope(&request(&[(NAMESPACE, "k8s.io"), (LEASE, "l/1")])).unwrap();
        assert_eq!(got, Scope::new(Namespace::new("k8s.io").unwrap()).with_lease("l/1"));
        let got = scope(&request(&[(NAMESPACE, "k8s.io"), (LEASE, "")])).unwrap();
        assert_eq!(got.lease, None);
    }

    #[test]
    fn a_call_without_a_usable_namespace_is_refused() {
        for (headers, code) in [
            (&[][..], Code::FailedPrecondition),
            (&[(NAMESPACE, "")], Code::FailedPrecondition),
            (&[(NAMESPACE, "a/b")], Code::InvalidArgument),
        ] {
            assert_eq!(scope(&request(headers)).unwrap_err().code(), code, "{headers:?}");
        }
        let mut raw = request(&[]);
        let value = tonic::metadata::MetadataValue::try_from(&b"\xff"[..]).unwrap();
        raw.metadata_mut().insert(NAMESPACE, value);
        assert_eq!(scope(&raw).unwrap_err().code(), Code::InvalidArgument);
    }
}
