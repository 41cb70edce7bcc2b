//! Table `content`: which namespace has which blob.

use lamina_core::content::Info;
use lamina_core::{Digest, Error, Event, Labels, Namespace, Result, Scope};
use rusqlite::{Row, params};

use super::values::{Columns, count};
use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::Node;

/// What a query of `content` joined with `blobs` selects.
const INFO: &str = "SELECT digest, size, labels, created_at, updated_at FROM content JOIN blobs \
                    USING (digest)";

impl Read<'_> {
    /// What a namespace knows of a blob.
    pub(crate) fn content(&self, space: &Namespace, digest: &Digest) -> Result<Option<Info>> {
        self.one(
            &format!("{INFO} WHERE namespace = ?1 AND digest = ?2"),
            params![space.as_str(), digest.as_str()],
            info,
        )
    }

    /// Whether a namespace has a blob.
    pub(crate) fn has_content(&self, space: &Namespace, digest: &Digest) -> Result<bool> {
        self.any(
            "SELECT 1 FROM content WHERE namespace = ?1 AND digest = ?2",
            params![space.as_str(), digest.as_str()],
        )
    }

    /// The blobs of a namespace behind `after`, by digest.
    pub(crate) fn contents(
        &self,
        space: &Namespace,
        after: &str,
        most: usize,
    ) -> Result<Vec<Info>> {
        self.all(
            &format!("{INFO} WHERE namespace = ?1 AND digest > ?2 ORDER BY digest LIMIT ?3"),
            params![space.as_str(), after, count(most as u64)],
            info,
        )
    }

    /// The namespaces that have a blob, each with the namespace's own labels.
    pub(crate) fn content_owners(&self, digest: &Digest) -> Result<Vec<(String, Labels)>> {
        self.all(
            "SELECT namespace, coalesce(namespaces.labels, '{}') FROM content
             LEFT JOIN namespaces ON name = namespace WHERE digest = ?1",
            [digest.as_str()],
            |row| Ok((row.get(0)?, row.labels(1)?)),
        )
    }
}

impl Tx<'_> {
    /// Gives a live blob to a namespace that does not have it, and tells so.
    pub(crate) fn insert_content(
        &mut self,
        space: &Namespace,
        digest: &Digest,
        size: u64,
        labels: &Labels,
    ) -> Result<()> {
        let now = ns(self.now());
        self.run(
            "INSERT INTO content (namespace, digest, labels, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?4)",
            params![space.as_str(), digest.as_str(), labels_to_json(labels), now],
        )?;
        self.event(space, Event::ContentCreate { digest: digest.clone(), size });
        self.touch(space, &Node::content(digest.as_str()))
    }

    /// Gives a blob that the host has to the scope's namespace, unless that has it already. `labels`
    /// are for a new row only.
    ///
    /// # Errors
    /// NotFound when the blob has left the host.
    pub(crate) fn share_blob(
        &mut self,
        scope: &Scope,
        digest: &Digest,
        labels: Labels,
    ) -> Result<()> {
        let Some(blob) = self.blob(digest)?.filter(|blob| blob.live) else {
            return Err(Error::not_found(format!("blob {digest} has left this host")));
        };
        if self.has_content(&scope.namespace, digest)? {
            return self.touch(&scope.namespace, &Node::content(digest.as_str()));
        }
        self.ensure_namespace(&scope.namespace)?;
        self.insert_content(&scope.namespace, digest, blob.size, &labels)
    }

    /// Writes a blob's labels in a namespace.
    pub(crate) fn put_content_labels(
        &mut self,
        space: &Namespace,
        digest: &Digest,
        labels: &Labels,
    ) -> Result<()> {
        let now = ns(self.now());
        self.run(
            "UPDATE content SET labels = ?3, updated_at = ?4 WHERE namespace = ?1 AND digest = ?2",
            params![space.as_str(), digest.as_str(), labels_to_json(labels), now],
        )?;
        self.touch(space, &Node::content(digest.as_str()))
    }

    /// Takes a blob from a namespace; its row turns dead with the last. Whether it was there.
    pub(crate) fn remove_content(&mut self, space: &Namespace, digest: &Digest) -> Result<bool> {
        let removed = self.run(
            "DELETE FROM content WHERE namespace = ?1 AND digest = ?2",
            params![space.as_str(), digest.as_str()],
        )?;
        if removed > 0 {
            self.kill_unused_blob(digest)?;
        }
        Ok(removed > 0)
    }
}

fn info(row: &Row<'_>) -> rusqlite::Result<Info> {
    Ok(Info {
        digest: row.digest(0)?,
        size: row.count(1)?,
        labels: row.labels(2)?,
        created: row.time(3)?,
        updated: row.time(4)?,
    })
}
