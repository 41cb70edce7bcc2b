//! The seam between the engine, which knows keys, kinds and order, and a back end, which knows how a
//! tree is kept on its file system.
//!
//! A driver is synchronous and runs on a blocking thread, never inside a database write. It is told
//! of snapshots by number; keys, names and who asks are not its business. The engine calls it in an
//! order that a crash can cut anywhere:
//!
//! - **create**: `create` fills a stage → `publish` gives it its id → `flush` → row. A stage or an id
//!   without a row is garbage that [`Driver::recover`] drops at the next start.
//! - **commit**: `seal` → `flush` → row → `settle`. A crash before the row leaves an active that can
//!   be sealed again; a crash after it leaves `settle` to the next start.
//! - **remove**: row turns dead → `remove`, again and again until it says [`Removed::Gone`] → row goes.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lamina_core::labels::Labels;
use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};

/// The number of a snapshot on disk; counts up from 1 and is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u64);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A snapshot as a driver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub id: SnapshotId,
    /// What it is. An active that is being sealed is still active here.
    pub kind: Kind,
    /// The snapshots below it, nearest first; all committed.
    pub parents: Vec<SnapshotId>,
    /// `containerd.io/snapshot.ref` and labels under `containerd.io/snapshot/`.
    pub labels: Labels,
}

/// Where [`Driver::create`] builds: a fresh name that no id has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Unique among all stages of this snapshotter in this process, e.g. `new-17`.
    pub name: String,
}

/// Where a layer is laid down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into this directory directly.
    Dir {
        /// The directory that receives the layer.
        path: PathBuf,
        /// How deletions are written.
        whiteouts: Whiteouts,
        /// Trees below it, nearest first, as directories or EROFS images: a directory that the layer
        /// only implies takes owner, mode, times and xattrs from the first that has it.
        lowers: Vec<PathBuf>,
    },
    /// Through a mount of the snapshot's own mounts; deletions are carried out.
    Mount,
}

/// Device and inode.
pub type Identity = ((u32, u32), u64);

/// Takes the content of a layer's files while the layer arrives. The files in the target are made as
/// ever, but stay empty. Dropped before [`finish`](Self::finish), it gives back the room it took.
pub trait Contents: Send + Sync + fmt::Debug {
    /// Begins the content of a new file.
    fn begin(&self, file: Identity) -> io::Result<()>;

    /// Adds bytes to the file that was begun last.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Adds a hole to it.
    fn skip(&self, bytes: u64) -> io::Result<()>;

    /// The layer is laid: [`Driver::seal`] finds all of it.
    fn finish(self: Box<Self>);
}

/// Where in the stack a layer is laid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing is or will be below it.
    Bottom,
    /// It has a parent, or gets one at commit.
    Above,
}

/// How a layer's deletions are written into a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteouts {
    /// Delete the named thing: the directory holds the whole tree.
    Delete,
    /// As overlayfs wants them: character device 0:0, `trusted.overlay.opaque=y`.
    Overlay,
}

/// Why a back end could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It is not for this host, as configured: no such file system, no pool named.
    Skip(String),
    /// It should work and does not.
    Failed(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        OpenError::Failed(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Skip(reason) => write!(f, "skipped: {reason}"),
            OpenError::Failed(error) => f.write_str(&error.chain()),
        }
    }
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Nothing of it is left.
    Gone,
    /// In use; to be tried again.
    Busy,
}

/// What a back end can do, as `plugins ls` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// A layer can be laid down without its parent and get it at commit.
    pub rebase: bool,
    /// Mounts carry id maps (`uidmap=`/`gidmap=`).
    pub remap_ids: bool,
    /// Without `remap_ids`, a client must not fall back to a changed copy.
    pub only_remap_ids: bool,
}

impl Capabilities {
    /// The words clients know.
    pub fn words(self) -> Vec<&'static str> {
        let mut words = Vec::new();
        if self.remap_ids {
            words.push("remap-ids");
        }
        if self.only_remap_ids {
            words.push("only-remap-ids");
        }
        if self.rebase {
            words.push("rebase");
        }
        words
    }
}

