//! Owner, xattrs, mode and times of what an entry made, by its descriptor.
//!
//! The order matters: setting an owner clears setuid bits and `security.capability`.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use lamina_core::Result;
use lamina_sys::fs::{self, Times};
use lamina_sys::{Outcome, SysError};

use super::error;
use super::header::{Kind, Record};
use super::options::Owners;
use super::plain::Born;

/// Sets what it was not `born` with; the times only where they may be set at once (a directory's come
/// last).
pub(super) fn set(fd: impl AsFd, record: &Record, owners: Owners, born: Born) -> Result<()> {
    if owners == Owners::Layer && !born.owner {
        fs::set_owner(&fd, record.uid, record.gid)
            .map_err(|cause| error::sys("set its owner", cause))?;
    }
    set_xattrs(&fd, record)?;
    if !matches!(record.kind, Kind::Symlink(_)) && !born.mode {
        fs::set_mode(&fd, record.mode).map_err(|cause| error::sys("set its mode", cause))?;
    }
    if !matches!(record.kind, Kind::Dir) {
        fs::set_times(&fd, &times(record)).map_err(|cause| error::sys("set its times", cause))?;
    }
    Ok(())
}

pub(super) fn times(record: &Record) -> Times {
    Times { accessed: Some(record.accessed), modified: Some(record.modified) }
}

/// `trusted.*` is left out: it speaks to overlayfs, and a layer has no say there.
fn set_xattrs(fd: impl AsFd, record: &Record) -> Result<()> {
    for (name, value) in &record.xattrs {
        let name = OsStr::from_bytes(name);
        if name.as_bytes().starts_with(b"trusted.") {
            tracing::debug!(entry = ?OsStr::from_bytes(&record.path), xattr = ?name,
                "a layer's trusted xattr is ignored");
            continue;
        }
        match fs::xattr::set(&fd, name, value) {
            Err(cause) if may_lack(record, name, &cause) => {}
            result => result.map_err(|cause| {
                error::sys(&format!("set its extended attribute {name:?}"), cause)
            })?,
        }
    }
    Ok(())
}

/// A filesystem without attributes, and kinds of files that can have no `user.*` ones.
fn may_lack(record: &Record, name: &OsStr, cause: &SysError) -> bool {
    let plain = matches!(record.kind, Kind::Dir | Kind::File | Kind::Sparse { .. });
    match cause.outcome() {
        Outcome::NotSupported => true,
        Outcome::PermissionDenied => !plain && name.as_bytes().starts_with(b"user."),
        _ => false,
    }
}
