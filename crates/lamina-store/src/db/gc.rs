//! The collector's look at the tables, and the log of what changed while it looks.
//!
//! The log is a temporary table of the writer's connection: it is undone with the request that
//! wrote it, and a later request of the same batch sees it.

use jiff::Timestamp;
use lamina_core::{Digest, Labels, Namespace, Result};
use rusqlite::params;

use super::values::Columns;
use super::{Read, Tx};
use crate::gc::node::{Kind, Node};

/// One snapshot as the collector sees it.
#[derive(Clone, Debug)]
pub(crate) struct NameRefs {
    pub(crate) snapshotter: String,
    pub(crate) key: String,
    pub(crate) parent: String,
    pub(crate) labels: Labels,
}

/// One container as the collector sees it.
#[derive(Clone, Debug)]
pub(crate) struct ContainerRefs {
    pub(crate) id: String,
    pub(crate) snapshotter: String,
    pub(crate) snapshot_key: String,
    pub(crate) labels: Labels,
}

/// One ingest as the collector sees it.
#[derive(Clone, Debug)]
pub(crate) struct IngestRefs {
    pub(crate) reference: String,
    pub(crate) expected: Option<Digest>,
    pub(crate) expires: Option<Timestamp>,
}

impl Read<'_> {
    /// Snapshots of a namespace behind `after` (snapshotter, key), in that order.
    pub(crate) fn gc_names(
        &self,
        namespace: &Namespace,
        after: (&str, &str),
        most: usize,
    ) -> Result<Vec<NameRefs>> {
        self.all(
            "SELECT snapshotter, key, parent, labels FROM names
             WHERE namespace = ?1 AND (snapshotter, key) > (?2, ?3)
             ORDER BY snapshotter, key LIMIT ?4",
            params![namespace.as_str(), after.0, after.1, most as i64],
            |r| {
                Ok(NameRefs {
                    snapshotter: r.get(0)?,
                    key: r.get(1)?,
                    parent: r.get(2)?,
                    labels: r.labels(3)?,
                })
            },
        )
    }

    /// Blobs of a namespace behind `after`, by digest.
    pub(crate) fn gc_content(
        &self,
        namespace: &Namespace,
        after: &str,
        most: usize,
    ) -> Result<Vec<(String, Labels)>> {
        self.all(
            "SELECT digest, labels FROM content WHERE namespace = ?1 AND digest > ?2
             ORDER BY digest LIMIT ?3",
            params![namespace.as_str(), after, most as i64],
            |r| Ok((r.get(0)?, r.labels(1)?)),
        )
    }

    /// The labels of one blob of a namespace.
    pub(crate) fn gc_content_labels(
        &self,
        namespace: &Namespace,
        digest: &str,
    ) -> Result<Option<Labels>> {
        self.one(
            "SELECT labels FROM content WHERE namespace = ?1 AND digest = ?2",
            params![namespace.as_str(), digest],
            |r| r.labels(0),
        )
    }

    /// Containers of a namespace behind `after`, by id.
    pub(crate) fn gc_containers(
        &self,
        namespace: &Namespace,
        after: &str,
        most: usize,
    ) -> Result<Vec<ContainerRefs>> {
        self.all(
            "SELECT id, snapshotter, snapshot_key, labels FROM containers
             WHERE namespace = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            params![namespace.as_str(), after, most as i64],
            |r| {
                Ok(ContainerRefs {
                    id: r.get(0)?,
                    snapshotter: r.get(1)?,
                    snapshot_key: r.get(2)?,
                    labels: r.labels(3)?,
                })
            },
        )
    }

    /// All ingests of a namespace.
    pub(crate) fn gc_ingests(&self, namespace: &Namespace) -> Result<Vec<IngestRefs>> {
        self.all(
            "SELECT ref, expected, expires_at FROM ingests WHERE namespace = ?1",
            [namespace.as_str()],
            |r| {
                Ok(IngestRefs {
                    reference: r.get(0)?,
                    expected: r.digest_or_null(1)?,
                    expires: r.get::<_, Option<i64>>(2)?.map(super::from_ns),
                })
            },
        )
    }

    /// All activations of a namespace: name, labels, lease.
    pub(crate) fn gc_activations(
        &self,
        namespace: &Namespace,
    ) -> Result<Vec<(String, Labels, Option<String>)>> {
        self.all(
            "SELECT name, labels, lease FROM activations WHERE namespace = ?1",
            [namespace.as_str()],
            |r| Ok((r.get(0)?, r.labels(1)?, r.get(2)?)),
        )
    }

    /// Every namespace that anything is in, also one that has no row of its own.
    pub(crate) fn gc_namespaces(&self) -> Result<Vec<Namespace>> {
        let names = self.all(
            "SELECT name FROM namespaces UNION SELECT namespace FROM content
             UNION SELECT namespace FROM names UNION SELECT namespace FROM ingests
             UNION SELECT namespace FROM leases",
            [],
            |r| r.get::<_, String>(0),
        )?;
        names.iter().map(|name| Namespace::new(name)).collect()
    }
}

