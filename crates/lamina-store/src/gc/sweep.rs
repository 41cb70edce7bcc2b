//! The sweep: drops unmarked rows, leaf first, in chunks short enough that writers hardly notice.
//!
//! Every chunk first marks again from the writer's log, in the transaction in which it deletes: a
//! thing that was made or newly referred to since the mark began is kept, with all it refers to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lamina_core::{Digest, Event, Namespace, Result};

use super::mark::{Graph, Marked, Reach};
use super::node::{Kind, Node};
use super::scan::{Scan, edges_now, is_expired};
use crate::db::{Db, Tx};
use crate::fault::Steps;
use crate::snapshot::registry::Engines;

/// What a sweep dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) blobs: usize,
    pub(super) snapshots: usize,
    pub(super) images: usize,
    pub(super) leases: usize,
    /// Ingests to be ended by the content store, unless somebody wants them again by then.
    pub(super) ingests: Vec<String>,
    /// Activations that are no longer listed, by name and id; their mounts are still there.
    pub(super) mounts: Vec<(String, u64)>,
    /// Snapshotters with new dead rows.
    pub(super) snapshotters: BTreeSet<String>,
}

/// How long a chunk may hold other writers up.
const CHUNK: Duration = Duration::from_millis(3);

/// Drops what `scan` found and `marked` does not contain.
pub(super) fn sweep(
    db: &Db,
    engines: &Arc<Engines>,
    steps: &Steps,
    namespace: &Namespace,
    scan: Scan,
    marked: Marked,
    now: Timestamp,
) -> Result<Swept> {
    let doomed: Arc<[Node]> =
        leaf_first(&scan.graph, scan.candidates.into_iter().filter(|n| !marked.contains(n))).into();
    let job = Arc::new(Job {
        namespace: namespace.clone(),
        engines: Arc::clone(engines),
        graph: scan.graph,
        marked: Mutex::new(marked),
        doomed,
        now,
    });
    let mut swept = Swept::default();
    let leases = Arc::new(scan.expired_leases);
    let expired = {
        let job = Arc::clone(&job);
        db.write(move |tx| job.drop_leases(tx, &leases))?
    };
    swept.leases = expired;
    let mut at = 0;
    while at < job.doomed.len() {
        steps.reach("gc.chunk")?;
        let task = Arc::clone(&job);
        let (next, chunk) = db.write(move |tx| task.chunk(tx, at))?;
        at = next;
        swept.add(chunk);
    }
    Ok(swept)
}

struct Job {
    namespace: Namespace,
    engines: Arc<Engines>,
    graph: Graph,
    marked: Mutex<Marked>,
    doomed: Arc<[Node]>,
    now: Timestamp,
}

impl Job {
    /// Deletes from `doomed[at]` on for as long as a chunk may last; returns where the next begins.
    fn chunk(&self, tx: &mut Tx<'_>, mut at: usize) -> Result<(usize, Swept)> {
        let began = Instant::now();
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let touched = tx.take_touched(&self.namespace)?;
        self.mark_again(tx, &mut marked, touched)?;
        let mut swept = Swept::default();
        while let Some(node) = self.doomed.get(at) {
            if !marked.contains(node) {
                self.drop_node(tx, node, &mut swept)?;
            }
            at += 1;
            if began.elapsed() > CHUNK {
                break;
            }
        }
        Ok((at, swept))
    }

    /// Marks everything that touched things keep: as their rows say now, and as the scan saw it.
    fn mark_again(&self, tx: &Tx<'_>, marked: &mut Marked, touched: Vec<Node>) -> Result<()> {
        // A touched thing that was marked before may refer to others than it did then.
        let mut next: Vec<(Node, bool)> = touched.into_iter().map(|node| (node, true)).collect();
        while let Some((node, anew)) = next.pop() {
            if !marked.add(&node, Reach::Full) && !anew {
                continue;
            }
            let edges = edges_now(tx, &self.namespace, &node)?;
            let seen = self.graph.edges.get(&node).into_iter();
            let seen = seen.flat_map(|edges| edges.parent.iter().chain(&edges.others)).cloned();
            let all = edges.parent.into_iter().chain(edges.others).chain(seen);
            next.extend(all.map(|node| (node, false)));
        }
        Ok(())
    }