/// What one back end does differently.
pub trait Driver: Send + Sync + fmt::Debug + 'static {
    /// Builds an active or view under the stage's name. Whatever an error leaves there is dropped by
    /// [`discard`](Self::discard).
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()>;

    /// Gives the staged tree its id: one rename. Replaces what an earlier crash left at that id.
    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()>;

    /// Drops a stage, whole or half built; one that is not there is no error.
    fn discard(&self, stage: &Stage) -> Result<()>;

    /// Makes what was created and sealed durable, for all these snapshots at once. `sealed` are
    /// those whose data must be on disk; for `created` only their directory entry must be.
    fn flush(&self, created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()>;

    /// Has what was written so far go to disk while more is being written, so that the next
    /// [`flush`](Self::flush) finds little left. Tells nothing, and takes no error away from a flush.
    fn write_back(&self) {}

    /// Where a layer is laid. `place` says what will be below it at commit, which the snapshot's
    /// parents do not tell while a rebase is still to come.
    fn target(&self, snapshot: &Snapshot, place: Place) -> Result<Target>;

    /// Begins to take the content of files for the one layer that is laid in an active before it is
    /// sealed; none where it goes into the files of the target. Until the commit, nobody but whoever
    /// lays the layer can use the active.
    fn contents(&self, _snapshot: &Snapshot) -> Result<Option<Box<dyn Contents>>> {
        Ok(None)
    }

    /// The mounts of an active or view. Mounts and changes nothing; always the same answer.
    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>>;

    /// Disk space of an active or view, measured now. `cancelled` is asked now and then.
    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage>;

    /// Makes an active ready to be committed and measures it. May run again for the same snapshot;
    /// if the commit fails after it, the active must go on being usable.
    fn seal(&self, snapshot: &Snapshot) -> Result<Usage>;

    /// Whether [`settle`](Self::settle) has anything to do, and so must be remembered in the row.
    fn settles(&self) -> bool {
        false
    }

    /// After the row says committed. Idempotent; run again at start when a crash came before it.
    fn settle(&self, _snapshot: &Snapshot) -> Result<()> {
        Ok(())
    }

    /// Removes what lies at `id`, in whatever kind it was. Idempotent; nothing there is [`Removed::Gone`].
    fn remove(&self, id: SnapshotId) -> Result<Removed>;

    /// Empties the trash that [`remove`](Self::remove) filled, if the back end has one. Slow.
    fn empty_trash(&self) -> Result<()> {
        Ok(())
    }

    /// At start, before anything else: drops stages, trash and every id that is not in `live`. Only
    /// ids below `allocated` can exist.
    fn recover(&self, live: &BTreeSet<SnapshotId>, allocated: SnapshotId) -> Result<()>;

    /// A directory of the file system that fills up when a layer is laid through a mount; none where
    /// the back end has room of its own, and says itself when it is full.
    fn space(&self) -> Option<PathBuf> {
        None
    }

    /// Gives back the room that an active takes which is about to be dropped, because there is none
    /// to say that it is gone. What is left of it need not make sense, but must be removable. For
    /// what layers are laid in besides the directory of the target, which is emptied without being
    /// asked.
    fn shrink(&self, _snapshot: &Snapshot) -> Result<()> {
        Ok(())
    }

    /// The snapshot that a mount's source is a device of, or whatever else is no directory.
    fn owner(&self, _source: &Path) -> Option<SnapshotId> {
        None
    }

    /// Says why a layer could not be laid through a mount, where the back end knows better than the
    /// file system: that tells its device's troubles as read and write errors, whatever they are.
    fn explain(&self, error: Error) -> Error {
        error
    }

    /// Labels to add to what clients see of a snapshot (`overlay.upperdir`); nothing is stored.
    fn synthetic_labels(&self, _snapshot: SnapshotId) -> Labels {
        Labels::new()
    }

    /// For `fsck`: whether the files that a row claims are there.
    fn exists(&self, snapshot: &Snapshot) -> Result<bool>;

    /// For `fsck`: the ids that lie on disk; `None` when the back end cannot list them.
    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>>;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;
}
