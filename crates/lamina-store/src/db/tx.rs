//! What closures given to the database get: [`Read`] to look, [`Tx`] to change.

use std::fmt;
use std::ops::Deref;

use jiff::Timestamp;
use lamina_core::{Envelope, Event, Namespace, Result};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::error::failed;

/// One consistent state of the database. Queries of a table are in that table's file.
pub struct Read<'c> {
    conn: &'c Connection,
}

/// One request's share of a write transaction: all of it becomes durable, or nothing of it happened.
///
/// Dereferences to [`Read`], which shows the request's own changes and those of requests before it
/// in the same batch. Temporary tables made here are as transactional as others.
pub struct Tx<'c> {
    read: Read<'c>,
    now: Timestamp,
    after: Vec<After>,
}

/// What follows a COMMIT.
pub(super) enum After {
    Run(Box<dyn FnOnce() + Send>),
    Tell(Envelope),
    CountDeletion,
}

impl<'c> Read<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Read { conn }
    }

    /// The first row of a query, or none.
    pub(in crate::db) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(params, map).optional())
            .map_err(failed(sql))
    }

    /// All rows of a query; callers bound them with LIMIT where the table can be large.
    pub(in crate::db) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, map)?.collect())
            .map_err(failed(sql))
    }

    /// Whether a query gives any row.
    pub(in crate::db) fn any(&self, sql: &str, params: impl Params) -> Result<bool> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.exists(params))
            .map_err(failed(sql))
    }
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection, now: Timestamp) -> Self {
        Tx { read: Read::new(conn), now, after: Vec::new() }
    }

    /// The time of this write. Later writes of this process have later times, whatever the clock does.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs `action` on the writer thread after COMMIT, in commit order and before the request is
    /// answered; drops it when the request is undone. It must be quick, do no I/O and not call
    /// [`Db::write`](super::Db::write).
    pub fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        self.after.push(After::Run(Box::new(action)));
    }

    /// Sends `event` to the sink after COMMIT, in commit order; drops it when the request is undone.
    pub fn event(&mut self, namespace: &Namespace, event: Event) {
        let envelope = Envelope { timestamp: self.now, namespace: namespace.clone(), event };
        self.after.push(After::Tell(envelope));
    }

    /// Counts that a client let go of something that others may have hung on ([`Stats::deletions`]).
    ///
    /// [`Stats::deletions`]: super::Stats::deletions
    pub fn count_deletion(&mut self) {
        self.after.push(After::CountDeletion);
    }

    /// Carries out one statement. Returns how many rows it changed.
    pub(in crate::db) fn run(&mut self, sql: &str, params: impl Params) -> Result<usize> {
        self.read
            .conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(failed(sql))
    }

    pub(super) fn into_after(self) -> Vec<After> {
        self.after
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = Read<'c>;

    fn deref(&self) -> &Read<'c> {
        &self.read
    }
}

impl fmt::Debug for Read<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).field("after", &self.after.len()).finish()
    }
}
