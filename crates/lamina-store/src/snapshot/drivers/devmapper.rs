//! `devmapper`: every snapshot is a thin device in a pool of device-mapper, with a file system in it.
//!
//! The id of the thin device is that of the snapshot, so the pool and the rows are all there is. A
//! device is loaded as `/dev/mapper/<pool>-snap-<id>` while its snapshot can be mounted; a committed one
//! is not loaded. What the pool is told, it has written down when it answers, so only a layer's own
//! data is left to flush.

mod config;
mod pool;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};
use lamina_sys::devmapper::{self, Removal};
use lamina_sys::fs;
use rustix::fs::OFlags;

pub use self::config::Config;
use self::config::{FileSystem, Settings};
use self::pool::Pool;
use super::super::driver::{
    Capabilities, Driver, OpenError, Place, Removed, Snapshot, SnapshotId, Stage, Target,
};
use super::super::locks::lock;
use super::dirs;
use super::error::failed;
use super::extfs;
use super::program::run;
use crate::mount::temp::TempMounts;

/// The back end.
#[derive(Debug)]
pub struct Devmapper {
    settings: Settings,
    pool: Pool,
    temp: TempMounts,
    /// Which id a stage is: it has one from the first step on.
    stages: Mutex<HashMap<String, SnapshotId>>,
}

/// Names the pool that `root` belongs to.
const POOL: &str = "pool";

impl Devmapper {
    /// Opens the pool that is configured.
    ///
    /// # Errors
    /// [`OpenError::Skip`] when none is. Else InvalidArgument for settings that make no sense, NotFound
    /// for a pool that is not there, FailedPrecondition for one that is no pool, is broken, or has
    /// somebody else's devices in it.
    pub fn open(root: &Path, config: &Config) -> Result<Devmapper, OpenError> {
        dirs::check_root(root)?;
        if config.pool_name.is_empty() {
            return Err(OpenError::Skip("no pool_name is configured".to_owned()));
        }
        let settings = Settings::new(config)?;
        let pool = Pool::open(&config.pool_name)?;
        let fd = dirs::make_root(root)?;
        fs::set_mode(&fd, 0o750).map_err(|error| failed(error, "set the mode of the root"))?;
        claim(root, &pool)?;
        let temp = TempMounts::new(root.join("mnt"));
        temp.sweep()?;
        Ok(Devmapper { settings, pool, temp, stages: Mutex::default() })
    }

    /// Loads a snapshot's device if it is not; after a boot none is.
    fn load(&self, id: SnapshotId) -> Result<PathBuf> {
        self.pool.load(id, self.settings.sectors)?;
        Ok(self.pool.node(id))
    }

    fn make_file_system(&self, id: SnapshotId) -> Result<()> {
        let node = self.load(id)?;
        let mut args: Vec<&OsStr> =
            self.settings.mkfs_options().into_iter().map(OsStr::new).collect();
        args.push(node.as_os_str());
        let output = run(&format!("mkfs.{}", self.settings.fs_type.name()), &args)?;
        if !output.status.success() {
            self.pool.check_room()?;
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::internal(format!("mkfs of snapshot {id}: {}", said.trim())));
        }
        if self.settings.fs_type == FileSystem::Xfs {
            return Ok(());
        }
        // No file of the snapshot, and clients compare trees.
        self.temp.with(&[self.mount(id, self.settings.fs_type, false)], |root| {
            std::fs::remove_dir(root.join("lost+found"))
                .map_err(|error| Error::internal("remove lost+found").with_source(error))
        })
    }

    /// A pool that was full once, and is not any more, has left errors in what was written to then.
    fn check_file_system(&self, id: SnapshotId) -> Result<()> {
        let device =
            fs::open_at(rustix::fs::CWD, self.pool.node(id), OFlags::RDONLY | OFlags::CLOEXEC, 0)
                .map_err(|error| failed(error, format!("open the device of snapshot {id}")))?;
        let state = extfs::state(device).map_err(|error| {
            Error::internal(format!("read the device of snapshot {id}")).with_source(error)
        })?;
        if state == Some(extfs::State::Damaged) {
            return Err(Error::data_loss(format!(
                "the file system in snapshot {id} has errors; make the snapshot anew"
            )));
        }
        Ok(())
    }

    fn mount(&self, id: SnapshotId, fs_type: FileSystem, read_only: bool) -> Mount {
        let mut options = Vec::new();
        // Clones have the uuid of their origin, which xfs does not mount twice.
        options.extend((fs_type == FileSystem::Xfs).then(|| "nouuid".to_owned()));
        options.extend(read_only.then(|| "ro".to_owned()));
        Mount::new(fs_type.name(), self.pool.node(id).display().to_string(), options)
    }

    /// What it has, less what its parent has: both count what they share. One inode: the device.
    fn measure(&self, snapshot: &Snapshot) -> Result<Usage> {
        let own = self.pool.used(snapshot.id, self.settings.sectors)?;
        let parent = match snapshot.parents.first() {
            Some(parent) => self.pool.used(*parent, self.settings.sectors)?,
            None => 0,
        };
        let size = i64::try_from(own.saturating_sub(parent)).unwrap_or(i64::MAX);
        Ok(Usage { inodes: 1, size })
    }

    fn give_back(&self, id: SnapshotId) -> Result<()> {
        let node = self.load(id)?;
        let device = fs::open_at(rustix::fs::CWD, &node, OFlags::RDWR | OFlags::CLOEXEC, 0)
            .map_err(|error| failed(error, format!("open the device of snapshot {id}")))?;
        devmapper::discard(device.as_fd(), self.settings.sectors * 512)
            .map_err(|error| failed(error, format!("discard the blocks of snapshot {id}")))
    }
}

