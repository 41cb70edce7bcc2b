//! `aufs`: a directory a snapshot, stacked by aufs, on kernels that have it.
//!
//! ```text
//! snapshots/<id>/fs  0755  the layer: a branch of the union
//! ```
//!
//! The kernel of nobody but a few distributions has aufs, and containerd 2.0 dropped it. The mounts are
//! those of its last release. How deletions are written in a branch is aufs' own business, so layers
//! are laid through a mount.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};
use lamina_sys::{fs, tree};

use super::super::driver::{
    Capabilities, Driver, OpenError, Place, Removed, Snapshot, SnapshotId, Stage, Target,
};
use super::dirs::{Dirs, check_root, is_dir, make_dir, text};
use super::error::failed;
use super::kernel::has_filesystem;
use super::medium::Medium;
use super::native::usage;
use crate::mount::temp::TempMounts;

/// The back end.
#[derive(Debug)]
pub struct Aufs {
    dirs: Dirs,
    medium: Medium,
    temp: TempMounts,
    /// The kernel's aufs checks permissions of the topmost branch alone when told so.
    dirperm1: bool,
}

impl Aufs {
    /// Opens the directories at `root`, making what is missing, and looks at what the kernel can do.
    ///
    /// # Errors
    /// [`OpenError::Skip`] when the kernel has no aufs. Else InvalidArgument for a root that is no
    /// absolute path in UTF-8 or has a character that aufs' options give a meaning,
    /// FailedPrecondition for one that belongs to containerd.
    pub fn open(root: &Path) -> Result<Aufs, OpenError> {
        check_root(root)?;
        if let Some(bad) = root.to_str().and_then(|path| path.chars().find(|c| ",:=+".contains(*c)))
        {
            let what = format!("the root of aufs, {}, must not contain {bad:?}", root.display());
            return Err(Error::invalid_argument(what).into());
        }
        if !has_filesystem("aufs") {
            return Err(OpenError::Skip("this kernel has no aufs".to_owned()));
        }
        let mut aufs = Aufs::new(root)?;
        aufs.dirperm1 = aufs.try_dirperm1();
        Ok(aufs)
    }

    fn new(root: &Path) -> Result<Aufs> {
        let dirs = Dirs::open(root)?;
        let temp = TempMounts::new(root.join("mnt"));
        Ok(Aufs { medium: dirs.medium()?, dirs, temp, dirperm1: false })
    }

    /// Whether a union of one empty branch can be mounted with the option.
    fn try_dirperm1(&self) -> bool {
        let stage = Stage { name: "new-probe".to_owned() };
        let branch = self.dirs.stage(&stage).map(|_| self.dirs.stage_path(&stage));
        let tried = branch.and_then(|branch| {
            let union = ["dirperm1".to_owned(), XINO.to_owned(), format!("br:{}=rw", text(branch))];
            self.temp.with(&[Mount::new("aufs", "none", union)], |_| Ok(()))
        });
        if let Err(error) = &tried {
            tracing::debug!(error = %error.chain(), "aufs takes no dirperm1");
        }
        if let Err(error) = self.dirs.discard(&stage) {
            tracing::warn!(error = %error.chain(), "a trial of aufs is left; the next start drops it");
        }
        tried.is_ok()
    }

    fn branch(&self, id: SnapshotId) -> String {
        text(self.dirs.path(id).join("fs"))
    }

    fn open_branch(&self, id: SnapshotId) -> Result<OwnedFd> {
        fs::open_dir_at(self.dirs.open_snapshot(id)?, "fs")
            .map_err(|error| failed(error, format!("open the layer of snapshot {id}")))
    }

    fn bind(&self, id: SnapshotId, access: &str) -> Vec<Mount> {
        vec![Mount::new("bind", self.branch(id), [access, "rbind"])]
    }

    fn union(&self, own: Option<SnapshotId>, below: &[SnapshotId]) -> Vec<Mount> {
        let own = own.map(|id| format!("{}=rw", self.branch(id)));
        let below = below.iter().map(|id| format!("{}=ro+wh", self.branch(*id)));
        let branches: Vec<String> = own.into_iter().chain(below).collect();
        let mut options = vec!["dio".to_owned(), XINO.to_owned()];
        options.extend(self.dirperm1.then(|| "dirperm1".to_owned()));
        options.push(format!("br:{}", branches.join(":")));
        vec![Mount::new("aufs", "none", options)]
    }

    fn measure(&self, id: SnapshotId, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        let used = tree::usage(self.open_branch(id)?, &mut || cancelled())
            .map_err(|error| failed(error, format!("measure snapshot {id}")))?;
        Ok(usage(used))
    }
}

