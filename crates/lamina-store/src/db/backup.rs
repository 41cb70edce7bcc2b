//! Copies of the database beside it, whole at every moment.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lamina_core::{Error, Result};
use rusqlite::Connection;

use super::connect;
use super::error::failed;
use crate::fault::Steps;

/// The age at which the copy is made anew.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the latest copy of `file` lies.
pub(super) fn path(file: &Path) -> PathBuf {
    with_suffix(file, ".backup")
}

/// Whether the latest copy of `file` is missing or older than a day. One from the future is old: the
/// clock was wrong then or is now.
pub(super) fn is_due(file: &Path) -> Result<bool> {
    let copy = path(file);
    match fs::metadata(&copy).and_then(|meta| meta.modified()) {
        Ok(made) => Ok(SystemTime::now().duration_since(made).is_ok_and(|age| age >= DAY)
            || made > SystemTime::now() + Duration::from_secs(60)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(trouble("look at", &copy, e)),
    }
}

/// Makes the copy of the day; the one before it is kept as `….backup.1`.
///
/// Order: copy under a temporary name → fsync → the old one moves aside → the new one takes its
/// name → fsync of the directory. Cut anywhere, at least one whole copy is there if one was.
pub(super) fn make(conn: &Connection, file: &Path, steps: &Steps) -> Result<()> {
    let (new, latest) = (with_suffix(file, ".backup.tmp"), path(file));
    let previous = with_suffix(file, ".backup.1");
    copy(conn, &new)?;
    steps.reach("backup.copied")?;
    match fs::rename(&latest, &previous) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(trouble("move aside", &latest, e)),
    }
    steps.reach("backup.aside")?;
    fs::rename(&new, &latest).map_err(|e| trouble("rename", &new, e))?;
    sync_parent(file)
}

/// Copies what `conn` shows to `target`, replacing it, and makes it durable. Mode 0600.
pub(super) fn copy(conn: &Connection, target: &Path) -> Result<()> {
    let text = target.to_str().ok_or_else(|| {
        Error::invalid_argument(format!("path of the database is not UTF-8: {}", target.display()))
    })?;
    // SQLite fills an empty file, so the mode is right from the first byte on.
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(target)
        .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)));
    made.map_err(|e| trouble("create", target, e))?;
    let result = conn
        .execute("VACUUM INTO ?1", [text])
        .map_err(failed(format!("copy the database to {}", target.display())))
        .and_then(|_| {
            File::open(target)
                .and_then(|file| file.sync_all())
                .map_err(|e| trouble("sync", target, e))
        });
    if result.is_err() {
        // Half a copy is of no use; a failure to drop it is told by the next copy, which replaces it.
        let _ = fs::remove_file(target);
    }
    result
}

fn sync_parent(file: &Path) -> Result<()> {
    let Some(dir) = file.parent() else { return Ok(()) };
    connect::sync_dir(dir).map_err(|e| trouble("sync", dir, e))
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut text = OsString::from(file);
    text.push(suffix);
    text.into()
}

fn trouble(what: &str, path: &Path, cause: io::Error) -> Error {
    crate::io::failed(format!("copy of the database: {what} {}", path.display()))(cause)
}
