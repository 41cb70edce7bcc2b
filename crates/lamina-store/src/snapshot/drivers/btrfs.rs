//! `btrfs`: every snapshot is a subvolume.
//!
//! ```text
//! active/<id>     an active, writable
//! view/<id>       a view, a read-only snapshot of its parent
//! snapshots/<id>  a committed one, read-only
//! ```
//!
//! A commit freezes the active: [`seal`](Driver::seal) takes a read-only snapshot of it, which is
//! taken anew if the commit fails and is tried again, and [`settle`](Driver::settle) drops the active
//! once the row says committed. Kinds have directories of their own, so a live id may for a moment
//! lie in two of them; its row says which one counts.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};
use lamina_sys::btrfs::{self, Access};
use lamina_sys::{fs, mountinfo, tree};

use super::super::driver::{
    Capabilities, Driver, OpenError, Place, Removed, Snapshot, SnapshotId, Stage, Target, Whiteouts,
};
use super::dirs::{self, Name, check_root, is_dir, list_ids, make_dir};
use super::error::failed;
use super::medium::Medium;
use super::native::usage;

/// The back end.
#[derive(Debug)]
pub struct Btrfs {
    root: PathBuf,
    /// What mounts name as their source.
    device: String,
    active: OwnedFd,
    view: OwnedFd,
    snapshots: OwnedFd,
    medium: Medium,
}

impl Btrfs {
    /// Opens the directories at `root`, making what is missing.
    ///
    /// # Errors
    /// [`OpenError::Skip`] when `root`, or where it would be made, does not lie on btrfs. Else
    /// InvalidArgument for a root that is no absolute path in UTF-8, FailedPrecondition for one that
    /// belongs to containerd.
    pub fn open(root: &Path) -> Result<Btrfs, OpenError> {
        check_root(root)?;
        let device = device_of(root)?;
        let fd = dirs::make_root(root)?;
        fs::set_mode(&fd, 0o700).map_err(|error| failed(error, "set the mode of the root"))?;
        Ok(Btrfs {
            root: root.to_owned(),
            device,
            active: make_dir(&fd, "active", 0o755)?,
            view: make_dir(&fd, "view", 0o755)?,
            snapshots: make_dir(&fd, "snapshots", 0o755)?,
            medium: Medium::new(fd),
        })
    }

    fn dir(&self, kind: Kind) -> BorrowedFd<'_> {
        match kind {
            Kind::Active => self.active.as_fd(),
            Kind::View => self.view.as_fd(),
            Kind::Committed => self.snapshots.as_fd(),
        }
    }

    fn open_subvolume(&self, kind: Kind, id: SnapshotId) -> Result<OwnedFd> {
        fs::open_dir_at(self.dir(kind), id.to_string())
            .map_err(|error| failed(error, format!("open the {kind} subvolume of snapshot {id}")))
    }

    fn drop_subvolume(&self, kind: Kind, name: &str) -> Result<Removed> {
        match tree::remove_subvolume(self.dir(kind), name) {
            Ok(_) => Ok(Removed::Gone),
            Err(error) if error.is_busy() => Ok(Removed::Busy),
            Err(error) => Err(failed(error, format!("delete the {kind} subvolume {name}"))),
        }
    }

    /// Blocks and inodes of `tree` that its parent does not share.
    fn measure(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        let tree = self.open_subvolume(snapshot.kind, snapshot.id)?;
        let used = match snapshot.parents.first() {
            None => tree::usage(tree, &mut || cancelled()),
            Some(parent) => {
                let parent = self.open_subvolume(Kind::Committed, *parent)?;
                tree::usage_since(tree, parent, &mut || cancelled())
            }
        };
        let used =
            used.map_err(|error| failed(error, format!("measure snapshot {}", snapshot.id)))?;
        Ok(usage(used))
    }
}

