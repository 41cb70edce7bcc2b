//! The handle everybody holds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lamina_core::event::NoEvents;
use lamina_core::{Error, EventSink, Result};

use super::checkpoint::Checkpointer;
use super::reader::Readers;
use super::tx::{Read, Tx};
use super::writer::Writer;
use super::{backup, connect, migrate};
use crate::durability::Durability;
use crate::fault::Steps;

/// The database. Clones are the same one; the last to go closes it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

/// How to open it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether an answered write survives a power cut.
    pub durability: Durability,
    /// Who listens at `db.begin`, `db.before-commit`, `db.commit`, `db.after-commit`,
    /// `backup.copied` and `backup.aside`. An error at `db.commit` or `db.after-commit` counts as a
    /// COMMIT that failed, before or after it became durable.
    pub steps: Steps,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
}

/// Counts since the database was opened, and what is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that were committed.
    pub requests: u64,
    /// Transactions that were committed; with full durability each is one fsync.
    pub commits: u64,
    /// Requests that were run again because another one's error undid their transaction.
    pub replays: u64,
    /// Times that the WAL was moved into the file: two fsyncs each.
    pub checkpoints: u64,
    /// Things that clients let go of: what hung on them may be garbage now.
    pub deletions: u64,
    /// Requests that are queued or being run at this moment.
    pub waiting: u64,
}

impl Options {
    /// Nobody listens, at steps or for events.
    pub fn new(durability: Durability) -> Self {
        Options { durability, steps: Steps::none(), events: Arc::new(NoEvents) }
    }
}

impl Db {
    /// Opens the database in `dir`, made (0700, and the file 0600) when it is missing.
    ///
    /// # Errors
    /// FailedPrecondition for a newer schema or another program's database, DataLoss for a damaged
    /// file and for an empty one whose copy is not; each names the file and says what to do.
    pub fn open(dir: &Path, options: Options) -> Result<Db> {
        let file = dir.join("meta.db");
        connect::make(dir, &file)?;
        let conn = connect::writer(&file)?;
        let found = migrate::inspect(&conn, &file)?;
        connect::configure(&conn, options.durability)
            .map_err(super::error::failed("set it up"))
            .and_then(|()| migrate::bring_up(&conn, &file, found))
            .map_err(|e| migrate::damaged(&file, e))?;
        let shared = Arc::new(Shared {
            file: file.clone(),
            poison: OnceLock::new(),
            counters: Counters::default(),
            steps: options.steps,
            events: options.events,
        });
        let checkpointer = Checkpointer::start(&file, Arc::clone(&shared))?;
        let writer = Writer::start(conn, checkpointer.bell(), Arc::clone(&shared))?;
        let readers = Readers::new(&file);
        Ok(Db(Arc::new(Inner { shared, writer, checkpointer, readers, copying: Mutex::new(()) })))
    }

