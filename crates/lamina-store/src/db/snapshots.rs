//! Tables `snapshots` and `snapshot_ids`: what lies on disk.

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Digest, Error, Result};
use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::values::Columns;
use super::{Read, Tx};
use crate::snapshot::driver::SnapshotId;

/// One row of `snapshots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRow {
    pub(crate) id: SnapshotId,
    pub(crate) kind: Kind,
    pub(crate) parent: Option<SnapshotId>,
    pub(crate) diff_id: Option<Digest>,
    pub(crate) blob: Option<Digest>,
    pub(crate) chain_id: Option<Digest>,
    pub(crate) usage: Usage,
    pub(crate) live: bool,
    pub(crate) settled: bool,
}

const COLUMNS: &str = "id, kind, parent, diff_id, blob, chain_id, size, inodes, state, settled";

impl Read<'_> {
    /// The row of `id`, live or dead.
    pub(crate) fn snapshot(
        &self,
        snapshotter: &str,
        id: SnapshotId,
    ) -> Result<Option<SnapshotRow>> {
        self.one(
            &format!("SELECT {COLUMNS} FROM snapshots WHERE snapshotter = ?1 AND id = ?2"),
            params![snapshotter, number(id)],
            row,
        )
    }

    /// The live row with a verified chain ID.
    pub(crate) fn snapshot_by_chain(
        &self,
        snapshotter: &str,
        chain: &Digest,
    ) -> Result<Option<SnapshotRow>> {
        self.one(
            &format!(
                "SELECT {COLUMNS} FROM snapshots
                 WHERE snapshotter = ?1 AND chain_id = ?2 AND state = 'live'"
            ),
            params![snapshotter, chain.as_str()],
            row,
        )
    }

    /// The snapshots below `id`, nearest first.
    ///
    /// # Errors
    /// DataLoss when one of them has no row.
    pub(crate) fn ancestors(&self, snapshotter: &str, id: SnapshotId) -> Result<Vec<SnapshotRow>> {
        let mut below = Vec::new();
        let mut next = self.snapshot(snapshotter, id)?.and_then(|row| row.parent);
        while let Some(parent) = next {
            let row = self.snapshot(snapshotter, parent)?.ok_or_else(|| {
                Error::data_loss(format!(
                    "{snapshotter} snapshot {id}: {parent} below it has no row"
                ))
            })?;
            next = row.parent;
            below.push(row);
        }
        Ok(below)
    }

    /// Up to `most` rows with an id above `after`, by id; live ones or dead ones.
    pub(crate) fn snapshot_page(
        &self,
        snapshotter: &str,
        after: SnapshotId,
        live: bool,
        most: usize,
    ) -> Result<Vec<SnapshotRow>> {
        self.all(
            &format!(
                "SELECT {COLUMNS} FROM snapshots
                 WHERE snapshotter = ?1 AND id > ?2 AND state = ?3 ORDER BY id LIMIT ?4"
            ),
            params![snapshotter, number(after), if live { "live" } else { "dead" }, most as i64],
            row,
        )
    }

    /// Up to `most` ids above `after`, of live rows and dead ones.
    pub(crate) fn snapshot_ids(
        &self,
        snapshotter: &str,
        after: SnapshotId,
        most: usize,
    ) -> Result<Vec<SnapshotId>> {
        self.all(
            "SELECT id FROM snapshots WHERE snapshotter = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            params![snapshotter, number(after), most as i64],
            |r| Ok(SnapshotId(r.count(0)?)),
        )
    }

    /// Up to `most` dead rows above `after`, by id, that no other row lies on: their files may go.
    pub(crate) fn removable(
        &self,
        snapshotter: &str,
        after: SnapshotId,
        most: usize,
    ) -> Result<Vec<SnapshotId>> {
        self.all(
            "SELECT id FROM snapshots s WHERE snapshotter = ?1 AND id > ?2 AND state = 'dead'
               AND NOT EXISTS (SELECT 1 FROM snapshots c
                               WHERE c.snapshotter = s.snapshotter AND c.parent = s.id)
             ORDER BY id LIMIT ?3",
            params![snapshotter, number(after), most as i64],
            |r| r.count(0).map(SnapshotId),
        )
    }

    /// The snapshotters that have rows.
    pub(crate) fn snapshotters(&self) -> Result<Vec<String>> {
        self.all("SELECT DISTINCT snapshotter FROM snapshots ORDER BY snapshotter", [], |r| {
            r.get(0)
        })
    }

    /// Committed rows whose driver still has to settle them.
    pub(crate) fn unsettled(&self, snapshotter: &str) -> Result<Vec<SnapshotId>> {
        self.all(
            "SELECT id FROM snapshots
             WHERE snapshotter = ?1 AND settled = 0 AND state = 'live' ORDER BY id",
            [snapshotter],
            |r| r.count(0).map(SnapshotId),
        )
    }

    /// The first id that no block has reserved.
    pub(crate) fn next_snapshot_id(&self, snapshotter: &str) -> Result<SnapshotId> {
        let next =
            self.one("SELECT next FROM snapshot_ids WHERE snapshotter = ?1", [snapshotter], |r| {
                r.count(0).map(SnapshotId)
            })?;
        Ok(next.unwrap_or(SnapshotId(1)))
    }
}

