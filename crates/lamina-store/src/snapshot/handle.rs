//! The engine as one namespace sees it: [`Snapshotter`] over blocking threads.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_core::snapshot::{CommitOptions, Info, Kind, Pages, Snapshotter, Usage};
use lamina_core::{Digest, Filters, Labels, Mount, Result, Scope};

use super::commit::{Commit, Layer};
use super::create::New;
use super::driver::{Place, Snapshot, SnapshotId, Target};
use super::engine::Engine;
use crate::blocking;
use crate::durability::Durability;

/// One snapshotter, seen from one namespace, making things for one lease. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    engine: Arc<Engine>,
    scope: Scope,
    durability: Durability,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.engine.name, self.scope.namespace)
    }
}

/// The calls as they are: synchronous, on the caller's thread. See [`Snapshotter`] for their rules.
impl Handle {
    pub(super) fn new(engine: Arc<Engine>, scope: Scope) -> Self {
        let durability = engine.options.durability;
        Handle { engine, scope, durability }
    }

    /// The same, with its own word on whether commits wait for the disk.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether its commits wait for the disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.durability == Durability::Full
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Whom it makes things for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// See [`Snapshotter::stat`].
    pub fn stat_now(&self, key: &str) -> Result<Info> {
        self.engine.stat(&self.scope, key)
    }

    /// See [`Snapshotter::mounts`].
    pub fn mounts_now(&self, key: &str) -> Result<Vec<Mount>> {
        self.engine.mounts(&self.scope, key)
    }

    /// See [`Snapshotter::prepare`].
    pub fn prepare_now(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        self.create(Kind::Active, key, parent, labels)
    }

    /// See [`Snapshotter::view`].
    pub fn view_now(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        self.create(Kind::View, key, parent, labels)
    }

    /// See [`Snapshotter::commit`].
    pub fn commit_now(&self, name: &str, key: &str, options: CommitOptions) -> Result<()> {
        self.commit(name, key, options, None)
    }

    /// Commits an active into which our own apply laid `layer` and nothing else: its chain ID is
    /// then known to be true, and other namespaces may share it.
    pub fn commit_layer_now(
        &self,
        name: &str,
        key: &str,
        options: CommitOptions,
        layer: Layer,
    ) -> Result<()> {
        self.commit(name, key, options, Some(layer))
    }

    /// See [`Snapshotter::remove`].
    pub fn remove_now(&self, key: &str) -> Result<()> {
        self.engine.remove(&self.scope, key)
    }

    /// Where a layer for the active `key` is laid, and the snapshot as its driver knows it.
    ///
    /// # Errors
    /// NotFound when absent, FailedPrecondition when it is not active.
    pub fn target_now(&self, key: &str, place: Place) -> Result<(Snapshot, Target)> {
        let engine = &self.engine;
        let name = engine.named(&self.scope, key)?;
        if name.kind != Kind::Active {
            return Err(lamina_core::Error::failed_precondition(format!(
                "snapshot {key:?} is {}, not active",
                name.kind.as_str()
            )));
        }
        let snapshot = engine.db.read(|r| engine.describe(r, &name))?;
        let target = engine.driver.target(&snapshot, place)?;
        Ok((snapshot, target))
    }

    /// Where the active `key` lies, with the trees below it as they will be once it is committed on
    /// `parent`.
    ///
    /// # Errors
    /// NotFound when either is absent.
    pub fn rebased_target_now(&self, key: &str, parent: &str) -> Result<Target> {
        let engine = &self.engine;
        let name = engine.named(&self.scope, key)?;
        let parent = engine.named(&self.scope, parent)?;
        let mut snapshot = engine.db.read(|r| engine.describe(r, &name))?;
        snapshot.parents = engine.stack(parent.id)?;
        engine.driver.target(&snapshot, Place::Above)
    }

    /// Whether the chain `chain` is here, or could be adopted just now; the lease then holds it.
    pub fn find_now(&self, chain: &Digest) -> Result<bool> {
        self.engine.find(&self.scope, chain)
    }

