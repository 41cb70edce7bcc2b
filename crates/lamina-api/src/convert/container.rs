//! Container records.

use lamina_core::{Any, Container, Result};

use super::{any, timestamp};
use crate::proto::containerd::services::containers::v1 as proto;

/// A container. What is missing is empty; the store says what it needs.
///
/// # Errors
/// InvalidArgument for times that are none.
pub fn decode(container: proto::Container) -> Result<Container> {
    let runtime = container.runtime.unwrap_or_default();
    Ok(Container {
        id: container.id,
        labels: container.labels,
        image: container.image,
        runtime: runtime.name,
        runtime_options: runtime.options.map(any::decode),
        spec: container.spec.map(any::decode).unwrap_or_default(),
        snapshotter: container.snapshotter,
        snapshot_key: container.snapshot_key,
        sandbox: container.sandbox,
        extensions: any::decode_map(container.extensions),
        created: timestamp::decode("container.created_at", container.created_at)?,
        updated: timestamp::decode("container.updated_at", container.updated_at)?,
    })
}

/// A container to send.
pub fn encode(container: Container) -> proto::Container {
    proto::Container {
        id: container.id,
        labels: container.labels,
        image: container.image,
        runtime: Some(proto::container::Runtime {
            name: container.runtime,
            options: container.runtime_options.map(any::encode),
        }),
        spec: (container.spec != Any::default()).then(|| any::encode(container.spec)),
        snapshotter: container.snapshotter,
        snapshot_key: container.snapshot_key,
        created_at: Some(timestamp::encode(container.created)),
        updated_at: Some(timestamp::encode(container.updated)),
        extensions: any::encode_map(container.extensions),
        sandbox: container.sandbox,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use lamina_core::{Kind, Labels};

    use super::*;

    fn any(type_url: &str) -> Any {
        Any { type_url: type_url.to_owned(), value: vec![1, 2] }
    }

    fn container() -> Container {
        Container {
            id: "redis".to_owned(),
            labels: Labels::from([("a".to_owned(), "b".to_owned())]),
            image: "docker.io/library/redis:7".to_owned(),
            runtime: "io.containerd.runc.v2".to_owned(),
            runtime_options: Some(any("containerd.runc.v1.Options")),
            spec: any("types.containerd.io/opencontainers/runtime-spec/1/Spec"),
            snapshotter: "overlayfs".to_owned(),
            snapshot_key: "redis-key".to_owned(),
            sandbox: "pod".to_owned(),
            extensions: BTreeMap::from([("x".to_owned(), any("x.Y"))]),
            created: Timestamp::new(1, 2).unwrap(),
            updated: Timestamp::new(3, 4).unwrap(),
        }
    }

    #[test]
    fn containers_come_back() {
        let sent = encode(container());
        assert_eq!(sent.snapshot_key, "redis-key");
        assert_eq!(sent.runtime.as_ref().unwrap().name, "io.containerd.runc.v2");
        assert_eq!(sent.created_at, Some(prost_types::Timestamp { seconds: 1, nanos: 2 }));
        assert_eq!(decode(sent).unwrap(), container());
    }

    #[test]
    fn what_is_missing_is_empty() {
        let named = proto::Container { id: "redis".to_owned(), ..Default::default() };
        let container = decode(named).unwrap();
        assert_eq!((container.runtime.as_str(), container.runtime_options.clone()), ("", None));
        assert_eq!(container.spec, Any::default());
        assert_eq!(encode(container).spec, None);
    }

    #[test]
    fn times_are_checked() {
        let wrong = Some(prost_types::Timestamp { seconds: i64::MIN, nanos: 0 });
        let error =
            decode(proto::Container { created_at: wrong, ..Default::default() }).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().starts_with("container.created_at"), "{error}");
    }
}