impl Driver for Aufs {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.medium.note(snapshot.id);
        let branch = make_dir(self.dirs.stage(stage)?, "fs", 0o755)?;
        let Some(parent) = snapshot.parents.first() else { return Ok(()) };
        let owner = fs::stat(self.open_branch(*parent)?);
        owner.and_then(|owner| fs::set_owner(&branch, owner.uid, owner.gid)).map_err(|error| {
            failed(error, format!("give snapshot {} its parent's owner", snapshot.id))
        })
    }

    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.dirs.publish(snapshot.id, stage)
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        self.dirs.discard(stage)
    }

    fn flush(&self, created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()> {
        if !sealed.is_empty() {
            return self.medium.sync(sealed);
        }
        if created.is_empty() { Ok(()) } else { self.dirs.sync_entries() }
    }

    fn target(&self, _snapshot: &Snapshot, _place: Place) -> Result<Target> {
        Ok(Target::Mount)
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        match (snapshot.kind, snapshot.parents.as_slice()) {
            (Kind::Active, []) => Ok(self.bind(snapshot.id, "rw")),
            (Kind::Active, below) => Ok(self.union(Some(snapshot.id), below)),
            (Kind::View, []) => Ok(self.bind(snapshot.id, "ro")),
            (Kind::View, [parent]) => Ok(self.bind(*parent, "ro")),
            (Kind::View, below) => Ok(self.union(None, below)),
            (Kind::Committed, _) => Err(Error::failed_precondition(format!(
                "snapshot {} is committed and has no mounts",
                snapshot.id
            ))),
        }
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
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
        self.temp.sweep()?;
        self.dirs.keep_only(live)
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        Ok(self.dirs.exists(snapshot.id)? && is_dir(self.dirs.open_snapshot(snapshot.id)?, "fs")?)
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        self.dirs.list().map(Some)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// Where aufs keeps inode numbers: on a file system that can, which the branches' may not be.
const XINO: &str = "xino=/dev/shm/aufs.xino";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::testing::{commit, make, snapshot};
    use super::*;

    fn driver(root: &Path, dirperm1: bool) -> Aufs {
        Aufs { dirperm1, ..Aufs::new(root).unwrap() }
    }

    #[test]
    fn mounts_are_those_of_the_last_release() {
        let dir = tempfile::tempdir().unwrap();
        let at = |id: u64| format!("{}/snapshots/{id}/fs", dir.path().display());
        let bind = |id, access| Mount::new("bind", at(id), [access, "rbind"]);
        let union = |dirperm1: bool, branches: String| {
            let between = dirperm1.then_some("dirperm1");
            let options = ["dio", "xino=/dev/shm/aufs.xino"].into_iter().chain(between);
            Mount::new("aufs", "none", options.chain([format!("br:{branches}").as_str()]))
        };
        for dirperm1 in [false, true] {
            let driver = driver(dir.path(), dirperm1);
            for (kind, parents, want) in [
                (Kind::Active, &[][..], bind(9, "rw")),
                (Kind::View, &[], bind(9, "ro")),
                (Kind::View, &[2], bind(2, "ro")),
                (Kind::Active, &[1], union(dirperm1, format!("{}=rw:{}=ro+wh", at(9), at(1)))),
                (
                    Kind::Active,
                    &[2, 1],
                    union(dirperm1, format!("{}=rw:{}=ro+wh:{}=ro+wh", at(9), at(2), at(1))),
                ),
                (Kind::View, &[2, 1], union(dirperm1, format!("{}=ro+wh:{}=ro+wh", at(2), at(1)))),
            ] {
                assert_eq!(driver.mounts(&snapshot(9, kind, parents)).unwrap(), [want]);
            }
            let committed = driver.mounts(&snapshot(9, Kind::Committed, &[])).unwrap_err();
            assert_eq!(committed.kind(), lamina_core::Kind::FailedPrecondition);
        }
    }

    #[test]
    fn branches_live_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let driver = driver(dir.path(), false);
        let base = snapshot(1, Kind::Active, &[]);
        make(&driver, &base);
        let branch = |id: u64| dir.path().join(format!("snapshots/{id}/fs"));
        assert_eq!(branch(1).metadata().unwrap().mode() & 0o7777, 0o755);
        std::fs::write(branch(1).join("file"), "x").unwrap();
        assert_eq!(commit(&driver, &base).inodes, 2);
        for (id, kind) in [(2, Kind::Active), (3, Kind::View)] {
            make(&driver, &snapshot(id, kind, &[1]));
            assert!(driver.exists(&snapshot(id, kind, &[1])).unwrap());
        }
        assert_eq!(driver.target(&base, Place::Bottom).unwrap(), Target::Mount);
        driver.recover(&BTreeSet::from([SnapshotId(1)]), SnapshotId(4)).unwrap();
        assert_eq!(driver.list().unwrap().unwrap(), BTreeSet::from([SnapshotId(1)]));
        assert_eq!(driver.remove(SnapshotId(1)).unwrap(), Removed::Gone);
    }

    #[test]
    fn a_kernel_without_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        match Aufs::open(&dir.path().join("root")) {
            Err(OpenError::Skip(why)) => {
                assert_eq!(why, "this kernel has no aufs");
                assert!(!dir.path().join("root").exists());
            }
            opened => drop(opened.unwrap()),
        }
        let OpenError::Failed(error) = Aufs::open(&dir.path().join("a=b")).unwrap_err() else {
            panic!("a path that aufs reads otherwise")
        };
        assert_eq!(error.kind(), lamina_core::Kind::InvalidArgument);
    }
}
