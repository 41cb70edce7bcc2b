//! Typed values that are passed on unread, and messages in them.
//!
//! Type URLs have no host part here: Go's `typeurl` writes none, and clients compare texts. Protobuf's
//! own `type.googleapis.com/` is taken off what others send. Other texts before a slash belong to the
//! name of the type (`types.containerd.io/…`).

use std::collections::BTreeMap;

use lamina_core::{Any, Error, Result};
use prost::{Message, Name};

/// A value that came.
pub fn decode(any: prost_types::Any) -> Any {
    Any { type_url: bare(&any.type_url).to_owned(), value: any.value }
}

/// A value to send.
pub fn encode(any: Any) -> prost_types::Any {
    prost_types::Any { type_url: any.type_url, value: any.value }
}

/// Values by name, such as extensions.
pub fn decode_map(values: BTreeMap<String, prost_types::Any>) -> BTreeMap<String, Any> {
    values.into_iter().map(|(name, any)| (name, decode(any))).collect()
}

/// Values by name to send.
pub fn encode_map(values: BTreeMap<String, Any>) -> BTreeMap<String, prost_types::Any> {
    values.into_iter().map(|(name, any)| (name, encode(any))).collect()
}

/// Puts a message into a value, under its bare name.
pub fn pack<M: Message + Name>(message: &M) -> prost_types::Any {
    prost_types::Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

/// Whether a value holds an `M`, with or without a host part.
pub fn is<M: Name>(any: &prost_types::Any) -> bool {
    bare(&any.type_url) == M::full_name()
}

/// The message in a value.
///
/// # Errors
/// InvalidArgument that names `field`, when it holds something else or broken bytes.
pub fn unpack<M: Message + Name + Default>(field: &str, any: &prost_types::Any) -> Result<M> {
    if !is::<M>(any) {
        return Err(Error::invalid_argument(format!(
            "{field}: {:?} is no {}",
            any.type_url,
            M::full_name()
        )));
    }
    M::decode(any.value.as_slice()).map_err(|error| {
        Error::invalid_argument(format!("{field}: broken {}", M::full_name())).with_source(error)
    })
}

/// A type URL without protobuf's host part.
pub(crate) fn bare(type_url: &str) -> &str {
    type_url
        .strip_prefix("type.googleapis.com/")
        .or_else(|| type_url.strip_prefix('/'))
        .unwrap_or(type_url)
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;
    use crate::proto::containerd::events::{TaskExit, TaskStart};

    #[test]
    fn type_urls_are_bare() {
        for (sent, kept) in [
            ("containerd.runc.v1.Options", "containerd.runc.v1.Options"),
            ("type.googleapis.com/containerd.runc.v1.Options", "containerd.runc.v1.Options"),
            ("/containerd.runc.v1.Options", "containerd.runc.v1.Options"),
            (
                "types.containerd.io/opencontainers/runtime-spec/1/Spec",
                "types.containerd.io/opencontainers/runtime-spec/1/Spec",
            ),
            ("", ""),
        ] {
            let any = decode(prost_types::Any { type_url: sent.to_owned(), value: vec![0, 255] });
            assert_eq!((any.type_url.as_str(), any.value.as_slice()), (kept, &[0, 255][..]));
            assert_eq!(encode(any).type_url, kept);
        }
    }

    #[test]
    fn maps_keep_names_and_values() {
        let values = BTreeMap::from([
            ("a".to_owned(), Any { type_url: "x.Y".to_owned(), value: vec![1] }),
            ("b".to_owned(), Any::default()),
        ]);
        assert_eq!(decode_map(encode_map(values.clone())), values);
    }

    #[test]
    fn messages_are_packed_by_name() {
        let exit = TaskExit { container_id: "redis".to_owned(), pid: 7, ..Default::default() };
        let mut any = pack(&exit);
        assert_eq!(any.type_url, "containerd.events.TaskExit");
        assert_eq!(unpack::<TaskExit>("event", &any).unwrap(), exit);
        let error = unpack::<TaskStart>("event", &any).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().starts_with("event: "), "{error}");

        any.type_url.insert_str(0, "type.googleapis.com/");
        assert!(is::<TaskExit>(&any) && !is::<TaskStart>(&any));
        assert_eq!(unpack::<TaskExit>("event", &any).unwrap(), exit);
        any.value = vec![0xff; 9];
        assert_eq!(unpack::<TaskExit>("event", &any).unwrap_err().kind(), Kind::InvalidArgument);
    }
}
