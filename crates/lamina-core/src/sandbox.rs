//! Sandbox records: what a group of containers shares. Running it is the sandbox controller's.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Result;
use crate::container::Any;
use crate::filter::{Fields, Filters};
use crate::labels::Labels;

/// A sandbox record.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    /// Its identifier.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
    /// The runtime's name.
    pub runtime: String,
    /// Options for the runtime.
    pub runtime_options: Option<Any>,
    /// What it is made from, raw; the runtime reads it.
    pub spec: Option<Any>,
    /// The controller that runs it (`shim`, `podsandbox`, …); cannot be changed.
    pub sandboxer: String,
    /// Values of clients.
    pub extensions: BTreeMap<String, Any>,
    /// When the record was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

impl Fields for Sandbox {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["id"] => Some(self.id.as_str().into()),
            ["labels", key @ ..] => crate::filter::label(&self.labels, key),
            _ => None,
        }
    }
}

/// The sandbox records of one namespace.
#[async_trait]
pub trait SandboxStore: Send + Sync + fmt::Debug {
    /// One record. NotFound when absent.
    async fn get(&self, id: &str) -> Result<Sandbox>;

    /// Every record that `filters` match, by id.
    async fn list(&self, filters: Filters) -> Result<Vec<Sandbox>>;

    /// Makes a record; times are set by the store. AlreadyExists for an id in use, InvalidArgument
    /// for a bad id.
    async fn create(&self, sandbox: Sandbox) -> Result<Sandbox>;

    /// Changes `labels`, `labels.<key>`, `extensions`, `extensions.<key>`, `spec`, `runtime`; all of
    /// them when `paths` is empty. Nothing is written by a failure.
    ///
    /// # Errors
    /// NotFound when absent. InvalidArgument for any other path, and for another runtime name when
    /// `paths` is empty (containerd's rule: only who names `runtime` means it).
    async fn update(&self, sandbox: Sandbox, paths: &[String]) -> Result<Sandbox>;

    /// Deletes the record only. NotFound when absent.
    async fn delete(&self, id: &str) -> Result<()>;
}
