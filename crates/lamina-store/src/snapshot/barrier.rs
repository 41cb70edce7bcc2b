//! The barrier: what was just written is on disk before the row that names it.
//!
//! A flush only covers what was handed in before it began; who comes later shares the next one, so
//! that a thousand commits need a few flushes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lamina_core::{Error, Result};

use super::driver::{Driver, SnapshotId};
use crate::rounds::Rounds;

/// What a snapshot needs of the barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Its directory entry: it was created, and its owner has yet to write into it.
    Entry,
    /// All its data: it is about to be committed.
    Data,
}

/// Gathers the flushes of one driver.
#[derive(Debug)]
pub(crate) struct Barrier {
    driver: Arc<dyn Driver>,
    rounds: Rounds<Batch, ()>,
    flushes: AtomicU64,
    /// Held while what is half done is written back.
    early: Mutex<()>,
}

#[derive(Debug, Default)]
struct Batch {
    created: Vec<SnapshotId>,
    sealed: Vec<SnapshotId>,
}

impl Barrier {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Self {
        Barrier {
            driver,
            rounds: Rounds::default(),
            flushes: AtomicU64::new(0),
            early: Mutex::new(()),
        }
    }

    /// Has what was written so far go to disk, beside whoever writes more. Does nothing while another
    /// such call runs.
    pub(crate) fn write_back(&self) {
        if let Ok(_only) = self.early.try_lock() {
            self.driver.write_back();
        }
    }

    /// How often the driver was made to flush.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Returns when what `id` needs is durable.
    ///
    /// # Errors
    /// The flush's own, for every member of the round: nobody can tell whose bytes were lost.
    pub(crate) fn wait(&self, id: SnapshotId, needs: Needs) -> Result<()> {
        let add = |batch: &mut Batch| match needs {
            Needs::Entry => batch.created.push(id),
            Needs::Data => batch.sealed.push(id),
        };
        let run = |batch: Batch| {
            self.flushes.fetch_add(1, Ordering::Relaxed);
            self.driver.flush(&batch.created, &batch.sealed)
        };
        self.rounds
            .join(add, run)
            .map_err(|e: Error| e.context(format!("make snapshot {id} durable")))
    }
}
