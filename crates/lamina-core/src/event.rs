//! Events: what happened, told in the order in which it became durable.

use std::fmt;

use jiff::Timestamp;

use crate::container::Any;
use crate::labels::Labels;
use crate::{Digest, Namespace};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // Fields are the published ones of containerd.events, named the same.
pub enum Event {
    /// `/namespaces/create`
    NamespaceCreate { name: String, labels: Labels },
    /// `/namespaces/update`
    NamespaceUpdate { name: String, labels: Labels },
    /// `/namespaces/delete`
    NamespaceDelete { name: String },
    /// `/images/create`
    ImageCreate { name: String, labels: Labels },
    /// `/images/update`
    ImageUpdate { name: String, labels: Labels },
    /// `/images/delete`
    ImageDelete { name: String },
    /// `/content/create`
    ContentCreate { digest: Digest, size: u64 },
    /// `/content/delete`
    ContentDelete { digest: Digest },
    /// `/snapshot/prepare`
    SnapshotPrepare { key: String, parent: String, snapshotter: String },
    /// `/snapshot/commit`
    SnapshotCommit { key: String, name: String, snapshotter: String },
    /// `/snapshot/remove`
    SnapshotRemove { key: String, snapshotter: String },
    /// `/containers/create`
    ContainerCreate { id: String, image: String, runtime: String, runtime_options: Option<Any> },
    /// `/containers/update`
    ContainerUpdate { id: String, image: String, labels: Labels, snapshot_key: String },
    /// `/containers/delete`
    ContainerDelete { id: String },
    /// Any other topic (`/tasks/…`, `/sandboxes/…`, clients' own), passed on unread.
    Other { topic: String, payload: Any },
}

impl Event {
    /// The topic it is published under.
    pub fn topic(&self) -> &str {
        match self {
            Event::NamespaceCreate { .. } => "/namespaces/create",
            Event::NamespaceUpdate { .. } => "/namespaces/update",
            Event::NamespaceDelete { .. } => "/namespaces/delete",
            Event::ImageCreate { .. } => "/images/create",
            Event::ImageUpdate { .. } => "/images/update",
            Event::ImageDelete { .. } => "/images/delete",
            Event::ContentCreate { .. } => "/content/create",
            Event::ContentDelete { .. } => "/content/delete",
            Event::SnapshotPrepare { .. } => "/snapshot/prepare",
            Event::SnapshotCommit { .. } => "/snapshot/commit",
            Event::SnapshotRemove { .. } => "/snapshot/remove",
            Event::ContainerCreate { .. } => "/containers/create",
            Event::ContainerUpdate { .. } => "/containers/update",
            Event::ContainerDelete { .. } => "/containers/delete",
            Event::Other { topic, .. } => topic,
        }
    }
}

/// An event with where and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// When it became durable.
    pub timestamp: Timestamp,
    /// In which namespace.
    pub namespace: Namespace,
    /// What.
    pub event: Event,
}

/// Takes events. Called in commit order from the thread that commits, so it must neither block nor
/// call back into the store.
pub trait EventSink: Send + Sync + fmt::Debug {
    /// Takes one event.
    fn send(&self, envelope: Envelope);
}

/// Forgets every event: for a store that nobody listens to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn send(&self, _: Envelope) {}
}
