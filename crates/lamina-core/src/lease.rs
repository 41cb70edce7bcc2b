//! Leases: what holds content and snapshots while nothing else refers to them.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::filter::{Fields, Filters};
use crate::labels::Labels;
use crate::{Error, Result};

/// A lease. It ends when it is deleted or when its label `containerd.io/gc.expire` is past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name: any text, such as a path.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    pub labels: Labels,
}

impl Fields for Lease {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["id"] => Some(self.id.as_str().into()),
            ["labels", key @ ..] => crate::filter::label(&self.labels, key),
            _ => None,
        }
    }
}

/// What kind of thing a lease holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// A blob, by digest.
    Content,
    /// An ingest, by reference.
    Ingest,
    /// An image record, by name.
    Image,
    /// A snapshot of the named snapshotter, by key.
    Snapshot(String),
}

impl ResourceType {
    /// Parses the wire form: `content`, `ingests`, `images`, `snapshots/<snapshotter>`.
    ///
    /// # Errors
    /// As containerd answers: InvalidArgument for one of these with too few or too many parts,
    /// Unimplemented for any other type.
    pub fn parse(text: &str) -> Result<Self> {
        let (kind, name) = match text.split_once('/') {
            None => (text, None),
            Some((kind, name)) => (kind, Some(name)),
        };
        match (kind, name) {
            ("content", None) => Ok(ResourceType::Content),
            ("ingests", None) => Ok(ResourceType::Ingest),
            ("images", None) => Ok(ResourceType::Image),
            ("snapshots", Some(name)) if !name.is_empty() && !name.contains('/') => {
                Ok(ResourceType::Snapshot(name.to_owned()))
            }
            ("content" | "ingests" | "images" | "snapshots", _) => {
                Err(Error::invalid_argument(format!("{text:?} is no type of a resource")))
            }
            _ => Err(Error::unimplemented(format!("lease resource type {text:?}"))),
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResourceType::Content => f.write_str("content"),
            ResourceType::Ingest => f.write_str("ingests"),
            ResourceType::Image => f.write_str("images"),
            ResourceType::Snapshot(name) => write!(f, "snapshots/{name}"),
        }
    }
}

/// One thing a lease holds; it need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceType,
    /// Its digest, reference, name or key.
    pub id: String,
}

/// The leases of one namespace.
#[async_trait]
pub trait LeaseStore: Send + Sync + fmt::Debug {
    /// Makes a lease; an empty id gets a random one. AlreadyExists for an id in use.
    async fn create(&self, id: &str, labels: Labels) -> Result<Lease>;

    /// Ends a lease. With `sync`, returns when what nothing holds any more is gone. NotFound when
    /// absent.
    async fn delete(&self, id: &str, sync: bool) -> Result<()>;

    /// Every lease that `filters` match, by id.
    async fn list(&self, filters: Filters) -> Result<Vec<Lease>>;

    /// Adds a resource. NotFound for no such lease.
    async fn add(&self, id: &str, resource: Resource) -> Result<()>;

    /// Takes a resource away; one that is not held is no error. NotFound for no such lease.
    async fn remove(&self, id: &str, resource: Resource) -> Result<()>;

    /// What the lease holds. NotFound for no such lease.
    async fn resources(&self, id: &str) -> Result<Vec<Resource>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn types_are_read_as_containerd_does() {
        for text in ["content", "ingests", "images", "snapshots/overlayfs"] {
            assert_eq!(ResourceType::parse(text).unwrap().to_string(), text);
        }
        for text in ["content/a", "images/", "snapshots", "snapshots/", "snapshots/a/b"] {
            let kind = ResourceType::parse(text).unwrap_err().kind();
            assert_eq!(kind, Kind::InvalidArgument, "{text}");
        }
        for text in ["", "/", "mounts", "containers/a"] {
            let kind = ResourceType::parse(text).unwrap_err().kind();
            assert_eq!(kind, Kind::Unimplemented, "{text}");
        }
    }
}