impl Tx<'_> {
    /// Tells a collector at work that a thing was made, or may refer to others than before.
    ///
    /// Every function that adds a row or gives one new references calls this; while no collector
    /// works it does next to nothing.
    pub(crate) fn touch(&mut self, namespace: &Namespace, node: &Node) -> Result<()> {
        let (kind, snapshotter) = words(&node.kind);
        self.run(
            "INSERT INTO temp.touched (namespace, kind, snapshotter, id)
             SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM temp.marking WHERE namespace = ?1)",
            params![namespace.as_str(), kind, snapshotter, &*node.id],
        )
        .map(drop)
    }

    /// From now on, everything that is touched in `namespace` is logged.
    pub(crate) fn begin_marking(&mut self, namespace: &Namespace) -> Result<()> {
        self.run("DELETE FROM temp.touched WHERE namespace = ?1", [namespace.as_str()])?;
        self.run("INSERT OR IGNORE INTO temp.marking VALUES (?1)", [namespace.as_str()]).map(drop)
    }

    /// Ends the log.
    pub(crate) fn end_marking(&mut self, namespace: &Namespace) -> Result<()> {
        self.run("DELETE FROM temp.touched WHERE namespace = ?1", [namespace.as_str()])?;
        self.run("DELETE FROM temp.marking WHERE namespace = ?1", [namespace.as_str()]).map(drop)
    }

    /// What was touched since the last call.
    pub(crate) fn take_touched(&mut self, namespace: &Namespace) -> Result<Vec<Node>> {
        let touched = self.all(
            "SELECT DISTINCT kind, snapshotter, id FROM temp.touched WHERE namespace = ?1",
            [namespace.as_str()],
            |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?)),
        )?;
        self.run("DELETE FROM temp.touched WHERE namespace = ?1", [namespace.as_str()])?;
        Ok(touched
            .into_iter()
            .filter_map(|(kind, snapshotter, id)| {
                Some(Node::new(kind_of(&kind, &snapshotter)?, id))
            })
            .collect())
    }
}

/// What [`Tx::touch`] needs; made when the writer opens.
pub(in crate::db) const LOG_TABLES: &str = "
    CREATE TEMP TABLE marking (namespace TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TEMP TABLE touched (namespace TEXT, kind TEXT, snapshotter TEXT, id TEXT);";

fn words(kind: &Kind) -> (&'static str, &str) {
    match kind {
        Kind::Content => ("content", ""),
        Kind::Snapshot(snapshotter) => ("snapshot", snapshotter),
        Kind::Image => ("image", ""),
        Kind::Container => ("container", ""),
        Kind::Ingest => ("ingest", ""),
        Kind::Mount => ("mount", ""),
        Kind::Sandbox => ("sandbox", ""),
    }
}

fn kind_of(word: &str, snapshotter: &str) -> Option<Kind> {
    Some(match word {
        "content" => Kind::Content,
        "snapshot" => Kind::Snapshot(snapshotter.into()),
        "image" => Kind::Image,
        "container" => Kind::Container,
        "ingest" => Kind::Ingest,
        "mount" => Kind::Mount,
        "sandbox" => Kind::Sandbox,
        _ => return None,
    })
}