impl Driver for Devmapper {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        let id = snapshot.id;
        self.pool.check_room()?;
        lock(&self.stages).insert(stage.name.clone(), id);
        match snapshot.parents.first() {
            None => {
                self.pool.create(id)?;
                self.make_file_system(id)
            }
            Some(parent) => {
                self.pool.create_from(id, *parent)?;
                self.load(id).map(drop)
            }
        }
    }

    /// It has its id already.
    fn publish(&self, _snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        lock(&self.stages).remove(&stage.name);
        Ok(())
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        let id = lock(&self.stages).remove(&stage.name);
        match id.map(|id| self.pool.remove(id)) {
            Some(Ok(Removed::Busy)) => {
                Err(Error::unavailable(format!("the staged device {} is in use", stage.name)))
            }
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn flush(&self, created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()> {
        for id in created.iter().chain(sealed) {
            self.pool.flush(*id)?;
        }
        Ok(())
    }

    fn target(&self, _snapshot: &Snapshot, _place: Place) -> Result<Target> {
        Ok(Target::Mount)
    }

    /// The device is loaded, if this is the first call since a boot; nothing else changes.
    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let id = snapshot.id;
        if snapshot.kind == Kind::Committed {
            return Err(Error::failed_precondition(format!(
                "snapshot {id} is committed and has no mounts"
            )));
        }
        let fs_type = FileSystem::of(&self.load(id)?)?;
        Ok(vec![self.mount(id, fs_type, snapshot.kind == Kind::View)])
    }

    fn usage(&self, snapshot: &Snapshot, _cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        self.measure(snapshot)
    }

    /// A file system that is mounted still is made whole on the device.
    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        self.load(snapshot.id)?;
        self.pool.freeze(snapshot.id)?;
        self.pool.check()?;
        self.check_file_system(snapshot.id)?;
        self.measure(snapshot)
    }

    fn settles(&self) -> bool {
        true
    }

    fn settle(&self, snapshot: &Snapshot) -> Result<()> {
        self.pool.unload(snapshot.id, Removal::Deferred).map(drop)
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        if self.settings.discard_blocks && self.pool.has(id, self.settings.sectors)? {
            if self.pool.is_open(id)? {
                return Ok(Removed::Busy);
            }
            self.give_back(id)?;
        }
        self.pool.remove(id)
    }

    fn recover(&self, live: &BTreeSet<SnapshotId>, allocated: SnapshotId) -> Result<()> {
        for id in (1..allocated.0).map(SnapshotId).filter(|id| !live.contains(id)) {
            if self.pool.remove(id)? == Removed::Busy {
                tracing::warn!(%id, "a device that no row names is in use");
            }
        }
        Ok(())
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        self.pool.has(snapshot.id, self.settings.sectors)
    }

    /// The pool does not tell.
    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        Ok(None)
    }

    fn owner(&self, source: &Path) -> Option<SnapshotId> {
        let prefix = format!("{}-snap-", self.pool.name());
        let name = source.strip_prefix(devmapper::DIRECTORY).ok()?.to_str()?;
        name.strip_prefix(&prefix)?.parse().ok().map(SnapshotId)
    }

    /// A full pool is a medium that fails, for a file system on it.
    fn explain(&self, error: Error) -> Error {
        match self.pool.check() {
            Ok(()) => error,
            Err(reason) => {
                let message = format!("{}: {reason}", error.message());
                Error::new(reason.kind(), message).with_source(error)
            }
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// Writes down whose the pool is. Ids without a row are deleted at each start, so a pool in which
/// somebody else has devices must never be taken.
fn claim(root: &Path, pool: &Pool) -> Result<()> {
    let path = root.join(POOL);
    let what = |error| Error::internal(format!("the file {}", path.display())).with_source(error);
    match std::fs::read_to_string(&path) {
        Ok(name) if name.trim() == pool.name() => Ok(()),
        Ok(name) => Err(Error::failed_precondition(format!(
            "{} holds the snapshots of the pool {}, not of {}",
            root.display(),
            name.trim(),
            pool.name()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if pool.status()?.data_used > 0 {
                return Err(Error::failed_precondition(format!(
                    "the pool {} is not empty, and not of this root; give Lamina one of its own",
                    pool.name()
                )));
            }
            // Not made durable: a pool that is still empty is claimed again.
            std::fs::write(&path, pool.name()).map_err(what)
        }
        Err(error) => Err(what(error)),
    }
}

#[cfg(test)]
mod tests;
