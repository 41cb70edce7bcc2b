//! `native`: every snapshot is a directory with a full copy of its parent.
//!
//! It works on any file system and shares nothing (but blocks, where the file system can clone
//! them). `snapshots/<id>` is the root of the tree itself. A view of a parent has no directory: it
//! shows the parent's. Usage counts the whole tree, the parent's part too, as it is on disk twice.

use std::collections::BTreeSet;
use std::path::Path;

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};
use lamina_sys::fs;
use lamina_sys::tree::{self, XattrErrors};

use super::super::driver::{
    Capabilities, Driver, Place, Removed, Snapshot, SnapshotId, Stage, Target, Whiteouts,
};
use super::dirs::{Dirs, text};
use super::error::failed;
use super::medium::Medium;

/// The back end.
#[derive(Debug)]
pub struct Native {
    dirs: Dirs,
    medium: Medium,
}

impl Native {
    /// Opens the directories at `root`, making what is missing.
    ///
    /// # Errors
    /// InvalidArgument for a root that is no absolute path in UTF-8, FailedPrecondition for one that
    /// belongs to containerd.
    pub fn open(root: &Path) -> Result<Native> {
        let dirs = Dirs::open(root)?;
        Ok(Native { medium: dirs.medium()?, dirs })
    }

    /// Whose directory a snapshot shows.
    fn shown(snapshot: &Snapshot) -> SnapshotId {
        match (snapshot.kind, snapshot.parents.first()) {
            (Kind::View, Some(parent)) => *parent,
            _ => snapshot.id,
        }
    }

    fn has_dir(snapshot: &Snapshot) -> bool {
        Self::shown(snapshot) == snapshot.id
    }

    fn measure(&self, id: SnapshotId, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        let used = tree::usage(self.dirs.open_snapshot(id)?, &mut || cancelled())
            .map_err(|error| failed(error, format!("measure snapshot {id}")))?;
        Ok(usage(used))
    }
}

