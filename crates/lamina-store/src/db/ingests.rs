//! Table `ingests`: writes under way.

use jiff::{SignedDuration, Timestamp};
use lamina_core::{Digest, Namespace, Result, Scope};
use rusqlite::{Row, params};

use super::values::{Columns, count};
use super::{Read, Tx, ns};
use crate::gc::node::{Kind, Node};

/// How long after its last change an ingest is kept that no lease holds.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// One ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IngestRow {
    pub(crate) reference: String,
    /// Its directory's name.
    pub(crate) dir: String,
    pub(crate) expected: Option<Digest>,
    /// 0 when unknown.
    pub(crate) total: u64,
    /// Bytes that are known to be on disk.
    pub(crate) durable: u64,
    /// The hash over exactly these.
    pub(crate) hash_state: Option<Vec<u8>>,
    pub(crate) started: Timestamp,
    pub(crate) updated: Timestamp,
}

const ROW: &str = "SELECT ref, dir, expected, total, durable, hash_state, started_at, updated_at \
                   FROM ingests";

impl Read<'_> {
    /// One ingest of a namespace.
    pub(crate) fn ingest(&self, space: &Namespace, reference: &str) -> Result<Option<IngestRow>> {
        self.one(
            &format!("{ROW} WHERE namespace = ?1 AND ref = ?2"),
            params![space.as_str(), reference],
            row,
        )
    }

    /// The ingests of a namespace, by reference.
    pub(crate) fn ingests(&self, space: &Namespace) -> Result<Vec<IngestRow>> {
        self.all(&format!("{ROW} WHERE namespace = ?1 ORDER BY ref"), [space.as_str()], row)
    }

    /// The directories of all ingests behind `after`, by name.
    pub(crate) fn ingest_dirs(&self, after: &str, most: usize) -> Result<Vec<String>> {
        self.all(
            "SELECT dir FROM ingests WHERE dir > ?1 ORDER BY dir LIMIT ?2",
            params![after, count(most as u64)],
            |row| row.get(0),
        )
    }

    /// Whether an ingest has this directory.
    pub(crate) fn has_ingest_dir(&self, dir: &str) -> Result<bool> {
        self.any("SELECT 1 FROM ingests WHERE dir = ?1", [dir])
    }
}

impl Tx<'_> {
    /// Writes an ingest, new or changed, and lets it live on: for as long as the scope's lease holds
    /// it, or for [`KEPT`] where there is none.
    pub(crate) fn put_ingest(&mut self, scope: &Scope, row: &IngestRow) -> Result<()> {
        let space = &scope.namespace;
        let expires = match scope.lease {
            Some(_) => Some(ns(row.updated)),
            None => row.updated.saturating_add(KEPT).map(ns).ok(),
        };
        self.run(
            "INSERT INTO ingests (namespace, ref, dir, expected, total, durable, hash_state,
                                  started_at, updated_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (namespace, ref) DO UPDATE SET
               expected = excluded.expected, total = excluded.total, durable = excluded.durable,
               hash_state = excluded.hash_state, started_at = excluded.started_at,
               updated_at = excluded.updated_at, expires_at = excluded.expires_at",
            params![
                space.as_str(),
                row.reference,
                row.dir,
                row.expected.as_ref().map(Digest::as_str),
                count(row.total),
                count(row.durable),
                row.hash_state,
                ns(row.started),
                ns(row.updated),
                expires,
            ],
        )?;
        self.touch(space, &Node::new(Kind::Ingest, row.reference.as_str()))
    }

    /// Whether an ingest is past its time, and no lease holds it.
    pub(crate) fn is_given_up(&self, space: &Namespace, reference: &str) -> Result<bool> {
        let now = ns(self.now());
        self.any(
            "SELECT 1 FROM ingests WHERE namespace = ?1 AND ref = ?2 AND expires_at <= ?3
             AND NOT EXISTS (SELECT 1 FROM lease_resources
                             WHERE namespace = ?1 AND kind = 'ingests' AND resource = ?2)",
            params![space.as_str(), reference, now],
        )
    }

    /// Drops an ingest and every lease's hold on it. Whether it was there.
    pub(crate) fn delete_ingest(&mut self, space: &Namespace, reference: &str) -> Result<bool> {
        self.run(
            "DELETE FROM lease_resources
             WHERE namespace = ?1 AND kind = 'ingests' AND resource = ?2",
            params![space.as_str(), reference],
        )?;
        let deleted = self.run(
            "DELETE FROM ingests WHERE namespace = ?1 AND ref = ?2",
            params![space.as_str(), reference],
        )?;
        Ok(deleted > 0)
    }

    /// Drops the ingest with this directory, which is lost.
    pub(crate) fn lose_ingest(&mut self, dir: &str) -> Result<()> {
        self.run("DELETE FROM ingests WHERE dir = ?1", [dir]).map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<IngestRow> {
    Ok(IngestRow {
        reference: row.get(0)?,
        dir: row.get(1)?,
        expected: row.digest_or_null(2)?,
        total: row.count(3)?,
        durable: row.count(4)?,
        hash_state: row.get(5)?,
        started: row.time(6)?,
        updated: row.time(7)?,
    })
}