    fn drop_node(&self, tx: &mut Tx<'_>, node: &Node, swept: &mut Swept) -> Result<()> {
        let space = &self.namespace;
        match &node.kind {
            Kind::Content => {
                let digest = Digest::parse(&node.id)?;
                if tx.remove_content(space, &digest)? {
                    tx.event(space, Event::ContentDelete { digest });
                    swept.blobs += 1;
                }
            }
            Kind::Snapshot(snapshotter) => {
                let Some(name) = tx.name(space, snapshotter, &node.id)? else { return Ok(()) };
                let pinned = self.engines.pins(snapshotter).is_pinned(name.id);
                if pinned || tx.name_has_child(space, snapshotter, &node.id)? {
                    return Ok(());
                }
                if tx.remove_name(space, snapshotter, &node.id)?.is_some() {
                    swept.snapshotters.insert(snapshotter.to_string());
                }
                let (key, snapshotter) = (node.id.to_string(), snapshotter.to_string());
                tx.event(space, Event::SnapshotRemove { key, snapshotter });
                swept.snapshots += 1;
            }
            Kind::Image => {
                let image = tx.image(space, &node.id)?;
                // Its label may have been renewed, which a touch of the row does not tell apart.
                if image.is_some_and(|image| is_expired(&image.labels, self.now)) {
                    tx.delete_image(space, &node.id)?;
                    tx.event(space, Event::ImageDelete { name: node.id.to_string() });
                    swept.images += 1;
                }
            }
            Kind::Ingest => swept.ingests.push(node.id.to_string()),
            Kind::Mount => {
                let Some(row) = tx.activation(space, &node.id)? else { return Ok(()) };
                tx.reopen_activation(space, &row.name)?;
                swept.mounts.push((row.name, row.id));
            }
            Kind::Container | Kind::Sandbox => {}
        }
        Ok(())
    }

    fn drop_leases(&self, tx: &mut Tx<'_>, ids: &[String]) -> Result<usize> {
        let mut dropped = 0;
        for lease in tx.leases(&self.namespace)? {
            if ids.contains(&lease.id) && is_expired(&lease.labels, self.now) {
                tx.delete_lease(&self.namespace, &lease.id)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

impl Swept {
    fn add(&mut self, more: Swept) {
        self.blobs += more.blobs;
        self.snapshots += more.snapshots;
        self.images += more.images;
        self.leases += more.leases;
        self.ingests.extend(more.ingests);
        self.mounts.extend(more.mounts);
        self.snapshotters.extend(more.snapshotters);
    }
}

/// Snapshots with the most below them come first, so that no parent goes before its child; other
/// things refer to each other in no way that the database would mind.
fn leaf_first(graph: &Graph, nodes: impl Iterator<Item = Node>) -> Vec<Node> {
    let mut depths: HashMap<&Node, usize> = HashMap::new();
    let nodes: Vec<Node> = nodes.collect();
    for node in &nodes {
        // Walk down to something known, then back up, so that long chains need no recursion.
        let mut path = Vec::new();
        let mut at = Some(node);
        while let Some(node) = at.filter(|node| !depths.contains_key(node)) {
            // A loop of parents cannot be made; if the rows have one, it ends here.
            if path.len() > graph.edges.len() + 1 {
                break;
            }
            path.push(node);
            at = graph.edges.get(node).and_then(|edges| edges.parent.as_ref());
        }
        let mut depth = at.and_then(|node| depths.get(node).copied()).unwrap_or(0);
        for node in path.into_iter().rev() {
            depth += 1;
            depths.insert(node, depth);
        }
    }
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&n| std::cmp::Reverse(depths.get(&nodes[n]).copied().unwrap_or(0)));
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    order.into_iter().filter_map(|n| nodes[n].take()).collect()
}