impl Driver for Native {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.medium.note(snapshot.id);
        if !Self::has_dir(snapshot) {
            return Ok(());
        }
        let dir = self.dirs.stage(stage)?;
        let id = snapshot.id;
        fs::set_mode(&dir, 0o755).map_err(|error| failed(error, format!("make snapshot {id}")))?;
        let Some(parent) = snapshot.parents.first() else { return Ok(()) };
        // Attributes of `security.*` often cannot be set; containerd's copy leaves them out too.
        let copied = tree::copy_tree(
            self.dirs.open_snapshot(*parent)?,
            &dir,
            XattrErrors::Ignore,
            &mut || false,
        )
        .map_err(|error| failed(error, format!("copy snapshot {parent} to {id}")))?;
        if copied.xattrs_skipped > 0 {
            tracing::debug!(%id, %parent, skipped = copied.xattrs_skipped, "attributes not copied");
        }
        Ok(())
    }

    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        if Self::has_dir(snapshot) { self.dirs.publish(snapshot.id, stage) } else { Ok(()) }
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        self.dirs.discard(stage)
    }

    /// What was created holds copies, so their data must be there too.
    fn flush(&self, _created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()> {
        self.medium.sync(sealed)
    }

    fn write_back(&self) {
        self.medium.write_back();
    }

    fn target(&self, snapshot: &Snapshot, _place: Place) -> Result<Target> {
        let path = self.dirs.path(snapshot.id);
        Ok(Target::Dir { path, whiteouts: Whiteouts::Delete, lowers: Vec::new() })
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let access = match snapshot.kind {
            Kind::Active => "rw",
            Kind::View => "ro",
            Kind::Committed => {
                return Err(Error::failed_precondition(format!(
                    "snapshot {} is committed and has no mounts",
                    snapshot.id
                )));
            }
        };
        let source = text(self.dirs.path(Self::shown(snapshot)));
        Ok(vec![Mount::new("bind", source, ["rbind", access])])
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        if !Self::has_dir(snapshot) {
            return Ok(Usage::default());
        }
        self.measure(snapshot.id, cancelled)
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        self.medium.check(snapshot.id)?;
        self.measure(snapshot.id, &|| false)
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        self.dirs.remove(id)
    }

    fn empty_trash(&self) -> Result<()> {
        self.dirs.empty_trash()
    }

    fn recover(&self, live: &BTreeSet<SnapshotId>, _allocated: SnapshotId) -> Result<()> {
        live.last().into_iter().for_each(|newest| self.medium.note(*newest));
        self.dirs.keep_only(live)
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        self.dirs.exists(Self::shown(snapshot))
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        self.dirs.list().map(Some)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// A measured tree as clients see it.
pub(super) fn usage(used: tree::TreeUsage) -> Usage {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Usage { inodes: number(used.inodes), size: number(used.size) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::super::testing::{commit, layer, make, snapshot};
    use super::*;

    #[test]
    fn mounts_are_containerds() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Native::open(dir.path()).unwrap();
        for (kind, parents, shown, access) in [
            (Kind::Active, &[][..], 9, "rw"),
            (Kind::Active, &[2, 1], 9, "rw"),
            (Kind::View, &[], 9, "ro"),
            (Kind::View, &[1], 1, "ro"),
            (Kind::View, &[2, 1], 2, "ro"),
        ] {
            let source = dir.path().join(format!("snapshots/{shown}"));
            let want = Mount::new("bind", source.to_str().unwrap(), ["rbind", access]);
            assert_eq!(driver.mounts(&snapshot(9, kind, parents)).unwrap(), [want]);
        }
    }

    #[test]
    fn a_child_is_a_full_copy() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Native::open(dir.path()).unwrap();
        let base = snapshot(1, Kind::Active, &[]);
        make(&driver, &base);
        let root = layer(&driver, &base);
        std::fs::create_dir(root.join("dir")).unwrap();
        std::fs::write(root.join("dir/file"), [1; 10_000]).unwrap();
        std::fs::hard_link(root.join("dir/file"), root.join("link")).unwrap();
        symlink("../dir", root.join("dir/symlink")).unwrap();
        let old =
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_000_000_007);
        for path in [root.join("dir/file"), root.join("dir")] {
            std::fs::File::open(path).unwrap().set_modified(old).unwrap();
        }
        let usage = commit(&driver, &base);
        assert_eq!(usage.inodes, 4);

        let child = snapshot(2, Kind::Active, &[1]);
        make(&driver, &child);
        let copy = layer(&driver, &child);
        assert_eq!(driver.usage(&child, &|| false).unwrap().inodes, usage.inodes);
        let meta = |path: &str| copy.join(path).symlink_metadata().unwrap();
        assert_eq!(meta("link").ino(), meta("dir/file").ino());
        assert_eq!(meta("dir").modified().unwrap(), old);
        assert_eq!(meta("dir/file").modified().unwrap(), old);
        assert_eq!(std::fs::read_link(copy.join("dir/symlink")).unwrap(), Path::new("../dir"));
        std::fs::write(copy.join("dir/file"), "changed").unwrap();
        assert_eq!(std::fs::read(root.join("link")).unwrap(), [1; 10_000]);
    }

    #[test]
    fn a_view_has_no_directory_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Native::open(dir.path()).unwrap();
        commit(&driver, &{
            let base = snapshot(1, Kind::Active, &[]);
            make(&driver, &base);
            base
        });
        let view = snapshot(2, Kind::View, &[1]);
        make(&driver, &view);
        assert_eq!(driver.list().unwrap().unwrap(), BTreeSet::from([SnapshotId(1)]));
        assert!(driver.exists(&view).unwrap());
        assert_eq!(driver.usage(&view, &|| false).unwrap(), Usage::default());
        assert_eq!(driver.remove(SnapshotId(2)).unwrap(), Removed::Gone);
        assert!(driver.exists(&snapshot(1, Kind::Committed, &[])).unwrap());
    }
}
