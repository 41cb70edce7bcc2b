//! What SQLite's errors mean here.

use lamina_core::{Error, Kind};
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

/// For `map_err`: the error of a statement, with a class, as the cause of "database: `what`".
pub(in crate::db) fn failed(what: impl AsRef<str>) -> impl FnOnce(rusqlite::Error) -> Error {
    move |cause| Error::new(kind(&cause), format!("database: {}", what.as_ref())).with_source(cause)
}

/// Whether there was no room: the transaction did not happen, and a later one may succeed.
pub(in crate::db) fn is_full(cause: &rusqlite::Error) -> bool {
    cause.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn kind(cause: &rusqlite::Error) -> Kind {
    use rusqlite::Error as E;
    match cause {
        // A row that does not read back as what was written.
        E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::Utf8Error(..) => {
            Kind::DataLoss
        }
        E::InvalidColumnType(..) => Kind::DataLoss,
        E::SqliteFailure(code, _) if code.extended_code == SQLITE_IOERR_SHMSIZE => {
            // The shared index of the WAL could not grow: a full disk too.
            Kind::ResourceExhausted
        }
        _ => match cause.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::OutOfMemory) => Kind::ResourceExhausted,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::DataLoss,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Unavailable,
            Some(ErrorCode::ReadOnly) => Kind::FailedPrecondition,
            Some(ErrorCode::PermissionDenied) => Kind::PermissionDenied,
            _ => Kind::Internal,
        },
    }
}
