//! Diffs: a layer becomes files, and the difference of two file trees becomes a layer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::container::Any;
use crate::labels::Labels;
use crate::{Descriptor, Mount, Result};

/// How to apply a layer.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// Return only when the files are durable. Without it whoever commits the snapshot sees to that.
    pub sync: bool,
    /// What stream processors of other media types get (keys of a decrypter, …), by their id.
    pub payloads: BTreeMap<String, Any>,
    /// Hears how far it is.
    pub progress: Option<Arc<dyn ApplyProgress>>,
}

/// Hears how much of a layer was applied. Called from the thread that applies, so it must not block.
pub trait ApplyProgress: Send + Sync + fmt::Debug {
    /// So many bytes of the blob, as stored, were read and applied: 0 once at the start, then never
    /// less than before.
    fn applied(&self, bytes: u64);
}

/// How to write the difference of two trees.
#[derive(Clone, Debug, Default)]
pub struct CompareOptions {
    /// What to write: an OCI layer, plain, gzip or zstd. Empty for gzip.
    pub media_type: String,
    /// The ingest to write through, begun anew if there is one. Empty for one of the differ's own,
    /// which is aborted when comparing fails.
    pub reference: String,
    /// Labels of the blob; the differ adds [`UNCOMPRESSED`](crate::labels::UNCOMPRESSED) to a
    /// compressed one.
    pub labels: Labels,
    /// The latest time a file of the layer may have; later ones become this. Whiteouts have the Unix
    /// epoch with or without it.
    pub source_date_epoch: Option<Timestamp>,
}

/// Applies and writes layers between the content and the snapshots of one namespace.
///
/// Several are asked in order: one that answers Unimplemented passes to the next, so it must answer
/// that before it changed anything.
#[async_trait]
pub trait Differ: Send + Sync + fmt::Debug {
    /// Lays the layer `descriptor` onto what `mounts` show; they are those of an active snapshot and
    /// need not be mounted. Answers what was applied: media type
    /// [`OCI_LAYER`](crate::media_type::OCI_LAYER), size and digest of the uncompressed bytes, to the
    /// end of the stream. The caller compares that digest with the diff ID; nothing else vouches for
    /// the files.
    ///
    /// # Errors
    /// NotFound when the blob is not here; Unimplemented for a media type or mounts that this differ
    /// does not know; InvalidArgument for bytes that are no such layer. The tree may be half written
    /// then and is good for removal only.
    async fn apply(
        &self,
        descriptor: &Descriptor,
        mounts: &[Mount],
        options: ApplyOptions,
    ) -> Result<Descriptor>;

    /// Writes the layer that makes `upper` of `lower` (no mounts: of nothing) into the content store
    /// and describes it. Neither tree is changed. A blob that is here already is a success.
    ///
    /// # Errors
    /// Unimplemented for another media type or for mounts that this differ does not know;
    /// ResourceExhausted for a full disk. No blob is left by a failure.
    async fn compare(
        &self,
        lower: &[Mount],
        upper: &[Mount],
        options: CompareOptions,
    ) -> Result<Descriptor>;
}
