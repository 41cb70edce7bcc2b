//! `zfs`: every snapshot is a dataset below the one whose mountpoint is the root.
//!
//! ```text
//! <dataset>/<id>            an active or view; a clone, if it has a parent
//! <dataset>/<id>@snapshot   what a committed one holds, and children are clones of
//! ```
//!
//! Everything is done by the `zfs` command. It answers when what it did is on disk, so there is nothing
//! to flush.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Kind as ErrorKind, Mount, Result};
use lamina_sys::mountinfo;

use super::super::driver::{
    Capabilities, Driver, OpenError, Place, Removed, Snapshot, SnapshotId, Stage, Target,
};
use super::super::locks::lock;
use super::dirs;
use super::error::failed;
use super::program::run;

/// The back end.
#[derive(Debug)]
pub struct Zfs {
    dataset: String,
    /// Which id a stage is: it has one from the first step on.
    stages: Mutex<HashMap<String, SnapshotId>>,
}

impl Zfs {
    /// Takes the dataset that is mounted at `root`.
    ///
    /// # Errors
    /// [`OpenError::Skip`] when none is, or there is no `zfs` command; InvalidArgument for a root that
    /// is no absolute path in UTF-8.
    pub fn open(root: &Path) -> Result<Zfs, OpenError> {
        dirs::check_root(root)?;
        let skip = |why: String| OpenError::Skip(format!("{}: {why}", root.display()));
        let none = || skip("it is not where a zfs dataset is mounted".to_owned());
        let there = root.canonicalize().map_err(|_| none())?;
        let table = mountinfo::read().map_err(|error| failed(error, "read the mount table"))?;
        let entry = mountinfo::find(&table, &there);
        let entry = entry.filter(|entry| entry.fs_type == "zfs" && entry.mount_point == there);
        let entry = entry.ok_or_else(none)?;
        let dataset = entry.source.clone().into_string();
        let dataset = dataset.map_err(|name| skip(format!("its dataset {name:?} is not UTF-8")))?;
        let zfs = Zfs { dataset, stages: Mutex::default() };
        zfs.ask(&["list", "-H", "-o", "name", &zfs.dataset])
            .map_err(|error| skip(error.chain()))?;
        Ok(zfs)
    }

    fn name(&self, id: SnapshotId) -> String {
        format!("{}/{id}", self.dataset)
    }

    fn frozen(&self, id: SnapshotId) -> String {
        format!("{}@snapshot", self.name(id))
    }

    fn ask(&self, args: &[&str]) -> Result<String> {
        let output = run("zfs", args)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::new(kind_of(&said), format!("zfs {}: {said}", args.join(" "))))
    }

    fn there(&self, name: &str) -> Result<bool> {
        match self.ask(&["list", "-H", "-t", "all", "-o", "name", name]) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn destroy(&self, name: &str) -> Result<Removed> {
        // The command would take a mount away that nobody happens to use just now.
        let table = mountinfo::read().map_err(|error| failed(error, "read the mount table"))?;
        if table.iter().any(|entry| entry.fs_type == "zfs" && entry.source == *name) {
            return Ok(Removed::Busy);
        }
        match self.ask(&["destroy", "-r", name]) {
            Ok(_) => Ok(Removed::Gone),
            Err(error) if error.is_not_found() => Ok(Removed::Gone),
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(Removed::Busy),
            Err(error) => Err(error),
        }
    }

    fn ids(&self) -> Result<BTreeSet<SnapshotId>> {
        let listing = self.ask(&["list", "-H", "-r", "-d", "1", "-o", "name", &self.dataset])?;
        let id = |line: &str| {
            let name = line.strip_prefix(&self.dataset)?.strip_prefix('/')?;
            // As we write it: others may have datasets here.
            name.parse().ok().filter(|id: &u64| id.to_string() == name).map(SnapshotId)
        };
        Ok(listing.lines().filter_map(id).collect())
    }
}

