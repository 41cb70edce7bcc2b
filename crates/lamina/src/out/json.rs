//! JSON of what is listed. Field names and indentation are those that ctr prints for the same things,
//! so that filters written for one work with the other.

use jiff::Timestamp;
use lamina_core::{Error, Labels, Lease, Mount, Result, content, snapshot};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Indented JSON.
pub(super) fn pretty(value: &impl Serialize) -> Result<String> {
    let failed = |why: String| Error::internal(format!("write JSON: {why}"));
    let mut text = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(text).map_err(|error| failed(error.to_string()))
}

/// A snapshot.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SnapshotView {
    kind: snapshot::Kind,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent: String,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    created: Timestamp,
    updated: Timestamp,
}

impl From<snapshot::Info> for SnapshotView {
    fn from(info: snapshot::Info) -> Self {
        let snapshot::Info { kind, name, parent, labels, created, updated } = info;
        SnapshotView { kind, name, parent, labels, created, updated }
    }
}

/// A blob.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BlobView {
    digest: lamina_core::Digest,
    size: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
    labels: Labels,
}

impl From<content::Info> for BlobView {
    fn from(info: content::Info) -> Self {
        let content::Info { digest, size, labels, created, updated } = info;
        BlobView { digest, size, created_at: created, updated_at: updated, labels }
    }
}

/// An ingest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct IngestView {
    r#ref: String,
    offset: u64,
    total: u64,
    expected: Option<lamina_core::Digest>,
    started_at: Timestamp,
    updated_at: Timestamp,
}

impl From<content::Status> for IngestView {
    fn from(status: content::Status) -> Self {
        let content::Status { reference, offset, total, expected, started, updated } = status;
        IngestView {
            r#ref: reference,
            offset,
            total,
            expected,
            started_at: started,
            updated_at: updated,
        }
    }
}

/// A namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NamespaceView {
    pub(crate) name: String,
    pub(crate) labels: Labels,
}

/// A lease.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LeaseView {
    #[serde(rename = "ID")]
    id: String,
    created_at: Timestamp,
    labels: Labels,
}

impl From<Lease> for LeaseView {
    fn from(lease: Lease) -> Self {
        let Lease { id, created, labels } = lease;
        LeaseView { id, created_at: created, labels }
    }
}

/// A mount.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MountView<'a> {
    r#type: &'a str,
    source: &'a str,
    target: &'a str,
    options: &'a [String],
}

impl<'a> From<&'a Mount> for MountView<'a> {
    fn from(mount: &'a Mount) -> Self {
        let Mount { kind, source, target, options } = mount;
        MountView { r#type: kind, source, target, options }
    }
}
