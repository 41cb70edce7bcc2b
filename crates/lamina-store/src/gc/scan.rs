//! The scan: one namespace as a graph, read in pages so that no read transaction stays open.
//!
//! What changes between two pages is in the writer's log, which was begun before the first.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use lamina_core::labels::{GC_EXPIRE, GC_FLAT, GC_ROOT};
use lamina_core::{Labels, Namespace, Result};

use super::mark::{Edges, Graph, Reach};
use super::node::{Kind, Node, back_references, references};
use crate::db::{Db, Read};

/// What a namespace holds: how things refer to each other, and what may be dropped.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) graph: Graph,
    /// Everything that goes unless it is marked, in no order.
    pub(super) candidates: Vec<Node>,
    /// Leases that are past their time.
    pub(super) expired_leases: Vec<String>,
    /// The others.
    live_leases: HashSet<String>,
}

/// Rows per read transaction.
const PAGE: usize = 512;

impl Scan {
    /// Reads the whole namespace.
    pub(super) fn read(db: &Db, namespace: &Namespace, now: Timestamp) -> Result<Scan> {
        let mut scan = Scan::default();
        scan.leases(db, namespace, now)?;
        scan.images(db, namespace, now)?;
        scan.containers(db, namespace)?;
        scan.sandboxes(db, namespace)?;
        scan.ingests(db, namespace, now)?;
        scan.activations(db, namespace)?;
        scan.content(db, namespace)?;
        scan.snapshots(db, namespace)?;
        Ok(scan)
    }

    fn leases(&mut self, db: &Db, namespace: &Namespace, now: Timestamp) -> Result<()> {
        for lease in db.read(|r| r.leases(namespace))? {
            if is_expired(&lease.labels, now) {
                self.expired_leases.push(lease.id);
                continue;
            }
            let flat = lease.labels.contains_key(GC_FLAT);
            let reach = if flat { Reach::Flat } else { Reach::Full };
            let held = db.read(|r| r.lease_resources(namespace, &lease.id))?;
            self.graph
                .roots
                .extend(held.iter().map(|res| (Node::leased(&res.kind, &res.id), reach)));
            if !flat {
                self.graph.roots.extend(references(&lease.labels).map(|node| (node, Reach::Full)));
            }
            self.live_leases.insert(lease.id);
        }
        Ok(())
    }

    fn images(&mut self, db: &Db, namespace: &Namespace, now: Timestamp) -> Result<()> {
        for image in db.read(|r| r.images(namespace))? {
            let node = Node::new(Kind::Image, image.name);
            if is_expired(&image.labels, now) {
                self.candidates.push(node.clone());
            } else {
                self.graph.roots.push((node.clone(), Reach::Full));
            }
            self.graph.keep(node.clone(), Node::content(image.target.digest.as_str()));
            self.labels(&node, &image.labels);
        }
        Ok(())
    }

