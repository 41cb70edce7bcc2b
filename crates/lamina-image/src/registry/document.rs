//! Manifests, indexes and configs: fetched whole, with a cap, and checked before anyone sees them.

use bytes::Bytes;
use lamina_core::digest::Hasher;
use lamina_core::{Descriptor, Digest, Error, Result, media_type};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::answer::{clip, html_title, is_html};
use super::client::Repository;
use super::host::{Ask, Host};
use super::resolve::{header_digest, refuse_schema1};

/// A document as it came, not checked against anything.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) place: String,
    pub(super) media_type: Option<String>,
    pub(super) digest: Option<Digest>,
    pub(super) body: Bytes,
}

/// Fetches a manifest or index by digest.
pub(super) async fn manifest(repository: &Repository, descriptor: &Descriptor) -> Result<Bytes> {
    let limit = repository.transport().limits.manifest;
    refuse_schema1(&descriptor.media_type, descriptor.digest.as_str())?;
    by_digest(repository, descriptor, "manifests", limit).await
}

/// Fetches a small blob by digest.
pub(super) async fn small_blob(
    repository: &Repository,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Bytes> {
    by_digest(repository, descriptor, "blobs", limit).await
}

async fn by_digest(
    repository: &Repository,
    descriptor: &Descriptor,
    kind: &str,
    limit: u64,
) -> Result<Bytes> {
    let Descriptor { digest, size, .. } = descriptor;
    if *size > limit {
        return Err(Error::resource_exhausted(format!(
            "{digest} is said to have {size} bytes; at most {limit} are taken for a {}",
            clip(&descriptor.media_type)
        )));
    }
    let hosts = repository.hosts().iter().filter(|host| host.capabilities().pull);
    let path = format!("{kind}/{digest}");
    let is_manifest = kind == "manifests";
    let ask = |host| {
        let path = &path;
        async move {
            let fetched = fetch(repository, host, path, *size).await?.ok_or_else(|| {
                let host = host.name();
                Error::failed_precondition(format!(
                    "{host}: {size} bytes were announced for {digest}, more came"
                ))
            })?;
            let media_type = fetched.media_type.filter(|_| is_manifest);
            checked(fetched.body, media_type.as_deref(), descriptor, &fetched.place)
        }
    };
    repository.first(&format!("fetch {digest}"), hosts, ask).await
}

/// Gets `path` from `host`; `None` when it has more than `limit` bytes. A body that breaks off is
/// asked for again.
pub(super) async fn fetch(
    repository: &Repository,
    host: &Host,
    path: &str,
    limit: u64,
) -> Result<Option<Fetched>> {
    let transport = repository.transport();
    let mut failures = 0;
    loop {
        let ask = Ask { method: Method::GET, path, headers: accept(), persist: failures > 0 };
        let answer = host.send(transport, &ask).await?;
        if answer.status().as_u16() != 200 {
            return Err(transport.error(answer).await);
        }
        let place = answer.place();
        let media_type = answer.media_type().map(str::to_owned);
        let digest = header_digest(&answer);
        match answer.bytes(limit, transport.timeouts.document).await {
            Ok(body) => {
                let Some(body) = body else { return Ok(None) };
                refuse_nonsense(&place, media_type.as_deref(), &body)?;
                return Ok(Some(Fetched { place, media_type, digest, body }));
            }
            Err(broken) => {
                failures += 1;
                if failures >= transport.retry.attempts {
                    return Err(broken.0);
                }
                tokio::time::sleep(transport.pause(failures)).await;
            }
        }
    }
}

/// Checks a document against its descriptor. `media_type` is what it was served as.
///
/// # Errors
/// FailedPrecondition, naming what is wrong.
pub(super) fn checked(
    body: Bytes,
    media_type: Option<&str>,
    descriptor: &Descriptor,
    place: &str,
) -> Result<Bytes> {
    let Descriptor { digest, size, .. } = descriptor;
    if body.len() as u64 != *size {
        return Err(Error::failed_precondition(format!(
            "{place}: {size} bytes were announced for {digest}, {} came",
            body.len()
        )));
    }
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(&body);
    let actual = hasher.finish();
    if actual != *digest {
        return Err(Error::failed_precondition(format!(
            "{place}: the digest is {actual}, not {digest}"
        )));
    }
    if descriptor.is_manifest() || descriptor.is_index() {
        // Whoever believes one of the three reads the same document as whoever believes another
        // (CVE-2021-41190).
        let actual = manifest_type(media_type, declared_type(&body), place)?;
        if actual != descriptor.media_type && is_manifest_type(&actual) {
            return Err(Error::failed_precondition(format!(
                "{place}: {digest} was announced as {}, but is {actual}",
                descriptor.media_type
            )));
        }
    }
    Ok(body)
}

/// The `mediaType` inside a document; `None` if it has none or is no JSON object.
pub(super) fn declared_type(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
        schema_version: Option<u64>,
    }
    let head: Head = serde_json::from_slice(body).ok()?;
    match (head.media_type, head.schema_version) {
        (Some(media_type), _) if !media_type.is_empty() => Some(media_type),
        (_, Some(1)) => Some(media_type::DOCKER_MANIFEST_V1.to_owned()),
        _ => None,
    }
}

