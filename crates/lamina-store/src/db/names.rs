//! Table `names`: what clients see of snapshots, one flat key space per namespace and snapshotter.

use jiff::Timestamp;
use lamina_core::snapshot::{Info, Kind};
use lamina_core::{Error, Labels, Namespace, Result};
use rusqlite::{Row, params};

use super::snapshots::{kind, number};
use super::values::Columns;
use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::Node;
use crate::snapshot::driver::SnapshotId;

/// One row of `names`, with the kind of the snapshot it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameRow {
    pub(crate) key: String,
    pub(crate) id: SnapshotId,
    pub(crate) kind: Kind,
    pub(crate) parent: String,
    pub(crate) labels: Labels,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl From<NameRow> for Info {
    fn from(row: NameRow) -> Info {
        Info {
            kind: row.kind,
            name: row.key,
            parent: row.parent,
            labels: row.labels,
            created: row.created,
            updated: row.updated,
        }
    }
}

const SELECT: &str = "SELECT n.key, n.id, s.kind, n.parent, n.labels, n.created_at, n.updated_at
    FROM names n JOIN snapshots s ON s.snapshotter = n.snapshotter AND s.id = n.id";

impl Read<'_> {
    /// The name `key`, if it is taken.
    pub(crate) fn name(
        &self,
        namespace: &Namespace,
        snapshotter: &str,
        key: &str,
    ) -> Result<Option<NameRow>> {
        self.one(
            &format!("{SELECT} WHERE n.namespace = ?1 AND n.snapshotter = ?2 AND n.key = ?3"),
            params![namespace.as_str(), snapshotter, key],
            row,
        )
    }

    /// The name that the namespace has for the active `id`; an active has one.
    pub(crate) fn active_name(
        &self,
        namespace: &Namespace,
        snapshotter: &str,
        id: SnapshotId,
    ) -> Result<Option<NameRow>> {
        let found = self.one(
            &format!("{SELECT} WHERE n.namespace = ?1 AND n.snapshotter = ?2 AND n.id = ?3"),
            params![namespace.as_str(), snapshotter, number(id)],
            row,
        )?;
        Ok(found.filter(|name| name.kind == Kind::Active))
    }

    /// Up to `most` names behind `after`, in byte order of keys.
    pub(crate) fn name_page(
        &self,
        namespace: &Namespace,
        snapshotter: &str,
        after: &str,
        most: usize,
    ) -> Result<Vec<NameRow>> {
        self.all(
            &format!(
                "{SELECT} WHERE n.namespace = ?1 AND n.snapshotter = ?2 AND n.key > ?3
                 ORDER BY n.key LIMIT ?4"
            ),
            params![namespace.as_str(), snapshotter, after, most as i64],
            row,
        )
    }

    /// Whether a name of this namespace lies on `key`.
    pub(crate) fn name_has_child(
        &self,
        namespace: &Namespace,
        snapshotter: &str,
        key: &str,
    ) -> Result<bool> {
        self.any(
            "SELECT 1 FROM names
             WHERE namespace = ?1 AND snapshotter = ?2 AND parent = ?3 AND parent <> ''",
            params![namespace.as_str(), snapshotter, key],
        )
    }

    /// How many names, of any namespace, the snapshot `id` has.
    pub(crate) fn names_of(&self, snapshotter: &str, id: SnapshotId) -> Result<u64> {
        let count = self.one(
            "SELECT count(*) FROM names WHERE snapshotter = ?1 AND id = ?2",
            params![snapshotter, number(id)],
            |r| r.count(0),
        )?;
        Ok(count.unwrap_or(0))
    }
}

impl Tx<'_> {
    /// Adds a name. The caller has made sure that the key is free.
    pub(crate) fn insert_name(
        &mut self,
        namespace: &Namespace,
        snapshotter: &str,
        name: &NameRow,
    ) -> Result<()> {
        self.touch(namespace, &Node::snapshot(snapshotter, name.key.as_str()))?;
        self.run(
            "INSERT INTO names
               (namespace, snapshotter, key, id, parent, labels, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                namespace.as_str(),
                snapshotter,
                name.key,
                number(name.id),
                name.parent,
                labels_to_json(&name.labels),
                ns(name.created),
                ns(name.updated),
            ],
        )
        .map(drop)
    }

    /// Writes the labels of a name and when they changed.
    pub(crate) fn update_name_labels(
        &mut self,
        namespace: &Namespace,
        snapshotter: &str,
        key: &str,
        labels: &Labels,
        updated: Timestamp,
    ) -> Result<()> {
        self.touch(namespace, &Node::snapshot(snapshotter, key))?;
        self.run(
            "UPDATE names SET labels = ?4, updated_at = ?5
             WHERE namespace = ?1 AND snapshotter = ?2 AND key = ?3",
            params![namespace.as_str(), snapshotter, key, labels_to_json(labels), ns(updated)],
        )
        .map(drop)
    }

    /// Takes a name away; the snapshot turns dead with its last one, and is then returned.
    ///
    /// # Errors
    /// NotFound when there is no such name.
    pub(crate) fn remove_name(
        &mut self,
        namespace: &Namespace,
        snapshotter: &str,
        key: &str,
    ) -> Result<Option<SnapshotId>> {
        let name = self
            .name(namespace, snapshotter, key)?
            .ok_or_else(|| Error::not_found(format!("snapshot {key:?}")))?;
        self.delete_name(namespace, snapshotter, key)?;
        if self.names_of(snapshotter, name.id)? > 0 {
            return Ok(None);
        }
        self.kill_snapshot(snapshotter, name.id)?;
        Ok(Some(name.id))
    }

    /// Takes the row of a name away and nothing else.
    pub(crate) fn delete_name(
        &mut self,
        namespace: &Namespace,
        snapshotter: &str,
        key: &str,
    ) -> Result<()> {
        self.run(
            "DELETE FROM names WHERE namespace = ?1 AND snapshotter = ?2 AND key = ?3",
            params![namespace.as_str(), snapshotter, key],
        )
        .map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<NameRow> {
    Ok(NameRow {
        key: row.get(0)?,
        id: SnapshotId(row.count(1)?),
        kind: kind(row, 2)?,
        parent: row.get(3)?,
        labels: row.labels(4)?,
        created: row.time(5)?,
        updated: row.time(6)?,
    })
}
