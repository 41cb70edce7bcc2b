//! The snapshotters of a host by name, opened when they are first asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lamina_core::{Error, Kind, Result};

use super::driver::{Driver, OpenError, SnapshotId};
use super::engine::{Engine, Options};
use super::locks::{Pins, lock};
use super::remote::{Remote, RemoteSource};
use crate::db::Db;

/// Opens one back end below its root directory.
pub type Opener =
    Arc<dyn Fn(&Path) -> std::result::Result<Arc<dyn Driver>, OpenError> + Send + Sync>;

/// A snapshotter that a store may open.
#[derive(Clone)]
pub struct Source {
    /// Its name, as clients choose it.
    pub name: String,
    /// Where it keeps its files; by default `<root>/io.containerd.snapshotter.v1.<name>`.
    pub root: Option<PathBuf>,
    /// Whether `remove` returns only when the files were tried.
    pub sync_remove: bool,
    /// Opens it.
    pub open: Opener,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("root", &self.root).finish()
    }
}

/// What became of opening a snapshotter, as `plugins ls` shows it.
#[derive(Clone, Debug)]
pub enum State {
    /// It works.
    Ready(Arc<Engine>),
    /// It is not for this host, and why.
    Skipped(String),
    /// It should work and does not, and why.
    Failed(Kind, String),
}

/// The snapshotters of a host.
#[derive(Debug)]
pub(crate) struct Engines {
    db: Db,
    options: Options,
    root: PathBuf,
    sources: Vec<Source>,
    remotes: Vec<RemoteSource>,
    /// Pins outlive the question whether an engine is open: the collector asks for them by name.
    pins: BTreeMap<String, Pins>,
    opened: Mutex<BTreeMap<String, State>>,
}

impl Engines {
    pub(crate) fn new(
        db: Db,
        options: Options,
        root: PathBuf,
        sources: Vec<Source>,
        remotes: Vec<RemoteSource>,
    ) -> Self {
        let names = sources.iter().map(|s| &s.name).chain(remotes.iter().map(|r| &r.name));
        let pins = names.map(|name| (name.clone(), Pins::default())).collect();
        Engines { db, options, root, sources, remotes, pins, opened: Mutex::default() }
    }

    /// The snapshotter `name`, opened if it is not.
    ///
    /// # Errors
    /// InvalidArgument for an empty or unknown name and for one that does not work here, with why.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Engine>> {
        if name.is_empty() {
            return Err(Error::invalid_argument("snapshotter argument missing"));
        }
        match self.state(name) {
            None => Err(Error::invalid_argument(format!("snapshotter not loaded: {name}"))),
            Some(State::Ready(engine)) => Ok(engine),
            Some(State::Skipped(why)) => {
                Err(Error::invalid_argument(format!("snapshotter not loaded: {name}: {why}")))
            }
            Some(State::Failed(kind, why)) => {
                Err(Error::new(kind, format!("snapshotter {name} does not work: {why}")))
            }
        }
    }

    /// The snapshotter `name` if it is open: opening takes its time.
    pub(crate) fn open_already(&self, name: &str) -> Option<Arc<Engine>> {
        match self.opened.try_lock().ok()?.get(name)? {
            State::Ready(engine) => Some(Arc::clone(engine)),
            State::Skipped(_) | State::Failed(..) => None,
        }
    }

    /// What is under way upon the snapshots of `name`.
    pub(crate) fn pins(&self, name: &str) -> Pins {
        self.pins.get(name).cloned().unwrap_or_default()
    }

    /// Every snapshotter with what became of it, opened if it is not.
    pub(crate) fn states(&self) -> Vec<(String, State)> {
        let names = self.sources.iter().map(|source| &source.name);
        let names = names.chain(self.remotes.iter().map(|remote| &remote.name));
        names.filter_map(|name| Some((name.clone(), self.state(name)?))).collect()
    }

    /// Where a snapshotter keeps its files.
    pub(crate) fn root_of(&self, name: &str) -> PathBuf {
        let source = self.sources.iter().find(|source| source.name == name);
        source
            .and_then(|source| source.root.clone())
            .unwrap_or_else(|| self.root.join(format!("io.containerd.snapshotter.v1.{name}")))
    }

    /// The snapshotter in whose directory `path` lies, or that has a device or dataset of this name,
    /// and the snapshot that it belongs to.
    pub(crate) fn owner(&self, path: &Path) -> Option<(Arc<Engine>, SnapshotId)> {
        let found = self.sources.iter().find_map(|source| {
            let below = path.strip_prefix(self.root_of(&source.name).join("snapshots")).ok()?;
            let id = below.components().next()?.as_os_str().to_str()?.parse().ok()?;
            Some((self.get(&source.name).ok()?, SnapshotId(id)))
        });
        // Whoever has mounts of such a snapshot had it opened.
        found.or_else(|| {
            lock(&self.opened).values().find_map(|state| match state {
                State::Ready(engine) => Some((engine.clone(), engine.driver().owner(path)?)),
                _ => None,
            })
        })
    }

    /// Closes what was opened.
    ///
    /// # Errors
    /// The first of the database; all are closed nevertheless.
    pub(crate) fn close(&self) -> Result<()> {
        let opened = std::mem::take(&mut *lock(&self.opened));
        let mut result = Ok(());
        for state in opened.into_values() {
            if let State::Ready(engine) = state {
                result = result.and(engine.close());
            }
        }
        result
    }

    /// Opening is done under the lock: it recovers, and must not be done twice side by side.
    fn state(&self, name: &str) -> Option<State> {
        // A proxy does not take the place of what is built in.
        let source = self.sources.iter().find(|source| source.name == name);
        let remote = self.remotes.iter().find(|remote| remote.name == name);
        let mut opened = lock(&self.opened);
        if let Some(state) = opened.get(name) {
            return Some(state.clone());
        }
        let state = match (source, remote) {
            (Some(source), _) => self.open(source),
            (None, Some(remote)) => self.open_remote(remote),
            (None, None) => return None,
        };
        if let State::Failed(_, why) = &state {
            tracing::warn!(snapshotter = %name, why, "snapshotter does not work");
        }
        // What failed may work later (a full disk); what was skipped stays so for this process.
        if !matches!(state, State::Failed(..)) {
            opened.insert(name.to_owned(), state.clone());
        }
        Some(state)
    }

    fn open_remote(&self, source: &RemoteSource) -> State {
        let remote = Arc::new(Remote::new(source.clone(), self.db.clone()));
        let (pins, options) = (self.pins(&source.name), self.options.clone());
        Engine::open_remote(remote, self.db.clone(), pins, options)
            .map_or_else(|error| State::Failed(error.kind(), error.chain()), State::Ready)
    }

    fn open(&self, source: &Source) -> State {
        let failed = |error: Error| State::Failed(error.kind(), error.chain());
        match (source.open)(&self.root_of(&source.name)) {
            Err(OpenError::Skip(why)) => State::Skipped(why),
            Err(OpenError::Failed(error)) => failed(error),
            Ok(driver) => {
                let options = Options { sync_remove: source.sync_remove, ..self.options.clone() };
                let pins = self.pins(&source.name);
                Engine::open(&source.name, driver, self.db.clone(), pins, options)
                    .map_or_else(failed, State::Ready)
            }
        }
    }
}