/// The type of a manifest from what it was served as and what it says itself. Servers that do not
/// know serve a general type; a document of OCI need not say.
///
/// # Errors
/// FailedPrecondition when the two contradict each other.
pub(super) fn manifest_type(
    served: Option<&str>,
    declared: Option<String>,
    place: &str,
) -> Result<String> {
    match (served, declared) {
        (Some(served), Some(declared)) if is_manifest_type(served) && served != declared => {
            Err(Error::failed_precondition(format!(
                "{place}: served as {served}, but says of itself to be {:?}",
                clip(&declared)
            )))
        }
        (_, Some(declared)) => Ok(declared),
        (Some(served), None) => Ok(served.to_owned()),
        (None, None) => Ok(String::new()),
    }
}

/// `Accept` with every type of manifest and index that can be read; without it some registries answer
/// with schema 1.
pub(super) fn accept() -> HeaderMap {
    let types = [
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_INDEX,
        media_type::OCI_MANIFEST,
        media_type::OCI_INDEX,
        "*/*",
    ]
    .join(", ");
    let mut headers = HeaderMap::new();
    // The constants are ASCII, so this is always a header.
    headers.extend(HeaderValue::try_from(types).ok().map(|value| (ACCEPT, value)));
    headers
}

fn is_manifest_type(text: &str) -> bool {
    media_type::is_manifest(text) || media_type::is_index(text) || media_type::is_schema1(text)
}

/// An empty body and a web page have messages of their own: they come from what lies between here and
/// the registry, not from the registry.
fn refuse_nonsense(place: &str, media_type: Option<&str>, body: &[u8]) -> Result<()> {
    if body.is_empty() {
        return Err(Error::failed_precondition(format!(
            "{place}: the answer is empty (a proxy in between may have cut it)"
        )));
    }
    if is_html(media_type, body) {
        let title = html_title(body).map_or(String::new(), |title| format!(" titled {title:?}"));
        return Err(Error::failed_precondition(format!(
            "{place}: a web page{title} came instead of an image's document; is this a registry, or \
             does a proxy ask for a login?"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;

    #[test]
    fn served_and_declared_types_must_agree() {
        let oci = Some(media_type::OCI_MANIFEST);
        let docker = || Some(media_type::DOCKER_MANIFEST.to_owned());
        assert_eq!(manifest_type(oci, None, "x").unwrap(), media_type::OCI_MANIFEST);
        let general = manifest_type(Some("application/json"), docker(), "x").unwrap();
        assert_eq!(general, media_type::DOCKER_MANIFEST);
        assert_eq!(manifest_type(None, None, "x").unwrap(), "");
        let error = manifest_type(oci, docker(), "x").unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("says of itself"), "{error}");
    }

    #[test]
    fn schema_1_is_known_by_its_version() {
        assert_eq!(
            declared_type(br#"{"schemaVersion":1,"name":"x"}"#).as_deref(),
            Some(media_type::DOCKER_MANIFEST_V1)
        );
        assert_eq!(declared_type(br#"{"schemaVersion":2}"#), None);
        assert_eq!(declared_type(b"[]"), None);
        assert_eq!(declared_type(b"\xff"), None);
    }

    #[test]
    fn a_document_is_its_size_digest_and_type() {
        let body = Bytes::from_static(br#"{"schemaVersion":2}"#);
        let good = Descriptor::of(media_type::OCI_MANIFEST, &body);
        assert_eq!(checked(body.clone(), None, &good, "x").unwrap(), body);
        let short = Descriptor { size: good.size + 1, ..good.clone() };
        let error = checked(body.clone(), None, &short, "x").unwrap_err();
        assert!(error.message().contains("20 bytes were announced"), "{error}");
        let long = Descriptor { size: good.size - 1, ..good.clone() };
        assert!(
            checked(body.clone(), None, &long, "x")
                .unwrap_err()
                .message()
                .contains("18 bytes were announced")
        );
        let other = Descriptor { digest: Digest::sha256(b""), ..good.clone() };
        assert!(
            checked(body.clone(), None, &other, "x")
                .unwrap_err()
                .message()
                .contains("not sha256:e3b0")
        );
        let error = checked(body, Some(media_type::OCI_INDEX), &good, "x").unwrap_err();
        assert!(error.message().contains("was announced as"), "{error}");
    }
}
