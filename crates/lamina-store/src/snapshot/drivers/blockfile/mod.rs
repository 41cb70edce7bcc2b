//! `blockfile`: every snapshot is a file with a file system in it.
//!
//! ```text
//! scratch         an empty file system, copied from `scratch_file`
//! snapshots/<id>  the image of a snapshot; a view of a parent has none, it shows the parent's
//! mnt/…           where an image is mounted whose journal has to be replayed
//! ```
//!
//! An active begins as a copy of its parent's image, or of `scratch`: shared where the file system
//! below can clone files, and without its holes elsewhere. So each image holds the whole tree.
//!
//! What is written through a mount is in the image only once that is unmounted. Sealing makes sure:
//! it refuses an image that is still mounted, and replays a journal that a crash left, as an image
//! with one cannot be mounted read-only. The image itself becomes durable by the barrier.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};
use lamina_sys::fs::{self, OFlags};
use lamina_sys::{Outcome, loopdev, mountinfo, tree};
use serde::{Deserialize, Serialize};

use super::super::driver::{
    Capabilities, Driver, OpenError, Place, Removed, Snapshot, SnapshotId, Stage, Target,
};
use super::dirs::{Dirs, check_root, make_file, text};
use super::error::failed;
use super::extfs;
use super::medium::Medium;
use crate::mount::temp::TempMounts;

/// Its settings, by containerd's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it keeps its files, instead of its place below the store's root.
    pub root_path: Option<PathBuf>,
    /// An image with an empty file system, which the first start copies.
    pub scratch_file: Option<PathBuf>,
    /// The file system in it.
    pub fs_type: String,
    /// Options of each mount; `loop` is added if it is missing.
    pub mount_options: Vec<String>,
    /// Whether each start copies `scratch_file` anew.
    pub recreate_scratch: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            root_path: None,
            scratch_file: None,
            fs_type: "ext4".to_owned(),
            mount_options: vec!["loop".to_owned()],
            recreate_scratch: false,
        }
    }
}

/// The back end.
#[derive(Debug)]
pub struct Blockfile {
    dirs: Dirs,
    medium: Medium,
    /// The root without links, as the kernel tells of the files behind loop devices.
    real_root: PathBuf,
    fs_type: String,
    mount_options: Vec<String>,
    temp: TempMounts,
}

impl Blockfile {
    /// Opens the directories at `root`, making what is missing.
    ///
    /// # Errors
    /// [`OpenError::Skip`] when a scratch image is needed and none is configured. Else
    /// InvalidArgument for one that cannot be read and for a root that is no absolute path in UTF-8,
    /// FailedPrecondition for a root that belongs to containerd.
    pub fn open(root: &Path, config: &Config) -> Result<Blockfile, OpenError> {
        check_root(root)?;
        let stale = config.recreate_scratch || !root.join(SCRATCH).exists();
        let from = match &config.scratch_file {
            None if stale => {
                let why = "no scratch_file is set: an image with an empty file system";
                return Err(OpenError::Skip(why.to_owned()));
            }
            from => from.as_ref().filter(|_| stale),
        };
        let dirs = Dirs::open(root)?;
        if let Some(from) = from {
            copy_scratch(&dirs, from)?;
        }
        let mut mount_options = config.mount_options.clone();
        if !mount_options.iter().flat_map(|option| option.split(',')).any(|word| word == "loop") {
            mount_options.push("loop".to_owned());
        }
        let real_root = root.canonicalize().map_err(|error| {
            Error::internal(format!("find the directory {}", root.display())).with_source(error)
        })?;
        Ok(Blockfile {
            medium: dirs.medium()?,
            dirs,
            temp: TempMounts::new(real_root.join("mnt")),
            real_root,
            fs_type: match config.fs_type.as_str() {
                "" => Config::default().fs_type,
                given => given.to_owned(),
            },
            mount_options,
        })
    }

    /// Whose image a snapshot shows.
    fn shown(snapshot: &Snapshot) -> SnapshotId {
        match (snapshot.kind, snapshot.parents.first()) {
            (Kind::View, Some(parent)) => *parent,
            _ => snapshot.id,
        }
    }

    fn has_image(snapshot: &Snapshot) -> bool {
        Self::shown(snapshot) == snapshot.id
    }

