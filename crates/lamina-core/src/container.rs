//! Container records: what a container is made of. Running it is the task service's.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Result;
use crate::filter::{Fields, Filters};
use crate::labels::Labels;

/// A typed value that is passed on unread (`google.protobuf.Any`): a bare type URL and its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Any {
    /// What the bytes are, without a host part.
    pub type_url: String,
    /// The bytes.
    pub value: Vec<u8>,
}

/// A container record.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its identifier.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
    /// The image's name; empty for none.
    pub image: String,
    /// The runtime's name; cannot be changed.
    pub runtime: String,
    /// Options for the runtime.
    pub runtime_options: Option<Any>,
    /// The OCI runtime spec, raw.
    pub spec: Any,
    /// The snapshotter of its root; cannot be changed.
    pub snapshotter: String,
    /// The key of its root.
    pub snapshot_key: String,
    /// The sandbox it belongs to; empty for none.
    pub sandbox: String,
    /// Values of clients.
    pub extensions: BTreeMap<String, Any>,
    /// When the record was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

impl Fields for Container {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["id"] => Some(self.id.as_str().into()),
            ["image"] if !self.image.is_empty() => Some(self.image.as_str().into()),
            ["runtime", "name"] => Some(self.runtime.as_str().into()),
            ["labels", key @ ..] => crate::filter::label(&self.labels, key),
            _ => None,
        }
    }
}

/// The container records of one namespace.
#[async_trait]
pub trait ContainerStore: Send + Sync + fmt::Debug {
    /// One record. NotFound when absent.
    async fn get(&self, id: &str) -> Result<Container>;

    /// Every record that `filters` match, by id.
    async fn list(&self, filters: Filters) -> Result<Vec<Container>>;

    /// Makes a record; times are set by the store. AlreadyExists for an id in use,
    /// InvalidArgument for a bad id, no runtime name, no spec.
    async fn create(&self, container: Container) -> Result<Container>;

    /// Changes `labels`, `labels.<key>`, `spec`, `extensions`, `extensions.<key>`, `image`,
    /// `snapshotkey`; all of them when `paths` is empty. NotFound when absent. InvalidArgument for
    /// any other path, and for another runtime name or snapshotter when `paths` is empty.
    async fn update(&self, container: Container, paths: &[String]) -> Result<Container>;

    /// Deletes the record only. NotFound when absent.
    async fn delete(&self, id: &str) -> Result<()>;
}