    /// Runs `op` in its own savepoint of the next transaction and returns after the COMMIT; all
    /// requests that waited together share one.
    ///
    /// `op` may run more than once, so it does nothing but through `tx`, and it holds everybody up,
    /// so it is quick: no copy, no walk of a directory, no network. It returns the first error of a
    /// statement; a panic is an Internal error of this request alone.
    ///
    /// # Errors
    /// What `op` returned: nothing of it happened then. ResourceExhausted for a full disk: nothing
    /// of it happened. Unavailable when the database has failed, when a COMMIT's outcome is not
    /// known ([`Db::has_failed`] then says so) or when it is closed. Internal when called by another
    /// request or an action after COMMIT.
    pub fn write<T: Send + 'static>(
        &self,
        op: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.writer.write(op)
    }

    /// Runs `op` in one read transaction, which sees one state of the database. It ends with `op`:
    /// never keep one open across pages, network or long work.
    ///
    /// # Errors
    /// What `op` returned; Unavailable when the database is closed.
    pub fn read<T>(&self, op: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        if self.0.readers.is_closed() {
            return Err(self.0.shared.closed());
        }
        self.0.readers.with(op)
    }

    /// Whether writing has ended because a COMMIT failed: its requests, answered Unavailable, may or
    /// may not be there after the next open. Who gets Unavailable from a write therefore undoes
    /// nothing outside the database; recovery at the next start does.
    pub fn has_failed(&self) -> bool {
        self.0.shared.poison.get().is_some()
    }

    /// Makes the daily copy if the latest is older than a day. Returns whether it did. Slow for a
    /// large database; writers go on meanwhile.
    ///
    /// # Errors
    /// ResourceExhausted for a full disk; earlier copies stay.
    pub fn backup_if_due(&self) -> Result<bool> {
        let file = &self.0.shared.file;
        let _one_at_a_time = self.0.copying.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.readers.is_closed() {
            return Err(self.0.shared.closed());
        }
        if !backup::is_due(file)? {
            return Ok(false);
        }
        backup::make(&connect::writer(file)?, file, &self.0.shared.steps)?;
        Ok(true)
    }

    /// Reads the whole file and returns what SQLite finds wrong with it, one line each, and rows
    /// that refer to missing ones.
    ///
    /// # Errors
    /// DataLoss when the file is too damaged to look through.
    pub fn check(&self) -> Result<Vec<String>> {
        self.read(|read| {
            let mut found =
                read.all("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))?;
            found.retain(|line| line != "ok");
            found.extend(read.all("PRAGMA foreign_key_check", [], |row| {
                let (table, refers): (String, String) = (row.get(0)?, row.get(2)?);
                Ok(format!("a row of {table} refers to a missing row of {refers}"))
            })?);
            Ok(found)
        })
    }

    /// Carries out statements on a connection of their own.
    #[cfg(test)]
    pub(super) fn execute_beside(&self, statements: &str) {
        connect::writer(&self.0.shared.file).unwrap().execute_batch(statements).unwrap();
    }

    /// Counts since it was opened.
    pub fn stats(&self) -> Stats {
        let counters = &self.0.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: get(&counters.requests),
            commits: get(&counters.commits),
            replays: get(&counters.replays),
            checkpoints: get(&counters.checkpoints),
            deletions: get(&counters.deletions),
            waiting: get(&counters.waiting),
        }
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.0.shared.file
    }

    /// The identity of this database, made with the first call and kept from then on.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub fn uuid(&self) -> Result<String> {
        if let Some(uuid) = self.read(|read| read.meta(UUID))? {
            return Ok(uuid);
        }
        let fresh = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
            .map_err(crate::io::failed("make an id: /proc/sys/kernel/random/uuid"))?;
        self.write(move |tx| match tx.meta(UUID)? {
            // Another caller was quicker.
            Some(uuid) => Ok(uuid),
            None => tx.set_meta(UUID, fresh.trim()).map(|()| fresh.trim().to_owned()),
        })
    }

    /// Answers what is queued, moves the WAL into the file and closes it. Later calls on any clone
    /// answer Unavailable. A second call does nothing.
    ///
    /// # Errors
    /// Unavailable when writing had ended because a COMMIT failed; it is closed then too.
    pub fn close(&self) -> Result<()> {
        self.0.close();
        self.0.shared.failure().map_or(Ok(()), Err)
    }
}

/// Where [`Db::uuid`] is kept.
const UUID: &str = "uuid";

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Db").field(&self.0.shared.file).finish()
    }
}

/// What the handle and the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) file: PathBuf,
    /// Set once: why the COMMIT failed.
    pub(super) poison: OnceLock<String>,
    pub(super) counters: Counters,
    pub(super) steps: Steps,
    pub(super) events: Arc<dyn EventSink>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) replays: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) deletions: AtomicU64,
    pub(super) waiting: AtomicU64,
}

impl Shared {
    pub(super) fn closed(&self) -> Error {
        Error::unavailable(format!("database {} is closed", self.file.display()))
    }

    /// The error of every write after a failed COMMIT, if there was one.
    pub(super) fn failure(&self) -> Option<Error> {
        let why = self.poison.get()?;
        Some(Error::unavailable(format!(
            "database {} failed, reopen it: {why}",
            self.file.display()
        )))
    }
}

struct Inner {
    shared: Arc<Shared>,
    writer: Writer,
    checkpointer: Checkpointer,
    readers: Readers,
    copying: Mutex<()>,
}

impl Inner {
    fn close(&self) {
        self.writer.stop();
        self.readers.close();
        self.checkpointer.stop();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
