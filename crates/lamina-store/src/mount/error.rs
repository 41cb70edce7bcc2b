//! What a failed mount call means to whoever asked for the mount.

use lamina_core::{Error, Kind};
use lamina_sys::{Outcome, SysError};

/// Wraps a system error; `what` says what was tried and names the mount point.
///
/// The source of a mount and its mount point are named by the caller, so that a missing one is
/// NotFound. Never Unimplemented: from the mount manager that would mean "mount it yourself".
pub(super) fn failed(error: SysError, what: impl Into<String>) -> Error {
    let kind = match error.outcome() {
        Outcome::NotFound => Kind::NotFound,
        Outcome::Busy | Outcome::WouldBlock => Kind::Unavailable,
        Outcome::PermissionDenied => Kind::PermissionDenied,
        Outcome::NoSpace | Outcome::OutOfResources => Kind::ResourceExhausted,
        Outcome::InvalidArgument
        | Outcome::NotADirectory
        | Outcome::TooLarge
        | Outcome::NameTooLong
        | Outcome::SymlinkLoop => Kind::InvalidArgument,
        Outcome::NoDevice | Outcome::NotSupported | Outcome::NotABlockDevice => {
            Kind::FailedPrecondition
        }
        _ => Kind::Internal,
    };
    Error::new(kind, what).with_source(error)
}
