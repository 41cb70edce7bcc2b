//! Which mount a path lies on.

use std::path::Path;

use lamina_core::{Error, Result};
use lamina_sys::mountinfo::{self, MountEntry};

use super::error::failed;

/// The mount that `path` lies on, links followed: the topmost at the deepest mount point above it.
///
/// # Errors
/// NotFound for a path that does not exist.
pub fn lookup(path: &Path) -> Result<MountEntry> {
    let what = || format!("look up the mount of {}", path.display());
    let real = path.canonicalize().map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => lamina_core::Kind::NotFound,
            _ => lamina_core::Kind::Internal,
        };
        Error::new(kind, what()).with_source(error)
    })?;
    let entries = mountinfo::read().map_err(|error| failed(error, what()))?;
    mountinfo::find(&entries, &real)
        .cloned()
        .ok_or_else(|| Error::not_found(format!("{}: no mount is above it", what())))
}

/// Whether something is mounted exactly at `path`, links followed. No for a path that does not exist.
///
/// # Errors
/// Internal when the mount table cannot be read.
pub fn is_mounted(path: &Path) -> Result<bool> {
    match lookup(path) {
        Ok(entry) => Ok(path.canonicalize().is_ok_and(|real| real == entry.mount_point)),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
