//! The file system that a back end lies on: making what was written durable, and remembering what
//! it lost.
//!
//! The kernel tells of a failed write-back once, to whoever syncs next, and then forgets it; which
//! file it was is not told. So whoever hears of it must not be the only one to fail: every snapshot
//! that existed by then may have lost something, and none of them is ever sealed or flushed again.
//! Ids count up, so one number remembers them all. Snapshots made after it are not concerned.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_core::{Error, Result};
use lamina_sys::fs;

use super::super::driver::SnapshotId;
use super::error::failed;

/// Owns the descriptor through which write-back errors are seen: it was opened before the first
/// write of this process, as `syncfs` reports only what happened since.
#[derive(Debug)]
pub(super) struct Medium {
    fd: OwnedFd,
    /// The highest id that may have been written to.
    newest: AtomicU64,
    /// Ids up to here may have lost writes.
    lost: AtomicU64,
}

impl Medium {
    /// `fd` is any directory on it.
    pub(super) fn new(fd: OwnedFd) -> Medium {
        Medium { fd, newest: AtomicU64::new(0), lost: AtomicU64::new(0) }
    }

    /// Notes that a snapshot is going to be written to.
    pub(super) fn note(&self, id: SnapshotId) {
        self.newest.fetch_max(id.0, Ordering::SeqCst);
    }

    /// Fails for a snapshot that may have lost writes.
    pub(super) fn check(&self, id: SnapshotId) -> Result<()> {
        if id.0 > self.lost.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Error::data_loss(format!(
            "snapshot {id} may have lost writes when the disk failed; make it anew"
        )))
    }

    /// Has everything written so far go to the medium. A failure is the next [`sync`](Self::sync)'s to
    /// find and to remember: through this descriptor, which is another, it is not taken away from there.
    pub(super) fn write_back(&self) {
        let _ = fs::open_dir_at(&self.fd, ".").and_then(fs::sync_filesystem);
    }

    /// Everything written so far is on the medium, and `sealed` lost nothing.
    pub(super) fn sync(&self, sealed: &[SnapshotId]) -> Result<()> {
        fs::sync_filesystem(self.fd.as_fd()).map_err(|error| {
            self.lost.fetch_max(self.newest.load(Ordering::SeqCst), Ordering::SeqCst);
            failed(error, "write snapshots to disk")
        })?;
        sealed.iter().try_for_each(|id| self.check(*id))
    }
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;

    #[test]
    fn a_loss_is_remembered_for_those_that_existed() {
        let dir = tempfile::tempdir().unwrap();
        let medium = Medium::new(fs::open_dir(dir.path()).unwrap());
        medium.note(SnapshotId(7));
        medium.sync(&[SnapshotId(7)]).unwrap();
        // An O_PATH descriptor is one that syncfs refuses.
        let broken = Medium { fd: fs::open_handle(dir.path()).unwrap(), ..medium };
        broken.write_back();
        broken.check(SnapshotId(7)).unwrap();
        assert!(broken.sync(&[]).is_err());
        let repaired = Medium { fd: fs::open_dir(dir.path()).unwrap(), ..broken };
        assert_eq!(repaired.check(SnapshotId(7)).unwrap_err().kind(), Kind::DataLoss);
        assert_eq!(repaired.sync(&[SnapshotId(3)]).unwrap_err().kind(), Kind::DataLoss);
        repaired.sync(&[SnapshotId(8)]).unwrap();
        repaired.sync(&[]).unwrap();
    }
}
