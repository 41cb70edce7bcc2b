//! Where a mount goes: opened once, so that nothing that changes meanwhile leads elsewhere.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_core::{Error, Result};
use lamina_sys::fs::{self, OFlags};

use crate::mount::error::failed;

/// A mount point as a descriptor, with the path it had when it was opened.
#[derive(Debug)]
pub(super) struct Place {
    fd: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// Opens `target`, or what lies at `below` in it. `target` is the caller's and its links are
    /// followed; `below` leads through what may be a container's tree, so every link and `..` in it
    /// is taken as if the target were `/`.
    pub(super) fn open(target: &Path, below: &str) -> Result<Place> {
        let missing = |error| failed(error, format!("open mount point {}", target.display()));
        let mut fd = fs::open_handle(target).map_err(missing)?;
        if !below.is_empty() {
            fd = fs::open_in_root(&fd, below, OFlags::PATH, 0).map_err(|error| {
                failed(error, format!("open mount point {below:?} in {}", target.display()))
            })?;
        }
        // The kernel's own idea of the path, without links: by it the place is unmounted.
        let path = std::fs::read_link(fs::fd_path(&fd)).map_err(|error| {
            let what = format!("find the path of mount point {}", target.display());
            Error::internal(what).with_source(error)
        })?;
        Ok(Place { fd, path })
    }

    /// For calls that know no descriptors.
    pub(super) fn fd_path(&self) -> PathBuf {
        fs::fd_path(&self.fd)
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}
