//! The engine: the life cycle of snapshots, once, for every local back end.
//!
//! It owns the rows and the order in which rows and files change; a [`Driver`] knows how a tree is
//! kept. The order is such that a crash anywhere leaves either nothing, or files that no row names,
//! which the next [`Engine::open`] drops. A live row never names missing files.
//!
//! - create: key held, parent pinned → stage → publish under a fresh id → entry durable → row
//! - commit: key and name held → seal → data durable → row → settle
//! - remove: row dead, name gone, in one transaction → files → row
//!
//! Every mutating function runs to its end on the caller's thread.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_core::lease::ResourceType;
use lamina_core::{Result, Scope, labels};

use super::barrier::Barrier;
use super::driver::{Driver, Snapshot, SnapshotId, Stage};
use super::handle::Handle;
use super::ids::Ids;
use super::locks::{KeyLocks, Pins};
use super::reaper::{Reaped, Reaper};
use super::remote::Remote;
use crate::db::names::NameRow;
use crate::db::{Db, Read};
use crate::durability::Durability;
use crate::fault::Steps;

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether commits wait for the disk when the caller does not say.
    pub durability: Durability,
    /// Whether a namespace gets verified layers of another without fetching them.
    pub share: bool,
    /// Whether `remove` returns only when the files were tried.
    pub sync_remove: bool,
    /// Who listens at the steps.
    pub steps: Steps,
}

/// One snapshotter: a driver, its rows, and what is under way.
#[derive(Debug)]
pub struct Engine {
    pub(super) name: Arc<str>,
    pub(super) driver: Arc<dyn Driver>,
    /// The driver once more, when it is a proxy.
    pub(super) remote: Option<Arc<Remote>>,
    pub(super) db: Db,
    pub(super) options: Options,
    pub(super) ids: Ids,
    pub(super) keys: Arc<KeyLocks>,
    pub(super) pins: Pins,
    pub(super) barrier: Barrier,
    pub(super) reaper: Reaper,
    stages: AtomicU64,
}

impl Engine {
    /// Opens the snapshotter `name`: first drops what a crash left behind, so that what is on disk
    /// is what rows name. `pins` is shared with the collector.
    ///
    /// # Errors
    /// Those of the database, and the driver's for a root that it cannot read.
    pub(crate) fn open(
        name: &str,
        driver: Arc<dyn Driver>,
        db: Db,
        pins: Pins,
        options: Options,
    ) -> Result<Arc<Engine>> {
        Engine::open_any(name, driver, None, db, pins, options)
    }

    /// [`open`](Self::open) for a proxy, which is not asked anything yet.
    pub(crate) fn open_remote(
        remote: Arc<Remote>,
        db: Db,
        pins: Pins,
        options: Options,
    ) -> Result<Arc<Engine>> {
        let driver: Arc<dyn Driver> = remote.clone();
        Engine::open_any(remote.name(), driver, Some(Arc::clone(&remote)), db, pins, options)
    }

    fn open_any(
        name: &str,
        driver: Arc<dyn Driver>,
        remote: Option<Arc<Remote>>,
        db: Db,
        pins: Pins,
        options: Options,
    ) -> Result<Arc<Engine>> {
        recover(name, &*driver, &db)?;
        // Dead rows of a proxy may be calls that have begun, which are pinned.
        let making = remote.is_some().then(|| pins.clone());
        let steps = options.steps.clone();
        let reaper = Reaper::start(name, Arc::clone(&driver), making, db.clone(), steps)?;
        let engine = Engine {
            remote,
            name: name.into(),
            barrier: Barrier::new(Arc::clone(&driver)),
            driver,
            ids: Ids::open(&db, name)?,
            db,
            options,
            keys: Arc::default(),
            pins,
            reaper,
            stages: AtomicU64::new(0),
        };
        engine.reaper.kick();
        Ok(Arc::new(engine))
    }

