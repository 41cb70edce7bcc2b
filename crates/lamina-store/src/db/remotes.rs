//! Table `remotes`: what proxies call our snapshots.

use lamina_core::{Namespace, Result};
use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::snapshots::number;
use super::values::Columns;
use super::{Read, Tx};
use crate::snapshot::driver::SnapshotId;

/// One row of `remotes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteRow {
    pub(crate) id: SnapshotId,
    pub(crate) namespace: Namespace,
    pub(crate) key: String,
    pub(crate) committing: Option<String>,
}

const SELECT: &str = "SELECT id, namespace, key, committing FROM remotes WHERE snapshotter = ?1";

impl Read<'_> {
    /// What the proxy calls `id`.
    pub(crate) fn remote(&self, snapshotter: &str, id: SnapshotId) -> Result<Option<RemoteRow>> {
        self.one(&format!("{SELECT} AND id = ?2"), params![snapshotter, number(id)], row)
    }

    /// The snapshot that the proxy calls `key`.
    pub(crate) fn remote_by_key(&self, snapshotter: &str, key: &str) -> Result<Option<RemoteRow>> {
        self.one(&format!("{SELECT} AND key = ?2"), params![snapshotter, key], row)
    }
}

impl Tx<'_> {
    /// Adds what the proxy calls a snapshot, whose row is there.
    pub(crate) fn insert_remote(&mut self, snapshotter: &str, remote: &RemoteRow) -> Result<()> {
        self.run(
            "INSERT INTO remotes (snapshotter, id, namespace, key, committing)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                snapshotter,
                number(remote.id),
                remote.namespace.as_str(),
                remote.key,
                remote.committing
            ],
        )
        .map(drop)
    }

    /// Remembers the key that a commit which is about to be asked for gives.
    pub(crate) fn begin_remote_commit(
        &mut self,
        snapshotter: &str,
        id: SnapshotId,
        key: &str,
    ) -> Result<()> {
        self.run(
            "UPDATE remotes SET committing = ?3 WHERE snapshotter = ?1 AND id = ?2",
            params![snapshotter, number(id), key],
        )
        .map(drop)
    }

    /// The commit was made. Does nothing for a snapshot of no proxy.
    pub(crate) fn end_remote_commit(&mut self, snapshotter: &str, id: SnapshotId) -> Result<()> {
        self.run(
            "UPDATE remotes SET key = committing, committing = NULL
             WHERE snapshotter = ?1 AND id = ?2 AND committing IS NOT NULL",
            params![snapshotter, number(id)],
        )
        .map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<RemoteRow> {
    let namespace = Namespace::new(row.get_ref(1)?.as_str()?).map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(cause))
    })?;
    Ok(RemoteRow {
        id: SnapshotId(row.count(0)?),
        namespace,
        key: row.get(2)?,
        committing: row.get(3)?,
    })
}
