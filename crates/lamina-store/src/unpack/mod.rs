//! Layers on their way from the network into committed snapshots: [`LayerStore`] for local back ends.
//!
//! One pass: `write` hashes the bytes and stores them as a blob, and hands the same buffers to a
//! thread that inflates, hashes and extracts them into a staged active. Nothing is read back. A
//! resumed layer, and one whose snapshotter needs the layer below first, is staged from its blob.
//!
//! A staged layer is an active under a key of its own, like a client's `extract-…`; dropping it
//! removes it. The engine learns the verified diff ID at commit and computes the chain ID itself.

mod early;
mod feed;
mod sink;
mod stage;

use std::fmt;

use async_trait::async_trait;
use lamina_core::content::{CommitOptions, Info, WriteOptions};
use lamina_core::layer::{Layer, LayerStore, Lazy, Receive, Received, StagedLayer};
use lamina_core::{Digest, Labels, Result};

use crate::blocking;
use crate::content;
use crate::diff::apply::Limits;
use crate::mount::temp::TempMounts;
use crate::snapshot::Handle;

use sink::Sink;
pub(crate) use stage::BlobStream;
use stage::Staging;

/// Receives layers for one namespace, lease and snapshotter. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Layers {
    snapshots: Handle,
    content: content::Handle,
    temp: TempMounts,
    limits: Limits,
}

impl Layers {
    pub(crate) fn new(
        snapshots: Handle,
        content: content::Handle,
        temp: TempMounts,
        limits: Limits,
    ) -> Self {
        Layers { snapshots, content, temp, limits }
    }

    fn open(&self, layer: &Layer, how: Receive) -> Result<Received> {
        // A proxy that has the layer says so when it is to prepare one, and no byte is wanted.
        let mut asked = None;
        if how == Receive::Unpack && self.snapshots.engine().remote().is_some() {
            match Staging::prepare(self, layer)? {
                None => return Ok(Received::ChainIsHere),
                staging => asked = staging,
            }
        }
        let reference = format!("layer-{}", layer.blob.digest);
        let options =
            WriteOptions { expected: Some(layer.blob.digest.clone()), total: layer.blob.size };
        let writer = match self.content.writer_now(&reference, options) {
            Err(error) if error.is_already_exists() => {
                self.add_labels(layer, false)?;
                return Ok(Received::BlobIsHere);
            }
            writer => writer?,
        };
        if writer.offset() == layer.blob.size {
            // Another namespace's, shared, or an earlier pull's that was cut before its commit.
            let labels = layer.blob_labels.clone();
            let commit = CommitOptions { size: Some(layer.blob.size), expected: None, labels };
            match writer.commit(commit) {
                Err(error) if !error.is_already_exists() => return Err(error),
                _ => return Ok(Received::BlobIsHere),
            }
        }
        // The bytes before the offset were not unpacked; the whole is staged from the blob then.
        let staging = match how {
            Receive::Unpack if writer.offset() == 0 => Some(match asked {
                None => Staging::prepare(self, layer)?,
                staging => staging,
            }),
            _ => None,
        };
        match staging {
            Some(None) => Ok(Received::ChainIsHere),
            staging => Ok(Received::Open(Box::new(Sink::open(layer, writer, staging.flatten())?))),
        }
    }

    /// Adds the blob's labels to those it has; with `verified`, also that its diff ID is known.
    fn add_labels(&self, layer: &Layer, verified: bool) -> Result<()> {
        let labels = if verified { verified_labels(layer) } else { layer.blob_labels.clone() };
        let info = self.content.info_now(&layer.blob.digest)?;
        let paths: Vec<String> = labels
            .iter()
            .filter(|(key, value)| info.labels.get(*key) != Some(*value))
            .map(|(key, _)| format!("labels.{key}"))
            .collect();
        if paths.is_empty() {
            return Ok(());
        }
        self.content.update_now(Info { labels, ..info }, &paths).map(drop)
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layers for {:?}", self.snapshots)
    }
}

#[async_trait]
impl LayerStore for Layers {
    fn rebases(&self) -> bool {
        self.snapshots.engine().stages_apart()
    }

    fn lazy(&self) -> Option<Lazy> {
        let remote = self.snapshots.engine().remote()?;
        Some(Lazy { annotations: remote.wants_annotations() })
    }

    async fn find(&self, chain_id: &Digest) -> Result<bool> {
        let (this, chain_id) = (self.clone(), chain_id.clone());
        blocking::run(move || this.snapshots.find_now(&chain_id)).await
    }

    async fn receive(&self, layer: &Layer, how: Receive) -> Result<Received> {
        let (this, layer) = (self.clone(), layer.clone());
        blocking::run(move || this.open(&layer, how)).await
    }

    async fn stage(&self, layer: &Layer) -> Result<Option<Box<dyn StagedLayer>>> {
        let (this, layer) = (self.clone(), layer.clone());
        let (_here, left) = blocking::presence();
        blocking::run(move || {
            let Some(staging) = Staging::prepare(&this, &layer)? else { return Ok(None) };
            let blob = this.content.reader_now(&layer.blob.digest)?;
            let staged = staging.apply_blob(&blob, &|| left.has_left())?;
            this.add_labels(&layer, true)?;
            Ok(Some(Box::new(staged) as Box<dyn StagedLayer>))
        })
        .await
    }
}

/// The blob's labels once its diff ID is verified.
fn verified_labels(layer: &Layer) -> Labels {
    let mut labels = layer.blob_labels.clone();
    labels.insert(lamina_core::labels::UNCOMPRESSED.to_owned(), layer.diff_id.to_string());
    labels
}
