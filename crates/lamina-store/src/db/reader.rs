//! Read-only connections, made on demand and kept for the next reader.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use lamina_core::Result;
use rusqlite::Connection;

use super::connect;
use super::error::failed;
use super::tx::Read;

/// How many read at once, and connections that are kept when idle. Each holds a page cache of at most
/// 2 MB and two files. More are not made, because SQLite keeps the file of a connection that is closed
/// for as long as another is open (its locks are the process's): a crowd would leave its files behind.
const MOST: usize = 8;

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Option<Vec<Connection>>>,
    reading: Mutex<usize>,
    /// Told when one is done.
    done: Condvar,
}

/// A reader's place among [`MOST`].
struct Turn<'a>(Option<&'a Readers>);

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

impl Readers {
    pub(super) fn new(file: &Path) -> Self {
        Readers {
            file: file.to_owned(),
            idle: Mutex::new(Some(Vec::new())),
            reading: Mutex::new(0),
            done: Condvar::new(),
        }
    }

    /// Runs `op` in one read transaction.
    pub(super) fn with<T>(&self, op: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        let _turn = self.turn();
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
            && let Some(idle) = self.lock().as_mut().filter(|idle| idle.len() < MOST)
        {
            idle.push(conn);
        }
    }

    /// Waits until fewer than [`MOST`] read. Who reads already does not wait for itself.
    fn turn(&self) -> Turn<'_> {
        if HAS_TURN.get() {
            return Turn(None);
        }
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.done.wait_while(reading, |reading| *reading >= MOST);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        HAS_TURN.set(true);
        Turn(Some(self))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Connection>>> {
        // A list of idle connections is whole at every moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(readers) = self.0 else { return };
        HAS_TURN.set(false);
        *readers.reading.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        readers.done.notify_one();
    }
}
