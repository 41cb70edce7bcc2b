//! The collector: drops what nothing refers to (containerd's garbage collection).
//!
//! Roots are images that are not expired, containers, leases that are not expired with what they
//! hold, ingests under way, activations, and whatever has the label `containerd.io/gc.root`. A
//! namespace is collected at a time: `scan` reads it in pages, `mark` decides in memory, `sweep`
//! deletes in short transactions. Writers go on meanwhile; what they make or newly refer to is logged
//! by the database and marked before anything is deleted. Files follow outside of every lock.

use std::sync::Arc;

use jiff::Timestamp;
use lamina_core::{Namespace, Result, Scope};

use crate::content;
use crate::db::Db;
use crate::fault::Steps;
use crate::mount::manager::Manager;
use crate::rounds::Rounds;
use crate::snapshot::registry::Engines;

pub(crate) mod mark;
pub(crate) mod node;
mod scan;
mod sweep;
#[cfg(test)]
mod tests;

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that namespaces lost.
    pub blobs: usize,
    /// Snapshots that namespaces lost.
    pub snapshots: usize,
    /// Image records that expired.
    pub images: usize,
    /// Leases that expired.
    pub leases: usize,
    /// Ingests that were given up.
    pub ingests: usize,
    /// Activations that were undone.
    pub mounts: usize,
    /// What could not be freed now, and why; it is tried again.
    pub busy: Vec<String>,
}

/// Collects one host.
#[derive(Debug)]
pub(crate) struct Collector {
    db: Db,
    engines: Arc<Engines>,
    content: content::Store,
    mounts: Manager,
    steps: Steps,
    rounds: Rounds<(), Collected>,
}

impl Collector {
    pub(crate) fn new(
        db: Db,
        engines: Arc<Engines>,
        content: content::Store,
        mounts: Manager,
        steps: Steps,
    ) -> Self {
        Collector { db, engines, content, mounts, steps, rounds: Rounds::default() }
    }

    /// Collects everything that was garbage when this was called. Returns when its rows are gone and
    /// each removal of files was tried once. Callers that come while a collection runs share the
    /// next.
    ///
    /// # Errors
    /// Those of the database; what was done before stays done.
    pub(crate) fn collect(&self) -> Result<Collected> {
        self.rounds.join(|()| (), |()| self.round())
    }

    /// After a delete: with `sync`, what it set free is gone when this returns.
    pub(crate) fn after_delete(&self, sync: bool) -> Result<()> {
        if sync {
            self.collect()?;
        }
        Ok(())
    }

    fn round(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut snapshotters = std::collections::BTreeSet::new();
        for namespace in self.db.read(|r| r.gc_namespaces())? {
            let swept = self.namespace(&namespace)?;
            collected.blobs += swept.blobs;
            collected.snapshots += swept.snapshots;
            collected.images += swept.images;
            collected.leases += swept.leases;
            self.steps.reach("gc.swept")?;
            self.end_others(&namespace, &swept, &mut collected);
            snapshotters.extend(swept.snapshotters);
        }
        for name in snapshotters {
            self.reap(&name, &mut collected);
        }
        if let Err(error) = self.content.reap() {
            collected.busy.push(format!("blobs: {}", error.chain()));
        }
        Ok(collected)
    }

    fn namespace(&self, namespace: &Namespace) -> Result<sweep::Swept> {
        // Before the first page is read, or what changes between two pages would be lost.
        let space = namespace.clone();
        self.db.write(move |tx| tx.begin_marking(&space))?;
        self.steps.reach("gc.marking")?;
        let now = Timestamp::now();
        let swept = scan::Scan::read(&self.db, namespace, now).and_then(|scan| {
            let marked = scan.graph.mark();
            self.steps.reach("gc.marked")?;
            sweep::sweep(&self.db, &self.engines, &self.steps, namespace, scan, marked, now)
        });
        let space = namespace.clone();
        self.db.write(move |tx| tx.end_marking(&space))?;
        swept
    }

    /// Ends what is more than a row: failures are reported, as the rest goes on.
    fn end_others(&self, namespace: &Namespace, swept: &sweep::Swept, done: &mut Collected) {
        let scope = Scope::new(namespace.clone());
        for reference in &swept.ingests {
            match self.content.scoped(scope.clone()).give_up_now(reference) {
                Ok(given_up) => done.ingests += usize::from(given_up),
                Err(error) => done.busy.push(format!("ingest {reference:?}: {}", error.chain())),
            }
        }
        for (name, id) in &swept.mounts {
            match self.mounts.discard(namespace, name, *id) {
                Ok(discarded) => done.mounts += usize::from(discarded),
                Err(error) => done.busy.push(format!("mount {name:?}: {}", error.chain())),
            }
        }
    }

    fn reap(&self, name: &str, done: &mut Collected) {
        let reaped = self.engines.get(name).and_then(|engine| engine.reap());
        match reaped {
            Ok(reaped) => {
                let busy = reaped.busy.into_iter();
                done.busy.extend(busy.map(|(id, why)| format!("{name} snapshot {id}: {why}")));
            }
            Err(error) => done.busy.push(format!("{name}: {}", error.chain())),
        }
    }
}
