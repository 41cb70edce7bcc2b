//! What a failed call on a back end's own files means.

use lamina_core::{Error, Kind};
use lamina_sys::{Outcome, SysError};

/// Wraps a system error on our own files; `what` says what was tried and on which snapshot.
///
/// Nobody named these files to us, so a missing one is our fault and Internal, not NotFound.
pub(super) fn failed(error: SysError, what: impl Into<String>) -> Error {
    let kind = match error.outcome() {
        Outcome::NoSpace | Outcome::OutOfResources | Outcome::TooManyLinks => {
            Kind::ResourceExhausted
        }
        Outcome::PermissionDenied => Kind::PermissionDenied,
        Outcome::ReadOnly => Kind::FailedPrecondition,
        Outcome::Busy | Outcome::WouldBlock => Kind::Unavailable,
        Outcome::Cancelled => Kind::Cancelled,
        Outcome::Io => Kind::DataLoss,
        _ => Kind::Internal,
    };
    Error::new(kind, what).with_source(error)
}
