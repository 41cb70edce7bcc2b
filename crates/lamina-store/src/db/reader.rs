//! Read-only connections, made on demand and kept for the next reader.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lamina_core::Result;
use rusqlite::Connection;

use super::connect;
use super::error::failed;
use super::tx::Read;

/// Connections that are kept when idle. Each holds a page cache of at most 2 MB; more may exist
/// while more readers are at work.
const KEPT: usize = 8;

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(file: &Path) -> Self {
        Readers { file: file.to_owned(), idle: Mutex::new(Some(Vec::new())) }
    }

    /// Runs `op` in one read transaction.
    pub(super) fn with<T>(&self, op: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        let kept = self.lock().as_mut().and_then(Vec::pop);
        let conn = match kept {
            Some(conn) => conn,
            None => connect::reader(&self.file)?,
        };
        // A panic of `op` closes the connection on its way.
        let result = conn
            .execute_batch("BEGIN")
            .map_err(failed("begin a read"))
            .and_then(|()| op(&Read::new(&conn)));
        self.give_back(conn);
        result
    }

    /// Closes idle connections; those in use close when they come back.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Keeps a connection for the next reader. Its read is ended first: an open one would hold up
    /// checkpoints; a connection that cannot end it is closed, which does.
    fn give_back(&self, conn: Connection) {
        if (conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok())
            && let Some(idle) = self.lock().as_mut().filter(|idle| idle.len() < KEPT)
        {
            idle.push(conn);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Connection>>> {
        // A list of idle connections is whole at every moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
