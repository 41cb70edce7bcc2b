//! Namespaces.

use lamina_core::{Labels, Namespace, Result};

use crate::proto::containerd::services::namespaces::v1 as proto;

/// A namespace and its labels.
///
/// # Errors
/// InvalidArgument for a name that is no identifier.
pub fn decode(namespace: proto::Namespace) -> Result<(Namespace, Labels)> {
    Ok((Namespace::new(&namespace.name)?, namespace.labels))
}

/// A namespace and its labels to send.
pub fn encode(name: &Namespace, labels: Labels) -> proto::Namespace {
    proto::Namespace { name: name.to_string(), labels }
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;

    #[test]
    fn names_are_identifiers() {
        let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
        let name = Namespace::new("k8s.io").unwrap();
        let sent = encode(&name, labels.clone());
        assert_eq!(sent.name, "k8s.io");
        assert_eq!(decode(sent).unwrap(), (name, labels));
        for name in ["", "a/b", "..", "a b", &"x".repeat(77)] {
            let sent = proto::Namespace { name: name.to_owned(), ..Default::default() };
            assert_eq!(decode(sent).unwrap_err().kind(), Kind::InvalidArgument, "{name:?}");
        }
    }
}
