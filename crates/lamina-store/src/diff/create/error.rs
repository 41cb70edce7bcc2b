//! From a failed system call to what it says about a tree that is read.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use lamina_core::{Error, Kind};
use lamina_sys::{Errno, Outcome, SysError};

/// Names the entry an error is about. Names of a tree may hold anything, so they are quoted.
pub(super) fn at(path: &[u8], error: Error) -> Error {
    match path {
        b"" => error.context("the root of the tree"),
        path => error.context(format!("entry {:?}", OsStr::from_bytes(path))),
    }
}

/// An error of a call on what was there a moment ago.
pub(super) fn sys(doing: &str, cause: SysError) -> Error {
    let kind = match cause.outcome() {
        Outcome::NotFound
        | Outcome::NotADirectory
        | Outcome::SymlinkLoop
        | Outcome::Stale
        | Outcome::NoDevice => return changed().with_source(cause),
        Outcome::CrossDevice => {
            let what = "something is mounted there, and a layer would not hold it";
            return Error::failed_precondition(what).with_source(cause);
        }
        Outcome::PermissionDenied => Kind::PermissionDenied,
        Outcome::OutOfResources => Kind::ResourceExhausted,
        _ => Kind::Internal,
    };
    Error::new(kind, doing).with_source(cause)
}

/// An error of reading a file's content.
pub(super) fn read(cause: io::Error) -> Error {
    let errno = cause.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    sys("read its content", SysError::new("pread", errno))
}

/// What was looked at is not what is there.
pub(super) fn changed() -> Error {
    Error::aborted("it changed while it was read; pause the container, or try again")
}