    fn containers(&mut self, db: &Db, namespace: &Namespace) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = db.read(|r| r.gc_containers(namespace, &after, PAGE))?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.id);
            for row in page {
                let node = Node::new(Kind::Container, row.id);
                self.graph.roots.push((node.clone(), Reach::Full));
                if !row.snapshot_key.is_empty() {
                    let snapshot = Node::snapshot(&row.snapshotter, row.snapshot_key);
                    self.graph.keep(node.clone(), snapshot);
                }
                self.labels(&node, &row.labels);
            }
        }
    }

    /// A sandbox holds what its labels refer to, and nothing else.
    fn sandboxes(&mut self, db: &Db, namespace: &Namespace) -> Result<()> {
        for sandbox in db.read(|r| r.sandboxes(namespace))? {
            let node = Node::new(Kind::Sandbox, sandbox.id);
            self.graph.roots.push((node.clone(), Reach::Full));
            self.labels(&node, &sandbox.labels);
        }
        Ok(())
    }

    fn ingests(&mut self, db: &Db, namespace: &Namespace, now: Timestamp) -> Result<()> {
        for row in db.read(|r| r.gc_ingests(namespace))? {
            let node = Node::new(Kind::Ingest, row.reference);
            if row.expires.is_some_and(|at| at <= now) {
                self.candidates.push(node.clone());
            } else {
                self.graph.roots.push((node.clone(), Reach::Full));
            }
            if let Some(expected) = row.expected {
                self.graph.keep(node, Node::content(expected.as_str()));
            }
        }
        Ok(())
    }

    /// An activation lives as long as the lease it was made under, or what it refers back to. One with
    /// neither belongs to whoever made it, and is a root: nothing says when it is done with.
    fn activations(&mut self, db: &Db, namespace: &Namespace) -> Result<()> {
        for (name, labels, lease) in db.read(|r| r.gc_activations(namespace))? {
            let node = Node::new(Kind::Mount, name);
            let root = match &lease {
                Some(lease) => self.live_leases.contains(lease),
                None => back_references(&labels).next().is_none(),
            };
            if root {
                self.graph.roots.push((node.clone(), Reach::Full));
            } else {
                self.candidates.push(node.clone());
            }
            self.labels(&node, &labels);
        }
        Ok(())
    }

    fn content(&mut self, db: &Db, namespace: &Namespace) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = db.read(|r| r.gc_content(namespace, &after, PAGE))?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (digest, labels) in page {
                self.candidate(Node::content(digest), &labels);
            }
        }
    }

    fn snapshots(&mut self, db: &Db, namespace: &Namespace) -> Result<()> {
        let mut after = (String::new(), String::new());
        // One copy of a snapshotter's name for all its nodes.
        let mut kinds: HashMap<String, Kind> = HashMap::new();
        loop {
            let page = db.read(|r| r.gc_names(namespace, (&after.0, &after.1), PAGE))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = (last.snapshotter.clone(), last.key.clone());
            for row in page {
                let kind = kinds
                    .entry(row.snapshotter)
                    .or_insert_with_key(|name| Kind::Snapshot(name.as_str().into()))
                    .clone();
                let node = Node::new(kind.clone(), row.key);
                if !row.parent.is_empty() {
                    let parent = Node::new(kind, row.parent);
                    self.graph.edges.entry(node.clone()).or_default().parent = Some(parent);
                }
                self.candidate(node, &row.labels);
            }
        }
    }

    fn candidate(&mut self, node: Node, labels: &Labels) {
        if labels.contains_key(GC_ROOT) {
            self.graph.roots.push((node.clone(), Reach::Full));
        }
        self.labels(&node, labels);
        self.candidates.push(node);
    }

    fn labels(&mut self, node: &Node, labels: &Labels) {
        for to in references(labels) {
            self.graph.keep(node.clone(), to);
        }
        for from in back_references(labels) {
            self.graph.keep(from, node.clone());
        }
    }
}

/// What one thing keeps, as its row says now. Nothing for a thing that is not there.
pub(super) fn edges_now(read: &Read<'_>, namespace: &Namespace, node: &Node) -> Result<Edges> {
    let mut edges = Edges::default();
    match &node.kind {
        Kind::Content => {
            let labels = read.gc_content_labels(namespace, &node.id)?.unwrap_or_default();
            edges.others.extend(references(&labels));
        }
        Kind::Snapshot(snapshotter) => {
            if let Some(row) = read.name(namespace, snapshotter, &node.id)? {
                let parent = (!row.parent.is_empty())
                    .then(|| Node::new(node.kind.clone(), row.parent.as_str()));
                edges.parent = parent;
                edges.others.extend(references(&row.labels));
            }
        }
        Kind::Image => {
            if let Some(image) = read.image(namespace, &node.id)? {
                edges.others.push(Node::content(image.target.digest.as_str()));
                edges.others.extend(references(&image.labels));
            }
        }
        Kind::Container => {
            if let Some(container) = read.container(namespace, &node.id)? {
                let snapshot = Node::snapshot(&container.snapshotter, container.snapshot_key);
                edges.others.push(snapshot);
                edges.others.extend(references(&container.labels));
            }
        }
        Kind::Ingest => {
            let expected = read.ingest(namespace, &node.id)?.and_then(|row| row.expected);
            edges.others.extend(expected.map(|digest| Node::content(digest.as_str())));
        }
        Kind::Sandbox => {
            if let Some(sandbox) = read.sandbox(namespace, &node.id)? {
                edges.others.extend(references(&sandbox.labels));
            }
        }
        Kind::Mount => {
            if let Some(row) = read.activation(namespace, &node.id)? {
                edges.others.extend(references(&row.labels));
            }
        }
    }
    Ok(edges)
}

/// Whether `containerd.io/gc.expire` is past. A value that is no time never expires: dropping what
/// somebody wanted kept is the worse mistake.
pub(super) fn is_expired(labels: &Labels, now: Timestamp) -> bool {
    match labels.get(GC_EXPIRE).map(|text| text.parse::<Timestamp>()) {
        Some(Ok(at)) => at <= now,
        Some(Err(error)) => {
            tracing::warn!(value = %labels[GC_EXPIRE], %error, "ignoring a malformed gc.expire label");
            false
        }
        None => false,
    }
}