impl Tx<'_> {
    /// Adds a live row.
    pub(crate) fn insert_snapshot(&mut self, snapshotter: &str, row: &SnapshotRow) -> Result<()> {
        self.run(
            "INSERT INTO snapshots
               (kind, parent, diff_id, blob, chain_id, size, inodes, settled, snapshotter, id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            values(snapshotter, row),
        )
        .map(drop)
    }

    /// Writes everything of a row but its id and state.
    pub(crate) fn update_snapshot(&mut self, snapshotter: &str, row: &SnapshotRow) -> Result<()> {
        let changed = self.run(
            "UPDATE snapshots SET kind = ?1, parent = ?2, diff_id = ?3, blob = ?4,
               chain_id = ?5, size = ?6, inodes = ?7, settled = ?8
             WHERE snapshotter = ?9 AND id = ?10",
            values(snapshotter, row),
        )?;
        if changed != 1 {
            return Err(Error::internal(format!("{snapshotter} snapshot {} has no row", row.id)));
        }
        Ok(())
    }

    /// Remembers that the driver settled a committed snapshot.
    pub(crate) fn mark_settled(&mut self, snapshotter: &str, id: SnapshotId) -> Result<()> {
        self.run(
            "UPDATE snapshots SET settled = 1 WHERE snapshotter = ?1 AND id = ?2",
            params![snapshotter, number(id)],
        )
        .map(drop)
    }

    /// Turns a row dead: no name has it any more, its files go after the commit.
    pub(crate) fn kill_snapshot(&mut self, snapshotter: &str, id: SnapshotId) -> Result<()> {
        self.run(
            "UPDATE snapshots SET state = 'dead' WHERE snapshotter = ?1 AND id = ?2",
            params![snapshotter, number(id)],
        )
        .map(drop)
    }

    /// Turns a dead row live: a proxy made the snapshot, or has it still.
    pub(crate) fn revive_snapshot(&mut self, snapshotter: &str, id: SnapshotId) -> Result<()> {
        self.run(
            "UPDATE snapshots SET state = 'live' WHERE snapshotter = ?1 AND id = ?2",
            params![snapshotter, number(id)],
        )
        .map(drop)
    }

    /// Drops the row of a dead snapshot whose files are gone.
    pub(crate) fn forget_snapshot(&mut self, snapshotter: &str, id: SnapshotId) -> Result<()> {
        self.run(
            "DELETE FROM snapshots WHERE snapshotter = ?1 AND id = ?2 AND state = 'dead'",
            params![snapshotter, number(id)],
        )
        .map(drop)
    }

    /// Writes the first id that no block has reserved.
    pub(crate) fn set_next_snapshot_id(
        &mut self,
        snapshotter: &str,
        next: SnapshotId,
    ) -> Result<()> {
        self.run(
            "INSERT INTO snapshot_ids (snapshotter, next) VALUES (?1, ?2)
             ON CONFLICT (snapshotter) DO UPDATE SET next = excluded.next",
            params![snapshotter, number(next)],
        )
        .map(drop)
    }
}

/// SQLite's integers are signed; ids count up from 1 and stay far below the bound.
pub(in crate::db) fn number(id: SnapshotId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

/// A column that holds a snapshot's kind.
pub(in crate::db) fn kind(row: &Row<'_>, index: usize) -> rusqlite::Result<Kind> {
    let number: i64 = row.get(index)?;
    Kind::from_number(number).ok_or_else(|| {
        let cause = Error::data_loss(format!("snapshot kind {number}"));
        rusqlite::Error::FromSqlConversionFailure(index, Type::Integer, Box::new(cause))
    })
}

fn values<'a>(snapshotter: &'a str, row: &'a SnapshotRow) -> impl rusqlite::Params + 'a {
    (
        row.kind as i64,
        row.parent.map(number),
        row.diff_id.as_ref().map(Digest::as_str),
        row.blob.as_ref().map(Digest::as_str),
        row.chain_id.as_ref().map(Digest::as_str),
        row.usage.size,
        row.usage.inodes,
        row.settled,
        snapshotter,
        number(row.id),
    )
}

fn row(row: &Row<'_>) -> rusqlite::Result<SnapshotRow> {
    Ok(SnapshotRow {
        id: SnapshotId(row.count(0)?),
        kind: kind(row, 1)?,
        parent: row
            .get::<_, Option<i64>>(2)?
            .map(|number| SnapshotId(u64::try_from(number).unwrap_or(0))),
        diff_id: row.digest_or_null(3)?,
        blob: row.digest_or_null(4)?,
        chain_id: row.digest_or_null(5)?,
        usage: Usage { size: row.get(6)?, inodes: row.get(7)? },
        live: row.get_ref(8)?.as_str()? == "live",
        settled: row.get(9)?,
    })
}
