//! The threads that compress, and the order in which their results are taken.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use flate2::Crc;
use lamina_core::{Error, Result};

use super::{Block, pack};
use crate::diff::compression::Compression;

/// A block after its compression.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Of what was compressed; only gzip asks.
    pub(super) crc: Crc,
    pub(super) last: bool,
}

/// A place in the order.
#[derive(Debug)]
pub(super) enum Place {
    /// Nothing is done to it.
    Plain(Arc<Block>),
    /// One of the crew has it.
    Later(Receiver<Result<Packed>>),
}

/// A block, and where its result is waited for.
type Job = (Arc<Block>, SyncSender<Result<Packed>>);

/// Hands blocks out. Grows with the work: a small stream needs one thread.
pub(super) struct Crew<'scope, 'env> {
    threads: &'scope Scope<'scope, 'env>,
    compression: Compression,
    idle: usize,
    to_hash: SyncSender<Arc<Block>>,
    to_order: SyncSender<Place>,
    jobs: SyncSender<Job>,
    taken: Arc<Mutex<Receiver<Job>>>,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    pub(super) fn new(
        threads: &'scope Scope<'scope, 'env>,
        compression: Compression,
        cores: NonZero<usize>,
        to_hash: SyncSender<Arc<Block>>,
        to_order: SyncSender<Place>,
    ) -> Self {
        let (jobs, taken) = sync_channel(cores.get());
        let idle = if compression == Compression::None { 0 } else { cores.get() };
        let taken = Arc::new(Mutex::new(taken));
        Crew { threads, compression, idle, to_hash, to_order, jobs, taken }
    }

    /// Hashes and compresses a block on other threads.
    ///
    /// # Errors
    /// Aborted when the consumer is gone.
    pub(super) fn take(&mut self, block: Block) -> Result<()> {
        let block = Arc::new(block);
        let gone = || Error::aborted("nobody takes the layer any more");
        self.to_hash.send(Arc::clone(&block)).map_err(|_| gone())?;
        if self.compression == Compression::None {
            return self.to_order.send(Place::Plain(block)).map_err(|_| gone());
        }
        if self.idle > 0 {
            self.idle -= 1;
            let (taken, compression) = (Arc::clone(&self.taken), self.compression);
            self.threads.spawn(move || work(&taken, compression));
        }
        let (answer, answered) = sync_channel(1);
        self.to_order.send(Place::Later(answered)).map_err(|_| gone())?;
        self.jobs.send((block, answer)).map_err(|_| gone())
    }
}

/// Compresses until there are no more blocks.
fn work(jobs: &Mutex<Receiver<Job>>, compression: Compression) {
    loop {
        // Whoever waits for a block holds the lock; the others wait for that.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, answer)) = job else { return };
        // If nobody wants it any more, the consumer failed and says why itself.
        let _ = answer.send(pack::pack(compression, &block));
    }
}