    /// The active `id`: its key, and its mounts. None when the namespace has no such active.
    ///
    /// # Errors
    /// Those of the database and of the driver.
    pub fn active_now(&self, id: SnapshotId) -> Result<Option<(String, Vec<Mount>)>> {
        let engine = &self.engine;
        let found = engine.db.read(|r| {
            let name = r.active_name(&self.scope.namespace, &engine.name, id)?;
            name.map(|name| Ok((engine.describe(r, &name)?, name.key))).transpose()
        })?;
        found.map(|(snapshot, key)| Ok((key, engine.driver.mounts(&snapshot)?))).transpose()
    }

    /// Remembers that our own apply laid `layer`, and nothing else, into the active `key`, which is
    /// `id`, for a commit by a client; or with no layer, that nobody knows what is in it.
    ///
    /// # Errors
    /// NotFound when `key` is not that active any more.
    pub fn record_layer_now(&self, key: &str, id: SnapshotId, layer: Option<Layer>) -> Result<()> {
        self.engine.record_layer(&self.scope, key, id, layer)
    }

    /// Gives this namespace the verified chain `chain` that another has; see [`Engine::adopt`].
    pub fn adopt_now(&self, chain: &Digest) -> Result<bool> {
        self.engine.adopt(&self.scope, chain)
    }

    fn create(&self, kind: Kind, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let (key, parent) = (key.to_owned(), parent.to_owned());
        let new = New { kind, key, parent, labels, durability: self.durability };
        self.engine.create(&self.scope, new)
    }

    fn commit(
        &self,
        name: &str,
        key: &str,
        options: CommitOptions,
        layer: Option<Layer>,
    ) -> Result<()> {
        let (name, key) = (name.to_owned(), key.to_owned());
        let commit = Commit { name, key, options, layer, durability: self.durability };
        self.engine.commit(&self.scope, commit)
    }
}

#[async_trait]
impl Snapshotter for Handle {
    async fn stat(&self, key: &str) -> Result<Info> {
        if self.engine.answers_at_once() {
            return self.stat_now(key);
        }
        let (this, key) = (self.clone(), key.to_owned());
        blocking::run(move || this.stat_now(&key)).await
    }

    async fn update(&self, info: Info, paths: &[String]) -> Result<Info> {
        let (this, paths) = (self.clone(), paths.to_vec());
        blocking::run(move || this.engine.update(&this.scope, &info, &paths)).await
    }

    async fn usage(&self, key: &str) -> Result<Usage> {
        let (this, key) = (self.clone(), key.to_owned());
        // A walk over a large tree ends soon after its caller left.
        let (_here, left) = blocking::presence();
        blocking::run(move || this.engine.usage(&this.scope, &key, &|| left.has_left())).await
    }

    async fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        if self.engine.answers_at_once() {
            return self.mounts_now(key);
        }
        let (this, key) = (self.clone(), key.to_owned());
        blocking::run(move || this.mounts_now(&key)).await
    }

    async fn prepare(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let (this, key, parent) = (self.clone(), key.to_owned(), parent.to_owned());
        blocking::run(move || this.prepare_now(&key, &parent, labels)).await
    }

    async fn view(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let (this, key, parent) = (self.clone(), key.to_owned(), parent.to_owned());
        blocking::run(move || this.view_now(&key, &parent, labels)).await
    }

    async fn commit(&self, name: &str, key: &str, options: CommitOptions) -> Result<()> {
        let (this, name, key) = (self.clone(), name.to_owned(), key.to_owned());
        blocking::run(move || this.commit_now(&name, &key, options)).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let (this, key) = (self.clone(), key.to_owned());
        blocking::run(move || this.remove_now(&key)).await
    }

    fn walk(&self, filters: Filters) -> Pages<'_, Info> {
        let this = self.clone();
        blocking::pages(Some(String::new()), move |after| {
            this.engine.walk_page(&this.scope, &filters, after)
        })
    }

    async fn cleanup(&self) -> Result<()> {
        let this = self.clone();
        blocking::run(move || this.engine.reap().map(drop)).await
    }

    async fn close(&self) -> Result<()> {
        // A handle holds nothing; the engine closes with its store.
        Ok(())
    }
}
