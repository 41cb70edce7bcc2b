//! Mounts for the time of one operation, in directories of their own below one place
//! (`<root>/tmpmounts`).
//!
//! The owner of the root is the only user of that place, so whatever is in it at start was left by a
//! crash and [`TempMounts::sweep`] clears it. A directory here is only ever removed by plain rmdir:
//! had an unmount failed unseen, a recursive removal would delete what is mounted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_core::{Error, Mount, Result};
use lamina_sys::fs;

use super::error::failed;
use super::perform::Mounter;
use super::rewrite::{read_only, without_volatile};
use super::unmount::{How, unmount_recursive};

/// The place for temporary mounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TempMounts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    mounter: Mounter,
    next: AtomicU64,
}

/// A mounted list. Dropped, it is unmounted; [`TempMount::unmount`] does so too and tells of errors.
#[derive(Debug)]
pub struct TempMount {
    path: PathBuf,
    held: bool,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many directories went.
    pub removed: usize,
    /// What stays, and why.
    pub kept: Vec<(PathBuf, Error)>,
}

impl TempMounts {
    /// Temporary mounts below `dir`, which is made (0700) when the first one is.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_mounter(dir, Mounter::default())
    }

    /// As [`new`](Self::new), with another way to mount.
    pub fn with_mounter(dir: impl Into<PathBuf>, mounter: Mounter) -> Self {
        TempMounts(Arc::new(Inner { dir: dir.into(), mounter, next: AtomicU64::new(1) }))
    }

    /// Mounts a list in a fresh directory, without overlay's `volatile`.
    ///
    /// # Errors
    /// Those of [`Mounter::all`]; nothing is left behind.
    pub fn mount(&self, mounts: &[Mount]) -> Result<TempMount> {
        let mounts = without_volatile(mounts)?;
        let held = TempMount { path: self.make_dir()?, held: true };
        // An error drops `held`, which removes the directory.
        self.0.mounter.all(&mounts, &held.path)?;
        Ok(held)
    }

    /// Mounts a list so that nothing can be written, see [`read_only`].
    ///
    /// # Errors
    /// Those of [`mount`](Self::mount).
    pub fn mount_read_only(&self, mounts: &[Mount]) -> Result<TempMount> {
        self.mount(&read_only(mounts)?)
    }

    /// Runs `work` on the mounted list and unmounts it.
    ///
    /// # Errors
    /// That of mounting or of `work`. One of unmounting too, since what was written may not be
    /// there; after an error of `work` it is only logged.
    pub fn with<T>(&self, mounts: &[Mount], work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let held = self.mount(mounts)?;
        // On an error the drop of `held` unmounts.
        let value = work(&held.path)?;
        held.unmount()?;
        Ok(value)
    }

    /// [`with`](Self::with) for work that writes. A file system that goes away with the mount is
    /// written to its medium first: an unmount does not tell what it could not write.
    ///
    /// # Errors
    /// Those of [`with`](Self::with), and DataLoss for what could not be written.
    pub fn with_written<T>(
        &self,
        mounts: &[Mount],
        work: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        self.with(mounts, |root| written_out(mounts, root, || work(root)))
    }

    /// Unmounts and removes everything here. For the start, while no temporary mount is held.
    ///
    /// # Errors
    /// Internal when the place cannot be read. What is busy is no error: see [`Swept::kept`].
    pub fn sweep(&self) -> Result<Swept> {
        let dir = &self.0.dir;
        let unreadable = |error| failed(error, format!("read {}", dir.display()));
        let entries = match fs::open_dir(dir).and_then(fs::read_dir) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(Swept::default()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut swept = Swept::default();
        for entry in entries {
            let path = dir.join(entry.map_err(unreadable)?.name);
            match clear(&path) {
                Ok(()) => swept.removed += 1,
                Err(error) => {
                    tracing::warn!("{} is left: {}", path.display(), error.chain());
                    swept.kept.push((path, error));
                }
            }
        }
        Ok(swept)
    }

    fn make_dir(&self) -> Result<PathBuf> {
        let dir = &self.0.dir;
        let what = || format!("make a mount point in {}", dir.display());
        for parent in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
            make_private(parent).map_err(|error| failed(error, what()))?;
        }
        let at = fs::open_dir(dir).map_err(|error| failed(error, what()))?;
        loop {
            let number = self.0.next.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", std::process::id());
            match fs::make_dir(&at, &name, 0o700) {
                Ok(()) => return Ok(dir.join(name)),
                // Left by a process that had this id.
                Err(error) if error.is_exists() => {}
                Err(error) => return Err(failed(error, what())),
            }
        }
    }
}

impl TempMount {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts it and removes the directory.
    ///
    /// # Errors
    /// That of the unmount. A directory that stays for another reason is only logged.
    pub fn unmount(mut self) -> Result<()> {
        self.held = false;
        unmount_recursive(&self.path, How::Plain)?;
        if let Err(error) = remove_dir(&self.path) {
            tracing::warn!("{}", error.chain());
        }
        Ok(())
    }
}

impl Drop for TempMount {
    fn drop(&mut self) {
        if self.held
            && let Err(error) = clear(&self.path)
        {
            tracing::warn!("{} is left: {}", self.path.display(), error.chain());
        }
    }
}

/// Runs `work` on what `mounts` show at `root`. A file system that goes away with the mount is written
/// to its medium then: an unmount does not tell what it could not write.
///
/// # Errors
/// That of `work`, and DataLoss for what could not be written.
pub(crate) fn written_out<T>(
    mounts: &[Mount],
    root: &Path,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if !is_filesystem_of_its_own(mounts) {
        return work();
    }
    // Opened before the first write, as syncfs tells only what went wrong since.
    let fd =
        fs::open_dir(root).map_err(|error| failed(error, format!("open {}", root.display())))?;
    let value = work()?;
    fs::sync_filesystem(&fd).map_err(|error| {
        Error::data_loss(format!("write what was laid in {}", root.display())).with_source(error)
    })?;
    Ok(value)
}

/// Whether a list shows a file system that is nowhere else mounted, as far as its types tell.
pub(crate) fn is_filesystem_of_its_own(mounts: &[Mount]) -> bool {
    mounts.last().is_some_and(|mount| {
        let binds = mount.options.iter().any(|option| option == "bind" || option == "rbind");
        !binds && !["bind", "overlay", "aufs", "btrfs"].contains(&mount.kind.as_str())
    })
}

/// Unmounts everything at a mount point and removes it, if it is empty then.
fn clear(path: &Path) -> Result<()> {
    unmount_recursive(path, How::Plain)?;
    remove_dir(path)
}

fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let what = format!("remove mount point {}", path.display());
            Err(Error::internal(what).with_source(error))
        }
    }
}

fn make_private(dir: &Path) -> lamina_sys::Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(()) };
    match fs::open_handle(parent).and_then(|parent| fs::make_dir(parent, name, 0o700)) {
        Err(error) if error.is_exists() => Ok(()),
        result => result,
    }
}

/// What the names of mount points begin with.
const PREFIX: &str = "lamina-mount-";
