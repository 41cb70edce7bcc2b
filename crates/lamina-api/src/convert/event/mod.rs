//! Events: what happened as a message in an envelope, under its topic.
//!
//! Each event of `lamina-core` has one topic and one message. What comes under another topic, or is
//! another message, stays unread as [`Event::Other`].

mod subject;

use lamina_core::namespace::check_identifier;
use lamina_core::{Any, Envelope, Error, Event, Namespace, Result};

pub use subject::Subject;

use super::{any, field, timestamp};
use crate::proto::containerd::events as proto;
use crate::proto::containerd::services::images::v1 as images;
use crate::proto::containerd::types;

/// An envelope.
///
/// # Errors
/// InvalidArgument for a namespace that is no identifier, as of [`check_topic`], and for no time, be
/// it absent or Go's zero.
pub fn decode_envelope(envelope: types::Envelope) -> Result<Envelope> {
    let namespace = Namespace::new(&envelope.namespace)
        .map_err(|error| error.context("event envelope has invalid namespace"))?;
    check_topic(&envelope.topic)?;
    let unset = prost_types::Timestamp { seconds: timestamp::MIN_SECONDS, nanos: 0 };
    let time = envelope.timestamp.filter(|time| *time != unset);
    Ok(Envelope {
        timestamp: timestamp::decode("timestamp", Some(field::required("timestamp", time)?))?,
        namespace,
        event: decode(envelope.topic, envelope.event.unwrap_or_default()),
    })
}

/// An envelope to send.
pub fn encode_envelope(envelope: Envelope) -> types::Envelope {
    let (topic, event) = encode(envelope.event);
    types::Envelope {
        timestamp: Some(timestamp::encode(envelope.timestamp)),
        namespace: envelope.namespace.to_string(),
        topic,
        event: Some(event),
    }
}

/// Checks a topic: `/` before each of one or more identifiers.
///
/// # Errors
/// InvalidArgument that names the topic.
pub fn check_topic(topic: &str) -> Result<()> {
    let bad = |error: Error| error.context(format!("envelope topic {topic:?}"));
    let Some(components) = topic.strip_prefix('/') else {
        return Err(bad(Error::invalid_argument("must start with '/'")));
    };
    components.split('/').try_for_each(check_identifier).map_err(bad)
}

/// What happened. A message that is not the topic's own, or is broken, is passed on unread; fields
/// that `lamina-core`'s event does not have are dropped, so who only forwards keeps the envelope.
pub fn decode(topic: String, payload: prost_types::Any) -> Event {
    known(&topic, &payload).unwrap_or_else(|| Event::Other { topic, payload: any::decode(payload) })
}

