//! Making the file and opening connections to it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use lamina_core::{Error, Result};
use rusqlite::{Connection, OpenFlags};

use super::error::failed;
use crate::durability::Durability;

/// How long a connection waits for a lock that another program (the `sqlite3` shell) holds.
const BUSY: Duration = Duration::from_secs(10);

/// Statements kept prepared per connection: more than the store has.
const STATEMENTS: usize = 256;

/// Makes the directory (0700) and the file (0600) where they are missing and sets these modes.
/// The umask has no say. A file made here is in its directory after a power cut.
pub(super) fn make(dir: &Path, file: &Path) -> Result<()> {
    if !dir.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed_on("create directory", dir))?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent).map_err(failed_on("sync directory", parent))?;
        }
    }
    set_mode(dir, 0o700).map_err(failed_on("set the mode of", dir))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => sync_dir(dir).map_err(failed_on("sync directory", dir))?,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed_on("create", file)(e)),
    }
    set_mode(file, 0o600).map_err(failed_on("set the mode of", file))
}

/// The one connection that writes, as SQLite opens it: nothing is changed yet.
pub(super) fn writer(file: &Path) -> Result<Connection> {
    connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Sets what the writer needs.
pub(super) fn configure(conn: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Full => "FULL",
        // Consistent after a power cut, without the latest commits.
        Durability::None => "NORMAL",
    };
    // The WAL's file stays as large as it once was; what is over 64 MiB is cut off when it restarts.
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;
         {}",
        super::gc::LOG_TABLES
    ))
}

/// A connection that moves the WAL into the file.
pub(super) fn checkpointer(file: &Path) -> Result<Connection> {
    let conn = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = NORMAL;")
        .map_err(failed(format!("open {}", file.display())))?;
    Ok(conn)
}

/// A connection that only reads.
pub(super) fn reader(file: &Path) -> Result<Connection> {
    connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Makes what the directory lists durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn failed_on(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    crate::io::failed(format!("{what} {}", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn connect(file: &Path, flags: OpenFlags) -> Result<Connection> {
    let what = || format!("open {}", file.display());
    // Each connection is used by one thread at a time, so SQLite's own mutexes are not needed.
    let conn = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(failed(what()))?;
    conn.busy_timeout(BUSY).map_err(failed(what()))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(conn)
}
