//! From a failed system call to what it says about the layer or the host.

use std::io;
use std::path::Path;

use lamina_core::{Error, Kind};
use lamina_sys::{Errno, Outcome, SysError};

/// Names the entry an error is about. Text of a layer may hold anything, so it is quoted.
pub(super) fn at(entry: &Path, error: Error) -> Error {
    error.context(format!("layer entry {entry:?}"))
}

/// An error of a call that acted on what an entry asked for.
pub(super) fn sys(doing: &str, cause: SysError) -> Error {
    Error::new(kind(&cause), doing).with_source(cause)
}

/// An error of writing a file's content.
pub(super) fn write(cause: io::Error) -> Error {
    let errno = cause.raw_os_error().map(Errno::from_raw_os_error);
    let kind = errno.map_or(Kind::Internal, |errno| kind(&SysError::new("write", errno)));
    Error::new(kind, "write its content").with_source(cause)
}

/// The entry is to blame for what no tree can hold; a full disk is a full disk; everything else
/// is the host's fault. What a missing thing means, only the caller knows.
fn kind(cause: &SysError) -> Kind {
    match cause.outcome() {
        Outcome::NoSpace | Outcome::TooLarge | Outcome::TooManyLinks | Outcome::OutOfResources => {
            Kind::ResourceExhausted
        }
        Outcome::NotADirectory
        | Outcome::NameTooLong
        | Outcome::SymlinkLoop
        | Outcome::InvalidArgument => Kind::InvalidArgument,
        Outcome::PermissionDenied => Kind::PermissionDenied,
        Outcome::ReadOnly | Outcome::Busy => Kind::FailedPrecondition,
        Outcome::Cancelled => Kind::Cancelled,
        _ => Kind::Internal,
    }
}