impl Driver for Zfs {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        let name = self.name(snapshot.id);
        let mut args = vec!["create"];
        let origin = snapshot.parents.first().map(|parent| self.frozen(*parent));
        if origin.is_some() {
            args = vec!["clone"];
        }
        args.extend(["-o", "mountpoint=legacy"]);
        if snapshot.kind == Kind::View {
            args.extend(["-o", "readonly=on"]);
        }
        args.extend(origin.as_deref());
        args.push(&name);
        lock(&self.stages).insert(stage.name.clone(), snapshot.id);
        match self.ask(&args) {
            // What an earlier crash left at this id.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.destroy(&name)?;
                self.ask(&args).map(drop)
            }
            made => made.map(drop),
        }
    }

    /// It has its id already.
    fn publish(&self, _snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        lock(&self.stages).remove(&stage.name);
        Ok(())
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        let id = lock(&self.stages).remove(&stage.name);
        id.map_or(Ok(()), |id| self.destroy(&self.name(id)).map(drop))
    }

    fn flush(&self, _created: &[SnapshotId], _sealed: &[SnapshotId]) -> Result<()> {
        Ok(())
    }

    fn target(&self, _snapshot: &Snapshot, _place: Place) -> Result<Target> {
        Ok(Target::Mount)
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let id = snapshot.id;
        let options: &[&str] = match snapshot.kind {
            Kind::Active => &[],
            Kind::View => &["ro"],
            Kind::Committed => {
                return Err(Error::failed_precondition(format!(
                    "snapshot {id} is committed and has no mounts"
                )));
            }
        };
        Ok(vec![Mount::new("zfs", self.name(id), options.iter().map(|text| (*text).to_owned()))])
    }

    /// zfs counts what is on disk, so that is brought up to date first. One inode: the dataset.
    fn usage(&self, snapshot: &Snapshot, _cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        let name = self.name(snapshot.id);
        if let Some(pool) = self.dataset.split('/').next() {
            run("zpool", &["sync", pool])?;
        }
        let used = self.ask(&["get", "-H", "-p", "-o", "value", "used", &name])?;
        let size = used.parse().map_err(|_| Error::internal(format!("{name} uses {used:?}")))?;
        Ok(Usage { inodes: 1, size })
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        let frozen = self.frozen(snapshot.id);
        // Left by a commit that failed after it was sealed.
        if self.there(&frozen)? && self.destroy(&frozen)? == Removed::Busy {
            return Err(Error::unavailable(format!("{frozen}, of an earlier commit, is in use")));
        }
        self.ask(&["snapshot", &frozen])?;
        self.usage(snapshot, &|| false)
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        self.destroy(&self.name(id))
    }

    /// The newest first: clones before what they are clones of.
    fn recover(&self, live: &BTreeSet<SnapshotId>, _allocated: SnapshotId) -> Result<()> {
        for id in self.ids()?.into_iter().rev().filter(|id| !live.contains(id)) {
            if self.remove(id)? == Removed::Busy {
                tracing::warn!(%id, "a dataset that no row names is in use");
            }
        }
        Ok(())
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        let id = snapshot.id;
        let committed = snapshot.kind == Kind::Committed;
        self.there(&if committed { self.frozen(id) } else { self.name(id) })
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        self.ids().map(Some)
    }

    fn owner(&self, source: &Path) -> Option<SnapshotId> {
        source.strip_prefix(&self.dataset).ok()?.to_str()?.parse().ok().map(SnapshotId)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// What the command's words mean; its exit code says nothing.
fn kind_of(said: &str) -> ErrorKind {
    let words = [
        ("does not exist", ErrorKind::NotFound),
        ("could not find any snapshots to destroy", ErrorKind::NotFound),
        ("already exists", ErrorKind::AlreadyExists),
        ("is busy", ErrorKind::Unavailable),
        ("out of space", ErrorKind::ResourceExhausted),
        ("quota exceeded", ErrorKind::ResourceExhausted),
        ("permission denied", ErrorKind::PermissionDenied),
    ];
    let found = words.iter().find(|(text, _)| said.contains(text));
    found.map_or(ErrorKind::Internal, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elsewhere_it_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        for root in [dir.path().to_owned(), dir.path().join("none")] {
            let OpenError::Skip(why) = Zfs::open(&root).unwrap_err() else { panic!("not skipped") };
            assert!(why.contains(root.to_str().unwrap()), "{why}");
        }
    }

    #[test]
    fn what_the_command_says_has_a_kind() {
        for (said, kind) in [
            ("cannot open 'p/7': dataset does not exist", ErrorKind::NotFound),
            ("cannot create 'p/7': dataset already exists", ErrorKind::AlreadyExists),
            ("cannot destroy 'p/7': dataset is busy", ErrorKind::Unavailable),
            ("cannot create 'p/7': out of space", ErrorKind::ResourceExhausted),
            ("cannot destroy 'p/7': filesystem has dependent clones", ErrorKind::Internal),
        ] {
            assert_eq!(kind_of(said), kind, "{said}");
        }
    }
}