fn known(topic: &str, payload: &prost_types::Any) -> Option<Event> {
    fn read<M: prost::Message + prost::Name + Default>(payload: &prost_types::Any) -> Option<M> {
        any::unpack("event", payload).ok()
    }
    Some(match topic {
        "/namespaces/create" => {
            let proto::NamespaceCreate { name, labels } = read(payload)?;
            Event::NamespaceCreate { name, labels }
        }
        "/namespaces/update" => {
            let proto::NamespaceUpdate { name, labels } = read(payload)?;
            Event::NamespaceUpdate { name, labels }
        }
        "/namespaces/delete" => {
            let proto::NamespaceDelete { name } = read(payload)?;
            Event::NamespaceDelete { name }
        }
        "/images/create" => {
            let images::ImageCreate { name, labels } = read(payload)?;
            Event::ImageCreate { name, labels }
        }
        "/images/update" => {
            let images::ImageUpdate { name, labels } = read(payload)?;
            Event::ImageUpdate { name, labels }
        }
        "/images/delete" => {
            let images::ImageDelete { name } = read(payload)?;
            Event::ImageDelete { name }
        }
        "/content/create" => {
            let proto::ContentCreate { digest, size, media_type: _ } = read(payload)?;
            let digest = field::decode_digest("digest", &digest).ok()?;
            Event::ContentCreate { digest, size: field::decode_size("size", size).ok()? }
        }
        "/content/delete" => {
            let proto::ContentDelete { digest } = read(payload)?;
            Event::ContentDelete { digest: field::decode_digest("digest", &digest).ok()? }
        }
        "/snapshot/prepare" => {
            let proto::SnapshotPrepare { key, parent, snapshotter } = read(payload)?;
            Event::SnapshotPrepare { key, parent, snapshotter }
        }
        "/snapshot/commit" => {
            let proto::SnapshotCommit { key, name, snapshotter } = read(payload)?;
            Event::SnapshotCommit { key, name, snapshotter }
        }
        "/snapshot/remove" => {
            let proto::SnapshotRemove { key, snapshotter } = read(payload)?;
            Event::SnapshotRemove { key, snapshotter }
        }
        "/containers/create" => {
            let proto::ContainerCreate { id, image, runtime } = read(payload)?;
            let runtime = runtime.unwrap_or_default();
            let runtime_options = runtime.options.map(any::decode);
            Event::ContainerCreate { id, image, runtime: runtime.name, runtime_options }
        }
        "/containers/update" => {
            let proto::ContainerUpdate { id, image, labels, snapshot_key } = read(payload)?;
            Event::ContainerUpdate { id, image, labels, snapshot_key }
        }
        "/containers/delete" => {
            let proto::ContainerDelete { id } = read(payload)?;
            Event::ContainerDelete { id }
        }
        _ => return None,
    })
}

/// The topic and the message of an event.
pub fn encode(event: Event) -> (String, prost_types::Any) {
    let topic = event.topic().to_owned();
    let payload = match event {
        Event::NamespaceCreate { name, labels } => {
            any::pack(&proto::NamespaceCreate { name, labels })
        }
        Event::NamespaceUpdate { name, labels } => {
            any::pack(&proto::NamespaceUpdate { name, labels })
        }
        Event::NamespaceDelete { name } => any::pack(&proto::NamespaceDelete { name }),
        Event::ImageCreate { name, labels } => any::pack(&images::ImageCreate { name, labels }),
        Event::ImageUpdate { name, labels } => any::pack(&images::ImageUpdate { name, labels }),
        Event::ImageDelete { name } => any::pack(&images::ImageDelete { name }),
        Event::ContentCreate { digest, size } => any::pack(&proto::ContentCreate {
            digest: digest.to_string(),
            size: field::encode_size(size),
            // A store is told bytes, not what they are.
            media_type: String::new(),
        }),
        Event::ContentDelete { digest } => {
            any::pack(&proto::ContentDelete { digest: digest.to_string() })
        }
        Event::SnapshotPrepare { key, parent, snapshotter } => {
            any::pack(&proto::SnapshotPrepare { key, parent, snapshotter })
        }
        Event::SnapshotCommit { key, name, snapshotter } => {
            any::pack(&proto::SnapshotCommit { key, name, snapshotter })
        }
        Event::SnapshotRemove { key, snapshotter } => {
            any::pack(&proto::SnapshotRemove { key, snapshotter })
        }
        Event::ContainerCreate { id, image, runtime, runtime_options } => {
            let options = runtime_options.map(any::encode);
            let runtime = Some(proto::container_create::Runtime { name: runtime, options });
            any::pack(&proto::ContainerCreate { id, image, runtime })
        }
        Event::ContainerUpdate { id, image, labels, snapshot_key } => {
            any::pack(&proto::ContainerUpdate { id, image, labels, snapshot_key })
        }
        Event::ContainerDelete { id } => any::pack(&proto::ContainerDelete { id }),
        Event::Other { payload, .. } => any::encode(payload),
        // An event that is new in `lamina-core` has no message yet.
        _ => any::encode(Any::default()),
    };
    (topic, payload)
}

#[cfg(test)]
mod tests;
