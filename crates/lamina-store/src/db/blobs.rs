//! Table `blobs`: bytes on disk, once per host.
//!
//! A row is live while a namespace has the blob. With the last one it turns dead in the same
//! transaction; the file goes after that, and the row last. A dead row may turn live again only in
//! the hands of who holds the digest's lock and has put the file in its place.

use lamina_core::{Digest, Namespace, Result};
use rusqlite::{Row, params};

use super::values::{Columns, count};
use super::{Read, Tx};

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) live: bool,
}

impl Read<'_> {
    /// The row of a blob, live or dead.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<BlobRow>> {
        self.one(
            "SELECT digest, size, state = 'live' FROM blobs WHERE digest = ?1",
            [digest.as_str()],
            row,
        )
    }

    /// Whether the host has the blob for a namespace to have.
    pub(crate) fn blob_is_live(&self, digest: &Digest) -> Result<bool> {
        self.any("SELECT 1 FROM blobs WHERE digest = ?1 AND state = 'live'", [digest.as_str()])
    }

    /// Live blobs behind `after`, by digest.
    pub(crate) fn live_blobs(&self, after: &str, most: usize) -> Result<Vec<BlobRow>> {
        self.all(
            "SELECT digest, size, 1 FROM blobs WHERE digest > ?1 AND state = 'live'
             ORDER BY digest LIMIT ?2",
            params![after, count(most as u64)],
            row,
        )
    }

    /// Dead blobs behind `after`, by digest.
    pub(crate) fn dead_blobs(&self, after: &str, most: usize) -> Result<Vec<BlobRow>> {
        self.all(
            "SELECT digest, size, 0 FROM blobs WHERE digest > ?1 AND state = 'dead'
             ORDER BY digest LIMIT ?2",
            params![after, count(most as u64)],
            row,
        )
    }
}

impl Tx<'_> {
    /// Writes the row of a blob whose file is in its place.
    pub(crate) fn put_blob(&mut self, digest: &Digest, size: u64) -> Result<()> {
        self.run(
            "INSERT INTO blobs (digest, size, state) VALUES (?1, ?2, 'live')
             ON CONFLICT (digest) DO UPDATE SET size = excluded.size, state = 'live'",
            params![digest.as_str(), count(size)],
        )
        .map(drop)
    }

    /// Turns a blob dead when no namespace has it.
    pub(in crate::db) fn kill_unused_blob(&mut self, digest: &Digest) -> Result<()> {
        self.run(
            "UPDATE blobs SET state = 'dead' WHERE digest = ?1
             AND NOT EXISTS (SELECT 1 FROM content WHERE content.digest = blobs.digest)",
            [digest.as_str()],
        )
        .map(drop)
    }

    /// Drops the row of a blob that is still dead; its file is gone.
    pub(crate) fn forget_dead_blob(&mut self, digest: &Digest) -> Result<()> {
        self.run("DELETE FROM blobs WHERE digest = ?1 AND state = 'dead'", [digest.as_str()])
            .map(drop)
    }

    /// Takes a blob whose file is lost from every namespace and turns it dead. Returns who had it.
    pub(crate) fn lose_blob(&mut self, digest: &Digest) -> Result<Vec<Namespace>> {
        let had = self.all(
            "DELETE FROM content WHERE digest = ?1 RETURNING namespace",
            [digest.as_str()],
            |row| row.get::<_, String>(0),
        )?;
        self.kill_unused_blob(digest)?;
        had.iter().map(|name| Namespace::new(name)).collect()
    }
}

#[cfg(test)]
impl Tx<'_> {
    /// Says that the host has a blob, without one.
    pub(crate) fn insert_blob_for_test(&mut self, digest: &Digest) -> Result<()> {
        self.put_blob(digest, 1)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<BlobRow> {
    Ok(BlobRow { digest: row.digest(0)?, size: row.count(1)?, live: row.get(2)? })
}
