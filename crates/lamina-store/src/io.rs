//! What an I/O error on a file of ours means.

use std::fmt::Display;
use std::io;

use lamina_core::{Error, Kind};

/// For `map_err`: the error of a call on one of our own files, as the cause of `what`, which names the
/// file. A missing one is Internal; where a missing file means something, the caller looks first.
pub(crate) fn failed(what: impl Display) -> impl FnOnce(io::Error) -> Error {
    move |cause| {
        let kind = match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::ResourceExhausted,
            io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem => Kind::FailedPrecondition,
            _ => Kind::Internal,
        };
        Error::new(kind, what.to_string()).with_source(cause)
    }
}
