//! Layers on their way into snapshots: what a pull or an import needs of a store.
//!
//! A layer is *received* (its bytes go into the content store and, when the snapshotter can take it,
//! in the same pass into a staged snapshot), then *committed* under its chain ID once the layer below
//! it is. Receiving may go on for many layers side by side; commits are in chain order.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::descriptor::Descriptor;
use crate::labels::Labels;
use crate::{Digest, Result};

/// One layer of an image: what its bytes are, and what they will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The blob.
    pub blob: Descriptor,
    /// The digest of the uncompressed blob, from the image config.
    pub diff_id: Digest,
    /// The chain ID it is committed as.
    pub chain_id: Digest,
    /// The chain ID below it; none for the bottom layer.
    pub parent: Option<Digest>,
    /// Labels of the blob.
    pub blob_labels: Labels,
    /// Labels of the snapshot.
    pub snapshot_labels: Labels,
}

/// How a layer is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// Into the content store only.
    Blob,
    /// Into the content store and a staged snapshot, in one pass.
    Unpack,
}

/// Receives and commits layers for one namespace, lease and snapshotter.
#[async_trait]
pub trait LayerStore: Send + Sync + fmt::Debug {
    /// Whether a layer can be staged before the one below it is committed.
    fn rebases(&self) -> bool;

    /// How to bring layers when the snapshotter may have some that nobody fetched; none when it has
    /// not.
    fn lazy(&self) -> Option<Lazy> {
        None
    }

    /// Whether the chain is here, or could be adopted from another namespace just now; the lease
    /// then holds it.
    async fn find(&self, chain_id: &Digest) -> Result<bool>;

    /// Opens a layer to be received.
    ///
    /// With [`Receive::Unpack`] the layer below must be committed unless the store
    /// [`rebases`](Self::rebases) or there is none.
    ///
    /// # Errors
    /// Unavailable (`ref … locked`) while another writer receives the same blob.
    async fn receive(&self, layer: &Layer, how: Receive) -> Result<Received>;

    /// Stages a layer from its blob, which is here; `None` when its chain was committed meanwhile.
    /// The layer below must be committed unless the store [`rebases`](Self::rebases).
    ///
    /// # Errors
    /// NotFound when the blob is not here; DataLoss when its content is not that of `diff_id`.
    async fn stage(&self, layer: &Layer) -> Result<Option<Box<dyn StagedLayer>>>;
}

/// A snapshotter that may have layers whose bytes nobody fetched (containerd's remote snapshotters).
///
/// It is asked for each layer by its own, once the layer below is committed: `receive` with
/// [`Receive::Unpack`] and `stage` ask it before they look for a byte, and find the chain here if it
/// has the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lazy {
    /// Whether it wants to be told, by labels of the snapshot, which image the layer belongs to.
    pub annotations: bool,
}

/// What [`LayerStore::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// The blob is here already; nothing has to be fetched.
    BlobIsHere,
    /// The chain was committed meanwhile; nothing has to be done.
    ChainIsHere,
    /// Bytes are wanted.
    Open(Box<dyn LayerSink>),
}

/// Takes the bytes of one layer. Dropping it keeps what is durable of the blob, for the next attempt
/// to go on with, and drops the staged snapshot.
#[async_trait]
pub trait LayerSink: Send + fmt::Debug {
    /// How many bytes are here from an earlier attempt: the first byte wanted.
    fn offset(&self) -> u64;

    /// Takes the next bytes; waits when the disk or the unpacking is behind.
    ///
    /// # Errors
    /// Those of the disk; InvalidArgument or DataLoss for bytes that are no layer.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Checks size and digests; the blob is in the content store after it. The staged snapshot is
    /// returned if there is one.
    ///
    /// # Errors
    /// FailedPrecondition for another size or digest than the blob's; DataLoss for another diff ID.
    async fn finish(self: Box<Self>) -> Result<Option<Box<dyn StagedLayer>>>;

    /// How many bytes were unpacked so far, of the compressed ones; for progress.
    fn unpacked(&self) -> u64;
}

/// A layer whose files are in place but that nobody sees yet. Dropping it drops the files.
#[async_trait]
pub trait StagedLayer: Send + fmt::Debug {
    /// Commits it under its chain ID; the layer below is committed. One that was committed by
    /// somebody else meanwhile is a success.
    async fn commit(self: Box<Self>) -> Result<()>;
}