impl Driver for Btrfs {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.medium.note(snapshot.id);
        let what = |error| failed(error, format!("make snapshot {}", snapshot.id));
        let dir = self.dir(snapshot.kind);
        let Some(parent) = snapshot.parents.first() else {
            btrfs::create_subvolume(dir, &stage.name).map_err(what)?;
            return fs::set_mode_at(dir, &stage.name, 0o755).map_err(what);
        };
        let parent = self.open_subvolume(Kind::Committed, *parent)?;
        let access = if snapshot.kind == Kind::View { Access::ReadOnly } else { Access::ReadWrite };
        btrfs::create_snapshot(parent, dir, &stage.name, access).map_err(what)
    }

    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        let (dir, name) = (self.dir(snapshot.kind), snapshot.id.to_string());
        if is_dir(dir, &name)? {
            self.drop_subvolume(snapshot.kind, &name)?;
        }
        fs::rename_noreplace(dir, &stage.name, dir, &name)
            .map_err(|error| failed(error, format!("publish snapshot {name}")))
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        for kind in [Kind::Active, Kind::View] {
            self.drop_subvolume(kind, &stage.name)?;
        }
        Ok(())
    }

    /// One `syncfs` for both: a new subvolume is durable with the transaction it was made in.
    fn flush(&self, _created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()> {
        self.medium.sync(sealed)
    }

    fn target(&self, snapshot: &Snapshot, _place: Place) -> Result<Target> {
        let path = self.root.join("active").join(snapshot.id.to_string());
        Ok(Target::Dir { path, whiteouts: Whiteouts::Delete, lowers: Vec::new() })
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let id = snapshot.id;
        if snapshot.kind == Kind::Committed {
            return Err(Error::failed_precondition(format!(
                "snapshot {id} is committed and has no mounts"
            )));
        }
        let subvolume = btrfs::subvolume_id(self.open_subvolume(snapshot.kind, id)?)
            .map_err(|error| failed(error, format!("find the subvolume of snapshot {id}")))?;
        let mut options = vec![format!("subvolid={subvolume}")];
        if snapshot.kind == Kind::View {
            options.push("ro".to_owned());
        }
        Ok(vec![Mount::new("btrfs", self.device.clone(), options)])
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        self.measure(snapshot, cancelled)
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        self.medium.check(snapshot.id)?;
        let (id, name) = (snapshot.id, snapshot.id.to_string());
        // Left by a commit that failed after it was sealed.
        if self.drop_subvolume(Kind::Committed, &name)? == Removed::Busy {
            return Err(Error::unavailable(format!(
                "an earlier commit of snapshot {id} is in use"
            )));
        }
        let active = self.open_subvolume(Kind::Active, id)?;
        btrfs::create_snapshot(active, &self.snapshots, &name, Access::ReadOnly)
            .map_err(|error| failed(error, format!("freeze snapshot {id}")))?;
        self.measure(&Snapshot { kind: Kind::Committed, ..snapshot.clone() }, &|| false)
    }

    fn settles(&self) -> bool {
        true
    }

    fn settle(&self, snapshot: &Snapshot) -> Result<()> {
        match self.drop_subvolume(Kind::Active, &snapshot.id.to_string())? {
            Removed::Gone => Ok(()),
            Removed::Busy => Err(Error::unavailable(format!(
                "the writable subvolume of snapshot {} is in use",
                snapshot.id
            ))),
        }
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        for kind in KINDS {
            if self.drop_subvolume(kind, &id.to_string())? == Removed::Busy {
                return Ok(Removed::Busy);
            }
        }
        Ok(Removed::Gone)
    }

    fn recover(&self, live: &BTreeSet<SnapshotId>, _allocated: SnapshotId) -> Result<()> {
        live.last().into_iter().for_each(|newest| self.medium.note(*newest));
        for kind in KINDS {
            let list = |error| failed(error, "list subvolumes");
            for entry in fs::read_dir(self.dir(kind)).map_err(list)? {
                let name = entry.map_err(list)?.name;
                let goes = match Name::parse(&name) {
                    Name::Id(id) => !live.contains(&id),
                    Name::Stage => true,
                    Name::Other => false,
                };
                let name = name.to_string_lossy();
                if goes && self.drop_subvolume(kind, &name)? == Removed::Busy {
                    tracing::warn!(%kind, %name, "a subvolume that no row names is in use");
                }
            }
        }
        Ok(())
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        is_dir(self.dir(snapshot.kind), &snapshot.id.to_string())
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        let mut ids = BTreeSet::new();
        for kind in KINDS {
            ids.append(&mut list_ids(self.dir(kind))?);
        }
        Ok(Some(ids))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

const KINDS: [Kind; 3] = [Kind::Active, Kind::View, Kind::Committed];

/// The device of the btrfs that `root` lies on, or will be made on.
fn device_of(root: &Path) -> Result<String, OpenError> {
    let skip = |why: String| OpenError::Skip(format!("{}: {why}", root.display()));
    let there = root
        .ancestors()
        .find_map(|path| path.canonicalize().ok())
        .ok_or_else(|| skip("no such directory".to_owned()))?;
    let table = mountinfo::read().map_err(|error| failed(error, "read the mount table"))?;
    let entry = mountinfo::find(&table, &there)
        .ok_or_else(|| skip("it lies on no mount that is seen here".to_owned()))?;
    if entry.fs_type != "btrfs" {
        return Err(skip(format!("it lies on {}, not on btrfs", entry.fs_type.to_string_lossy())));
    }
    let device = entry.source.clone().into_string();
    device.map_err(|name| skip(format!("its device {name:?} has no name in UTF-8")))
}

#[cfg(test)]
mod tests;