    /// Waits until no mount can write to the image any more.
    fn wait_until_unmounted(&self, id: SnapshotId) -> Result<()> {
        let look = |error| failed(error, format!("look for mounts of snapshot {id}"));
        let image = self.real_root.join("snapshots").join(id.to_string());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(number) = loopdev::writers_of(&image).map_err(look)?.first().copied() else {
                return Ok(());
            };
            let device = format!("/dev/loop{number}");
            let table = mountinfo::read().map_err(look)?;
            let mounted = table.iter().find(|entry| entry.source == device.as_str());
            if mounted.is_some() || Instant::now() >= deadline {
                let place = mounted.map(|entry| format!(" at {}", entry.mount_point.display()));
                return Err(Error::failed_precondition(format!(
                    "snapshot {id} is still mounted{}, through {device}",
                    place.unwrap_or_default()
                )));
            }
            // The kernel detaches the device a moment after the unmount.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Leaves an image that can be mounted read-only.
    fn replay_journal(&self, snapshot: &Snapshot) -> Result<()> {
        let id = snapshot.id;
        let state = if self.fs_type.starts_with("ext") {
            let image = self.dirs.open_file(id, OFlags::RDONLY)?;
            extfs::state(image).map_err(|error| {
                Error::internal(format!("read the image of snapshot {id}")).with_source(error)
            })?
        } else {
            None
        };
        match state {
            Some(extfs::State::Clean) => Ok(()),
            Some(extfs::State::Damaged) => Err(Error::data_loss(format!(
                "the file system in snapshot {id} has errors; make the snapshot anew"
            ))),
            // Others do not tell so easily.
            Some(extfs::State::NeedsReplay) | None => {
                self.temp.with(&self.mounts(snapshot)?, |_| Ok(()))?;
                self.wait_until_unmounted(id)
            }
        }
    }

    /// What the image takes on disk and shares with no other.
    fn measure(&self, id: SnapshotId) -> Result<Usage> {
        let measure = |error| failed(error, format!("measure snapshot {id}"));
        let image = self.dirs.open_file(id, OFlags::RDONLY)?;
        let bytes = match fs::extents::unshared(&image) {
            Ok(bytes) => bytes,
            Err(error) if error.outcome() == Outcome::NotSupported => {
                fs::stat(&image).map_err(measure)?.blocks * 512
            }
            Err(error) => return Err(measure(error)),
        };
        Ok(Usage { inodes: 1, size: i64::try_from(bytes).unwrap_or(i64::MAX) })
    }
}

impl Driver for Blockfile {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.medium.note(snapshot.id);
        if !Self::has_image(snapshot) {
            return Ok(());
        }
        let from = match snapshot.parents.first() {
            Some(parent) => self.dirs.open_file(*parent, OFlags::RDONLY)?,
            None => fs::open_at(self.dirs.root(), SCRATCH, OFlags::RDONLY, 0)
                .map_err(|error| failed(error, "open the scratch image"))?,
        };
        let image = self.dirs.stage_file(stage)?;
        tree::copy_file(from, image, &mut || false)
            .map_err(|error| failed(error, format!("copy the image of snapshot {}", snapshot.id)))
    }

    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        if Self::has_image(snapshot) { self.dirs.publish(snapshot.id, stage) } else { Ok(()) }
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        self.dirs.discard(stage)
    }

    /// What was created holds copies, so their data must be there too.
    fn flush(&self, _created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()> {
        self.medium.sync(sealed)
    }

    fn target(&self, _snapshot: &Snapshot, _place: Place) -> Result<Target> {
        Ok(Target::Mount)
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
        let options = self.mount_options.iter().map(String::as_str).chain([access]);
        Ok(vec![Mount::new(self.fs_type.as_str(), source, options)])
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        if cancelled() {
            return Err(Error::cancelled(format!("measure snapshot {}", snapshot.id)));
        }
        if Self::has_image(snapshot) { self.measure(snapshot.id) } else { Ok(Usage::default()) }
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        self.medium.check(snapshot.id)?;
        self.wait_until_unmounted(snapshot.id)?;
        self.replay_journal(snapshot)?;
        self.measure(snapshot.id)
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

    fn space(&self) -> Option<PathBuf> {
        Some(self.real_root.clone())
    }

    fn shrink(&self, snapshot: &Snapshot) -> Result<()> {
        self.dirs.open_file(snapshot.id, OFlags::WRONLY).and_then(|image| {
            fs::truncate(image, 0)
                .map_err(|error| failed(error, format!("empty snapshot {}", snapshot.id)))
        })
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        self.dirs.file_exists(Self::shown(snapshot))
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        self.dirs.list().map(Some)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// Copies the configured image to its place, which a crash leaves as it was.
fn copy_scratch(dirs: &Dirs, from: &Path) -> Result<()> {
    let unusable =
        |why: String| Error::invalid_argument(format!("scratch_file {}: {why}", from.display()));
    if !from.is_absolute() {
        return Err(unusable("it must be an absolute path".to_owned()));
    }
    let image = fs::open_handle(from)
        .and_then(|handle| fs::reopen(handle, OFlags::RDONLY))
        .map_err(|error| unusable(error.to_string()))?;
    let copy = |error| failed(error, format!("copy {}", from.display()));
    if fs::stat(&image).map_err(copy)?.kind != fs::FileKind::File {
        return Err(unusable("it is no regular file".to_owned()));
    }
    let (root, fresh) = (dirs.root(), "scratch.new");
    tree::remove_tree(root, fresh).map_err(copy)?;
    let file = make_file(root, fresh)?;
    tree::copy_file(image, &file, &mut || false).map_err(copy)?;
    fs::sync_file(&file).map_err(copy)?;
    fs::rename(root, fresh, root, SCRATCH).map_err(copy)?;
    fs::sync_file(root).map_err(copy)
}

const SCRATCH: &str = "scratch";

/// How long a loop device may outlive its mount, when nobody says where that would be.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
