//! Opening files to read them: no more is touched than has to be.

use std::fs::File;
use std::os::fd::BorrowedFd;

use std::ffi::OsStr;

use lamina_core::Result;
use lamina_sys::Outcome;
use lamina_sys::fs::{self, OFlags, Stat};

use super::error;

/// Opens a file that was seen with these attributes.
///
/// # Errors
/// Aborted when it has others now.
pub(super) fn open(dir: BorrowedFd<'_>, name: &OsStr, seen: &Stat) -> Result<File> {
    // Nonblocking: if it has become a fifo, do not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let opened = match fs::open_at(dir, name, flags | OFlags::NOATIME, 0) {
        // Only its owner may leave the time of access alone.
        Err(cause) if cause.outcome() == Outcome::PermissionDenied => {
            fs::open_at(dir, name, flags, 0)
        }
        opened => opened,
    };
    let file = File::from(opened.map_err(|cause| error::sys("open it", cause))?);
    check_unchanged(&file, seen)?;
    Ok(file)
}

/// Whether a file is still the one that was seen, with the content it had.
///
/// # Errors
/// Aborted when not.
pub(super) fn check_unchanged(file: &File, seen: &Stat) -> Result<()> {
    let now = fs::stat(file).map_err(|cause| error::sys("look at it", cause))?;
    let same = now.identity() == seen.identity()
        && now.kind == seen.kind
        && now.size == seen.size
        && now.modified == seen.modified;
    if same { Ok(()) } else { Err(error::changed()) }
}
