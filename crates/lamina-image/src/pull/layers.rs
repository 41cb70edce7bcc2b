//! Layers side by side: received in any order, committed in chain order.
//!
//! A layer that waits for the one below it holds no download slot, and no thread. Where the
//! snapshotter rebases, every layer goes through one pass; where it does not, the bottom layer does,
//! and the others are received as blobs and staged from them in chain order.

use std::sync::Arc;

use futures_util::future::try_join_all;
use lamina_core::content::{CommitOptions, ContentWriter, WriteOptions};
use lamina_core::layer::{Layer, LayerSink, LayerStore, Receive, Received, StagedLayer};
use lamina_core::oci::ImageConfig;
use lamina_core::{ContentStore, Descriptor, Digest, Error, Kind, Labels, Result};
use tokio::sync::{Semaphore, watch};

use super::documents::{ImageDocuments, add_labels, source_label};
use super::flight::{Flights, Flown};
use super::wait::when_free;
use super::{Progress, State};
use crate::registry::{Blob, Repository};
use crate::unpack;

/// What the layers of one image need.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    pub(super) repository: &'a Repository,
    pub(super) content: Arc<dyn ContentStore>,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) slots: Arc<Semaphore>,
}

impl Layers<'_> {
    /// Fetches the layers' blobs and leaves them packed.
    pub(super) async fn fetch(&self, image: &ImageDocuments, flights: &Flights) -> Result<()> {
        let layers = image.manifest.layers.iter();
        let fetches = layers.map(|layer| self.fetch_blob(layer, flights));
        try_join_all(fetches).await.map(drop)
    }

    /// Brings every layer into `store` and returns the chain ID of the topmost.
    pub(super) async fn unpack(
        &self,
        image: &ImageDocuments,
        config: &ImageConfig,
        store: &Arc<dyn LayerStore>,
        snapshotter: &str,
        flights: &Flights,
    ) -> Result<Digest> {
        config.check_layers(&image.manifest)?;
        let reference = self.repository.reference();
        let source = source_label(reference);
        let mut layers = unpack::layers(&image.manifest, config, &source);
        if let Some(lazy) = store.lazy() {
            unpack::annotate(&mut layers, lazy, &reference.to_string(), &image.digest);
        }
        let Some(top) = layers.last().map(|layer| layer.chain_id.clone()) else {
            return Err(Error::failed_precondition(
                "the image has no layers, so there is nothing to unpack",
            ));
        };
        for layer in &layers {
            self.progress.state(&layer.blob, State::Waiting);
        }
        // Each layer's future ends when it is committed; the one above it waits for that.
        let mut below: Option<Gate> = None;
        let (wanted, bytes_wanted) = Gate::new();
        let lazy = store.lazy().map(|_| Wanted { open: Arc::new(wanted), gate: bytes_wanted });
        let mut bringing = Vec::with_capacity(layers.len());
        for layer in layers {
            let (open, gate) = Gate::new();
            let order = Order { below: below.replace(gate), lazy: lazy.clone() };
            let bring = self.bring(layer, store, snapshotter, flights, order);
            bringing.push(async move {
                let brought = bring.await;
                if brought.is_ok() {
                    open.send_replace(true);
                }
                brought
            });
        }
        try_join_all(bringing).await?;
        Ok(top)
    }

    /// Brings one layer: finds it here, waits for another pull that brings it, or does it.
    async fn bring(
        &self,
        layer: Layer,
        store: &Arc<dyn LayerStore>,
        snapshotter: &str,
        flights: &Flights,
        order: Order,
    ) -> Result<()> {
        // The chain is one host's, so what one namespace brings another adopts.
        let key = format!("{snapshotter} {}", layer.chain_id);
        loop {
            if store.find(&layer.chain_id).await? {
                self.progress.state(&layer.blob, State::Exists);
                return Ok(());
            }
            let job = Job {
                repository: self.repository.clone(),
                store: Arc::clone(store),
                progress: Arc::clone(&self.progress),
                slots: Arc::clone(&self.slots),
                layer: layer.clone(),
                order: order.clone(),
            };
            let failed = |e: Error| e.context(format!("layer {}", layer.blob.digest));
            if flights.join(&key, job.run()).await.map_err(failed)? == Flown::Mine {
                return Ok(());
            }
            // Another's: it is here now, or it failed, or this namespace may not share it. In the
            // last two cases the next round does it by this pull's own means.
        }
    }

    /// Fetches one blob into the content store, if it is not there.
    async fn fetch_blob(&self, blob: &Descriptor, flights: &Flights) -> Result<()> {
        let source = source_label(self.repository.reference());
        loop {
            match self.content.info(&blob.digest).await {
                Ok(_) => {
                    self.progress.state(blob, State::Exists);
                    return add_labels(&*self.content, &blob.digest, source).await;
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            let job = BlobJob {
                repository: self.repository.clone(),
                content: Arc::clone(&self.content),
                progress: Arc::clone(&self.progress),
                slots: Arc::clone(&self.slots),
                blob: blob.clone(),
                labels: source.clone(),
            };
            let failed = |e: Error| e.context(format!("layer {}", blob.digest));
            let key = format!("blob {}", blob.digest);
            if flights.join(&key, job.run()).await.map_err(failed)? == Flown::Mine {
                return Ok(());
            }
            // Another's, perhaps of another namespace: the next round shares it, or fetches it.
        }
    }
}

/// One blob being fetched, on its own, so that it can be shared between pulls.
#[derive(Debug)]
struct BlobJob {
    repository: Repository,
    content: Arc<dyn ContentStore>,
    progress: Arc<dyn Progress>,
    slots: Arc<Semaphore>,
    blob: Descriptor,
    labels: Labels,
}

impl BlobJob {
    async fn run(self) -> Result<()> {
        let blob = &self.blob;
        let _slot = self.slots.acquire().await.map_err(closed)?;
        let options = WriteOptions { expected: Some(blob.digest.clone()), total: blob.size };
        let name = format!("layer-{}", blob.digest);
        let open = || self.content.writer(&name, options.clone());
        let mut source = None;
        loop {
            let writer = match when_free(open).await {
                Err(error) if error.is_already_exists() => return Ok(()),
                writer => writer?,
            };
            let from = writer.status().offset;
            if from < blob.size {
                self.progress.state(blob, State::Downloading { from });
            }
            let bytes = from_offset(&self.repository, blob, &mut source, from).await?;
            match self.fill(writer, bytes).await? {
                Err(error) if bytes.distrust(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.progress.state(blob, State::Done);
        Ok(())
    }

    /// Writes and commits what comes. The inner error says that it is not the blob.
    async fn fill(
        &self,
        mut writer: Box<dyn ContentWriter>,
        bytes: &mut Blob,
    ) -> Result<Result<()>> {
        let blob = &self.blob;
        while let Some(chunk) = bytes.next().await? {
            writer.write(chunk).await?;
            self.progress.bytes(&blob.digest, bytes.offset(), 0);
        }
        let commit = CommitOptions {
            size: Some(blob.size),
            expected: Some(blob.digest.clone()),
            labels: self.labels.clone(),
        };
        match writer.commit(commit).await {
            Err(error) if error.is_already_exists() => Ok(Ok(())),
            Err(error) if is_of_bytes(&error) => Ok(Err(error)),
            committed => committed.map(|_| Ok(())),
        }
    }
}

/// One layer being brought, on its own, so that it can be shared between pulls.
#[derive(Debug)]
struct Job {
    repository: Repository,
    store: Arc<dyn LayerStore>,
    progress: Arc<dyn Progress>,
    slots: Arc<Semaphore>,
    layer: Layer,
    order: Order,
}

impl Job {
    async fn run(self) -> Result<()> {
        let one_pass = match &self.order.lazy {
            Some(wanted) => self.order.may_ask(wanted).await?,
            None => self.store.rebases() || self.layer.parent.is_none(),
        };
        let how = if one_pass { Receive::Unpack } else { Receive::Blob };
        let received = self.receive(how).await?;
        if let Some(below) = self.order.below.clone() {
            if !below.is_open() {
                self.progress.state(&self.layer.blob, State::Waiting);
            }
            below.wait().await?;
        }
        let staged = match received {
            Got::Staged(staged) => Some(staged),
            Got::Blob => {
                self.progress.state(&self.layer.blob, State::Unpacking);
                self.store.stage(&self.layer).await?
            }
            Got::Chain => None,
        };
        if let Some(staged) = staged {
            staged.commit().await?;
        }
        self.progress.state(&self.layer.blob, State::Done);
        Ok(())
    }

    /// Gets the bytes here, holding a slot for no longer than that takes.
    async fn receive(&self, how: Receive) -> Result<Got> {
        let blob = &self.layer.blob;
        let _slot = self.slots.acquire().await.map_err(closed)?;
        let mut source = None;
        loop {
            let received = when_free(|| self.store.receive(&self.layer, how)).await?;
            let sink = match received {
                Received::BlobIsHere => return Ok(Got::Blob),
                Received::ChainIsHere => return Ok(Got::Chain),
                Received::Open(sink) => sink,
            };
            if let Some(wanted) = &self.order.lazy {
                wanted.open.send_replace(true);
            }
            let from = sink.offset();
            self.progress.state(blob, State::Downloading { from });
            let bytes = from_offset(&self.repository, blob, &mut source, from).await?;
            match self.fill(sink, bytes, how).await? {
                Err(error) if bytes.distrust(&error) => {}
                filled => return filled,
            }
        }
    }

    /// Hands on what comes. The inner error says that it is not the layer.
    async fn fill(
        &self,
        mut sink: Box<dyn LayerSink>,
        bytes: &mut Blob,
        how: Receive,
    ) -> Result<Result<Got>> {
        let blob = &self.layer.blob;
        while let Some(chunk) = bytes.next().await? {
            match sink.write(chunk).await {
                Err(error) if is_of_bytes(&error) => return Ok(Err(error)),
                written => written?,
            }
            self.progress.bytes(&blob.digest, bytes.offset(), sink.unpacked());
        }
        if how == Receive::Unpack {
            self.progress.state(blob, State::Unpacking);
        }
        match sink.finish().await {
            Err(error) if is_of_bytes(&error) => Ok(Err(error)),
            finished => Ok(Ok(finished?.map_or(Got::Blob, Got::Staged))),
        }
    }
}

/// The stream of a blob, opened the first time and started again after that.
async fn from_offset<'a>(
    repository: &Repository,
    blob: &Descriptor,
    stream: &'a mut Option<Blob>,
    offset: u64,
) -> Result<&'a mut Blob> {
    match stream {
        Some(stream) => {
            stream.restart(offset);
            Ok(stream)
        }
        None => Ok(stream.insert(repository.blob(blob, offset).await?)),
    }
}

/// Whether bytes were refused for what they are: another source may have better ones.
fn is_of_bytes(error: &Error) -> bool {
    matches!(error.kind(), Kind::FailedPrecondition | Kind::DataLoss | Kind::InvalidArgument)
}

/// What there is of a layer after its bytes were received.
enum Got {
    /// Its files, staged.
    Staged(Box<dyn StagedLayer>),
    /// Its blob; its files are to be staged from it.
    Blob,
    /// All of it, committed.
    Chain,
}

/// What a layer waits for.
#[derive(Clone, Debug)]
struct Order {
    /// The layer below.
    below: Option<Gate>,
    /// For a lazy snapshotter.
    lazy: Option<Wanted>,
}

/// Opens when a lazy snapshotter had not some layer. It rarely has one above that, so the bytes of all
/// others are fetched meanwhile.
#[derive(Clone, Debug)]
struct Wanted {
    open: Arc<watch::Sender<bool>>,
    gate: Gate,
}

impl Order {
    /// Waits until the snapshotter can be asked for the layer, or its bytes are to be fetched first;
    /// false in that case.
    async fn may_ask(&self, wanted: &Wanted) -> Result<bool> {
        let Some(below) = self.below.clone() else { return Ok(true) };
        tokio::select! {
            biased;
            asked = below.wait() => asked.map(|()| true),
            fetch = wanted.gate.clone().wait() => fetch.map(|()| false),
        }
    }
}

/// Opens when the layer below is committed.
#[derive(Clone, Debug)]
struct Gate(watch::Receiver<bool>);

impl Gate {
    fn new() -> (watch::Sender<bool>, Gate) {
        let (open, gate) = watch::channel(false);
        (open, Gate(gate))
    }

    fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    async fn wait(mut self) -> Result<()> {
        self.0
            .wait_for(|open| *open)
            .await
            .map(drop)
            .map_err(|_| Error::aborted("the layer below was not committed"))
    }
}

fn closed(_: tokio::sync::AcquireError) -> Error {
    Error::cancelled("the pull is over")
}