    /// The snapshotter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The back end.
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// The proxy behind it, if it is one.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_deref()
    }

    /// Whether our own apply can lay a layer down before the one below it is committed. A proxy that
    /// can rebase says nothing of how deletions are to be written.
    pub(crate) fn stages_apart(&self) -> bool {
        self.remote.is_none() && self.driver.capabilities().rebase
    }

    /// Whether a look at one row, and what the driver makes of it, is done sooner than a blocking thread
    /// is woken. A proxy may take its time.
    pub(super) fn answers_at_once(&self) -> bool {
        self.remote.is_none()
    }

    /// Has what was written so far go to disk, so that the next commit waits for little.
    pub(crate) fn write_back(&self) {
        self.barrier.write_back();
    }

    /// How often its back end was made to flush, each time for all who waited.
    pub fn flushes(&self) -> u64 {
        self.barrier.flushes()
    }

    /// The snapshotter as `scope` sees it.
    pub fn scoped(self: &Arc<Self>, scope: Scope) -> Handle {
        Handle::new(Arc::clone(self), scope)
    }

    /// Tries the files of every dead row once, and empties the trash.
    ///
    /// # Errors
    /// Those of the database, and a proxy's that cannot clean up. A driver's refusal is counted in the
    /// answer, and tried again later.
    pub fn reap(&self) -> Result<Reaped> {
        let reaped = self.reaper.pass()?;
        self.remote.as_ref().map_or(Ok(()), |remote| remote.clean_up())?;
        Ok(reaped)
    }

    /// Lets the reaper know that rows turned dead.
    pub(crate) fn kick(&self) {
        self.reaper.kick();
    }

    /// Stops the reaper and hands unused ids back. Nothing may be created after it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn close(&self) -> Result<()> {
        self.reaper.stop();
        self.ids.hand_back(&self.db)
    }

    /// Whether the files at `id` are those of a create under way, which has no row yet.
    pub(crate) fn is_being_made(&self, id: SnapshotId) -> bool {
        self.pins.is_pinned(id)
    }

    pub(super) fn fresh_stage(&self) -> Stage {
        Stage { name: format!("new-{}", self.stages.fetch_add(1, Ordering::Relaxed)) }
    }

    pub(super) fn resource(&self) -> ResourceType {
        ResourceType::Snapshot(self.name.to_string())
    }

    /// The snapshot behind a name, as the driver is told of it.
    pub(super) fn describe(&self, read: &Read<'_>, name: &NameRow) -> Result<Snapshot> {
        let parents = read.ancestors(&self.name, name.id)?.iter().map(|row| row.id).collect();
        Ok(Snapshot {
            id: name.id,
            kind: name.kind,
            parents,
            labels: labels::inherited(&name.labels),
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.reaper.stop();
    }
}

/// Ids per read while all of them are read.
const IDS: usize = 10_000;

/// Drops what no row names and settles what a crash left unsettled.
fn recover(name: &str, driver: &dyn Driver, db: &Db) -> Result<()> {
    // Dead rows own their files still; the reaper removes them in an order that suits the driver.
    let mut live = Vec::new();
    loop {
        let after = live.last().copied().unwrap_or(SnapshotId(0));
        let page = db.read(|r| r.snapshot_ids(name, after, IDS))?;
        if page.is_empty() {
            break;
        }
        live.extend(page);
    }
    // In order, which makes the set in one go.
    let live: BTreeSet<SnapshotId> = live.into_iter().collect();
    let allocated = db.read(|r| r.next_snapshot_id(name))?;
    driver.recover(&live, allocated)?;
    for id in db.read(|r| r.unsettled(name))? {
        let snapshot = db.read(|r| {
            let parents = r.ancestors(name, id)?.iter().map(|row| row.id).collect();
            Ok(Snapshot {
                id,
                kind: lamina_core::snapshot::Kind::Committed,
                parents,
                labels: Default::default(),
            })
        })?;
        driver.settle(&snapshot)?;
        let name = name.to_owned();
        db.write(move |tx| tx.mark_settled(&name, id))?;
    }
    Ok(())
}
