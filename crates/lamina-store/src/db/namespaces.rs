//! Table `namespaces`.

use lamina_core::{Labels, Namespace, Result};
use rusqlite::params;

use super::values::Columns;
use super::{Read, Tx, labels_to_json};

impl Read<'_> {
    /// All namespaces by name.
    pub(crate) fn namespaces(&self) -> Result<Vec<(Namespace, Labels)>> {
        let rows = self.all("SELECT name, labels FROM namespaces ORDER BY name", [], |r| {
            Ok((r.get::<_, String>(0)?, r.labels(1)?))
        })?;
        rows.into_iter().map(|(name, labels)| Ok((Namespace::new(&name)?, labels))).collect()
    }

    /// The labels of a namespace; `None` when it does not exist.
    pub(crate) fn namespace_labels(&self, name: &Namespace) -> Result<Option<Labels>> {
        self.one("SELECT labels FROM namespaces WHERE name = ?1", [name.as_str()], |r| r.labels(0))
    }

    /// The kinds of things that are left in a namespace and keep it from being deleted.
    pub(crate) fn namespace_contents(&self, name: &Namespace) -> Result<Vec<&'static str>> {
        let mut left = Vec::new();
        for (kind, query) in [
            ("images", "SELECT 1 FROM images WHERE namespace = ?1"),
            ("blobs", "SELECT 1 FROM content WHERE namespace = ?1"),
            ("containers", "SELECT 1 FROM containers WHERE namespace = ?1"),
            ("snapshots", "SELECT 1 FROM names WHERE namespace = ?1"),
        ] {
            if self.any(query, [name.as_str()])? {
                left.push(kind);
            }
        }
        Ok(left)
    }
}

impl Tx<'_> {
    /// Makes a namespace appear with the first thing that is made in it.
    pub(crate) fn ensure_namespace(&mut self, name: &Namespace) -> Result<()> {
        self.run("INSERT OR IGNORE INTO namespaces (name) VALUES (?1)", [name.as_str()]).map(drop)
    }

    /// Writes a namespace's labels, making it if it is not there.
    pub(crate) fn put_namespace(&mut self, name: &Namespace, labels: &Labels) -> Result<()> {
        self.run(
            "INSERT INTO namespaces (name, labels) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET labels = excluded.labels",
            params![name.as_str(), labels_to_json(labels)],
        )
        .map(drop)
    }

    /// Drops a namespace with its leases and sandbox records; nothing else is left in it.
    pub(crate) fn delete_namespace(&mut self, name: &Namespace) -> Result<()> {
        self.run("DELETE FROM leases WHERE namespace = ?1", [name.as_str()])?;
        self.run("DELETE FROM sandboxes WHERE namespace = ?1", [name.as_str()])?;
        self.run("DELETE FROM namespaces WHERE name = ?1", [name.as_str()]).map(drop)
    }
}
