//! The one pass: bytes become a blob and, on another thread, files.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use bytes::Bytes;
use lamina_core::content::CommitOptions;
use lamina_core::layer::{Layer, LayerSink, StagedLayer};
use lamina_core::{Error, Kind, Result};

use super::feed::{self, Piece};
use super::stage::{Staged, Staging};
use super::verified_labels;
use crate::blocking;
use crate::content::Writer;

/// Receives one layer. Small buffers are gathered, so that few of them cross to a blocking thread.
/// Dropped, it keeps what it gathered in the ingest, for the next attempt to go on with.
pub(super) struct Sink {
    /// Gone while a call holds it, and for good when one was cut off.
    work: Option<Work>,
    gathered: Vec<Bytes>,
    waiting: usize,
    unpacked: Arc<AtomicU64>,
    offset: u64,
}

/// What a sink that is given up leaves to be kept. Its drop does the work, so that it is done also
/// when the runtime ends before a blocking thread came to it.
struct Rest {
    work: Work,
    gathered: Vec<Bytes>,
}

/// What the blocking threads work on.
struct Work {
    writer: Option<Writer>,
    unpack: Option<Unpack>,
    layer: Layer,
}

/// The thread that lays the layer down. Dropped, it is told that no more comes, and joined.
struct Unpack {
    feed: Option<SyncSender<Piece>>,
    thread: Option<JoinHandle<Result<Staged>>>,
}

/// Bytes gathered before they are handed on.
const BATCH: usize = 1 << 20;

impl Sink {
    pub(super) fn open(layer: &Layer, writer: Writer, staging: Option<Staging>) -> Result<Sink> {
        let unpacked = Arc::new(AtomicU64::new(0));
        let unpack = staging.map(|staging| Unpack::start(staging, Arc::clone(&unpacked)));
        let offset = writer.offset();
        let work = Work { writer: Some(writer), unpack: unpack.transpose()?, layer: layer.clone() };
        Ok(Sink { work: Some(work), gathered: Vec::new(), waiting: 0, unpacked, offset })
    }

    fn take(&mut self) -> Result<Work> {
        self.work.take().ok_or_else(|| Error::aborted("an earlier write of this layer failed"))
    }

    async fn hand_on(&mut self) -> Result<()> {
        let pieces = std::mem::take(&mut self.gathered);
        self.waiting = 0;
        if pieces.is_empty() {
            return Ok(());
        }
        let mut work = self.take()?;
        let work = blocking::run(move || work.write(pieces).map(|()| work)).await?;
        self.work = Some(work);
        Ok(())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("offset", &self.offset).finish_non_exhaustive()
    }
}

#[async_trait]
impl LayerSink for Sink {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.waiting += bytes.len();
        self.gathered.push(bytes);
        if self.waiting < BATCH {
            return Ok(());
        }
        self.hand_on().await
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<Box<dyn StagedLayer>>> {
        self.hand_on().await?;
        let work = self.take()?;
        let staged = blocking::run(move || work.finish()).await?;
        Ok(staged.map(|staged| Box::new(staged) as Box<dyn StagedLayer>))
    }

    fn unpacked(&self) -> u64 {
        self.unpacked.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let rest = Rest { work, gathered: std::mem::take(&mut self.gathered) };
            blocking::later(move || drop(rest));
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(writer) = &mut self.work.writer else { return };
        if let Err(error) = self.gathered.iter().try_for_each(|bytes| writer.write(bytes)) {
            tracing::warn!(digest = %self.work.layer.blob.digest, error = %error.chain(),
                "the last bytes of a layer that broke off are lost");
        }
        // The writer's own drop makes them durable.
    }
}

impl Work {
    fn write(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        for bytes in pieces {
            if let Some(writer) = &mut self.writer {
                writer.write(&bytes)?;
            }
            if let Some(unpack) = &mut self.unpack
                && !unpack.send(Piece::Bytes(bytes))
            {
                return Err(self.refused());
            }
        }
        Ok(())
    }

    /// The unpacking thread ended early; says why. Bytes that are no layer are not kept to go on from.
    fn refused(&mut self) -> Error {
        let why = match self.unpack.take().map(Unpack::join) {
            Some(Err(error)) => error,
            _ => Error::internal("unpacking ended before the layer did"),
        };
        if matches!(why.kind(), Kind::DataLoss | Kind::InvalidArgument)
            && let Some(writer) = &mut self.writer
            && let Err(error) = writer.truncate(0)
        {
            tracing::warn!(digest = %self.layer.blob.digest, error = %error.chain(),
                "bytes of a layer that cannot be unpacked stay in its ingest");
        }
        why
    }

    fn finish(mut self) -> Result<Option<Staged>> {
        let staged = match self.unpack.take() {
            None => None,
            Some(mut unpack) => {
                if let Some(writer) = &mut self.writer {
                    writer.start_write_back();
                }
                unpack.send(Piece::End);
                Some(unpack.join())
            }
        };
        let unpacked = matches!(staged, Some(Ok(_)));
        let labels =
            if unpacked { verified_labels(&self.layer) } else { self.layer.blob_labels.clone() };
        let commit = CommitOptions {
            size: Some(self.layer.blob.size),
            expected: Some(self.layer.blob.digest.clone()),
            labels,
        };
        // Before a failure to unpack is told: bytes that are not the blob's explain it best.
        if let Some(writer) = self.writer.take() {
            match writer.commit(commit) {
                Err(error) if !error.is_already_exists() => return Err(error),
                _ => {}
            }
        }
        staged.transpose()
    }
}

impl Unpack {
    fn start(staging: Staging, unpacked: Arc<AtomicU64>) -> Result<Unpack> {
        let (send, feed) = feed::channel();
        let thread = thread::Builder::new()
            .name("unpack".to_owned())
            // joined: by `join`, at the latest when it is dropped
            .spawn(move || {
                staging.apply(feed, &|| false, &|bytes| unpacked.store(bytes, Ordering::Relaxed))
            })
            .map_err(|e| {
                Error::resource_exhausted("start a thread to unpack a layer").with_source(e)
            })?;
        Ok(Unpack { feed: Some(send), thread: Some(thread) })
    }

    /// False when the thread has ended.
    fn send(&mut self, piece: Piece) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.send(piece).is_ok())
    }

    fn join(mut self) -> Result<Staged> {
        self.feed = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(Error::internal("the thread that unpacks a layer panicked")),
        }
    }
}

impl Drop for Unpack {
    fn drop(&mut self) {
        self.feed = None;
        if let Some(thread) = self.thread.take() {
            // Its result, if there is one, drops the staged snapshot.
            drop(thread.join());
        }
    }
}
