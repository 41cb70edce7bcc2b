//! Snapshot ids: taken in blocks, so that an id that reached the disk is never given out again, also
//! when a crash came before any row named it.

use std::sync::{Mutex, PoisonError};

use lamina_core::Result;

use super::driver::SnapshotId;
use crate::db::Db;

/// Ids per reservation: one durable write a thousand creates.
const BLOCK: u64 = 1024;

/// Gives out the ids of one snapshotter.
#[derive(Debug)]
pub(crate) struct Ids {
    snapshotter: String,
    block: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: u64,
    end: u64,
}

impl Ids {
    /// Starts behind everything that was ever reserved.
    pub(crate) fn open(db: &Db, snapshotter: &str) -> Result<Self> {
        let next = db.read(|r| r.next_snapshot_id(snapshotter))?.0;
        Ok(Ids {
            snapshotter: snapshotter.to_owned(),
            block: Mutex::new(Block { next, end: next }),
        })
    }

    /// The next id, durable as reserved before it is returned.
    pub(crate) fn take(&self, db: &Db) -> Result<SnapshotId> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.next == block.end {
            let end = block.end + BLOCK;
            let name = self.snapshotter.clone();
            db.write(move |tx| tx.set_next_snapshot_id(&name, SnapshotId(end)))?;
            block.end = end;
        }
        let id = block.next;
        block.next += 1;
        Ok(SnapshotId(id))
    }

    /// Hands back what was not used, so that a store opened for one command leaves no gap. Nothing
    /// may be created after it.
    pub(crate) fn hand_back(&self, db: &Db) -> Result<()> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.next == block.end {
            return Ok(());
        }
        let next = block.next;
        let name = self.snapshotter.clone();
        db.write(move |tx| tx.set_next_snapshot_id(&name, SnapshotId(next)))?;
        block.end = next;
        Ok(())
    }
}
