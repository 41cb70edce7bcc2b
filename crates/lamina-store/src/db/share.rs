//! Blobs that namespaces share: tables `blobs` and `content`, as adoption and the collector need them.

use lamina_core::{Digest, Labels, Namespace, Result, Scope};
use rusqlite::params;

use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::Node;

impl Read<'_> {
    /// Whether the host has the bytes of a blob.
    pub(crate) fn blob_is_live(&self, digest: &Digest) -> Result<bool> {
        self.any("SELECT 1 FROM blobs WHERE digest = ?1 AND state = 'live'", [digest.as_str()])
    }
}

impl Tx<'_> {
    /// Gives a namespace a blob that the host has; one that it has already stays as it is.
    pub(crate) fn share_blob(
        &mut self,
        scope: &Scope,
        digest: &Digest,
        labels: Labels,
    ) -> Result<()> {
        let now = ns(self.now());
        self.touch(&scope.namespace, &Node::content(digest.as_str()))?;
        self.run(
            "INSERT OR IGNORE INTO content (namespace, digest, labels, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?4)",
            params![scope.namespace.as_str(), digest.as_str(), labels_to_json(&labels), now],
        )
        .map(drop)
    }

    /// Takes a blob from a namespace; it turns dead with its last one. False when the namespace does
    /// not have it.
    pub(crate) fn remove_content(
        &mut self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<bool> {
        let removed = self.run(
            "DELETE FROM content WHERE namespace = ?1 AND digest = ?2",
            params![namespace.as_str(), digest.as_str()],
        )?;
        self.run(
            "UPDATE blobs SET state = 'dead' WHERE digest = ?1 AND NOT EXISTS
               (SELECT 1 FROM content WHERE digest = ?1)",
            [digest.as_str()],
        )?;
        Ok(removed > 0)
    }
}

#[cfg(test)]
impl Tx<'_> {
    /// Says that the host has a blob, without one.
    pub(crate) fn insert_blob_for_test(&mut self, digest: &Digest) -> Result<()> {
        self.run("INSERT INTO blobs (digest, size) VALUES (?1, 1)", [digest.as_str()]).map(drop)
    }
}
