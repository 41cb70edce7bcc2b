//! The runtime of one host: what it was told, and the tasks it has a connection to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lamina_api::convert::any;
use lamina_core::event::EventSink;
use lamina_core::{Any, Error, Host, Namespace, Result, Scope, TaskService};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shim::{name, start};
use crate::task::Task;
use crate::tasks::Tasks;

/// What the runtime is told about its surroundings. It reads no environment by itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folders where shims are looked for, as `$PATH`; shims get it as theirs.
    pub path: OsString,
    /// The folder where a shim is looked for last: that of the daemon's program.
    pub beside: Option<PathBuf>,
    /// What lasts: `/var/lib/lamina`.
    pub root: PathBuf,
    /// What ends with this boot: `/run/lamina`. Bundles are in it.
    pub state: PathBuf,
    /// The daemon's gRPC socket. Shims derive their own socket's name from it, the namespace and the
    /// container, so it differs between hosts' states even where nobody listens on it.
    pub address: String,
    /// The socket that shims send events to; they cope with nobody listening there.
    pub ttrpc_address: String,
    /// A program with a verb `publish`, for shims that send events that way.
    pub publish_binary: PathBuf,
    /// Where shims make their sockets; their own choice (`/run/containerd/s`) when not given. Only
    /// shims of containerd 2.3 and later listen to it.
    pub socket_dir: Option<PathBuf>,
    /// The environment of shims, whole; what the protocol demands is added.
    pub env: Vec<(OsString, OsString)>,
    /// Lamina's version, for shims that ask.
    pub version: String,
    /// Whether shims are to tell more.
    pub debug: bool,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// A shim's program from its start to its answer.
    pub start: Duration,
    /// Reaching one shim again.
    pub load: Duration,
    /// Cleaning up after one shim.
    pub cleanup: Duration,
    /// A shim's end, when it was told to.
    pub shutdown: Duration,
    /// Asking for a task's state.
    pub state: Duration,
}

impl Default for Timeouts {
    /// containerd's values; `start` has no limit there, and a minute here.
    fn default() -> Self {
        Timeouts {
            start: Duration::from_secs(60),
            load: Duration::from_secs(5),
            cleanup: Duration::from_secs(5),
            shutdown: Duration::from_secs(3),
            state: Duration::from_secs(2),
        }
    }
}

/// The tasks of one host. Clones are the same runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    /// None where tasks are only reached.
    pub(crate) host: Option<Arc<dyn Host>>,
    pub(crate) events: Arc<dyn EventSink>,
    tasks: Mutex<BTreeMap<Key, Slot>>,
    /// Everything that runs on its own; `close` joins it.
    tracker: TaskTracker,
    pub(crate) closing: CancellationToken,
}

pub(crate) type Key = (Namespace, String);

#[derive(Debug)]
enum Slot {
    /// Being made or reached again; nobody else does meanwhile.
    Taken(Making),
    Ready(Arc<Task>),
}

impl Runtime {
    /// A runtime. It knows of no task until it is asked for one, or told to [`load`](Self::load).
    ///
    /// # Errors
    /// Internal when the state or root directory cannot be made.
    pub fn new(config: Config, host: Arc<dyn Host>, events: Arc<dyn EventSink>) -> Result<Runtime> {
        Runtime::on(config, Some(host), events)
    }

    /// A runtime for who does not hold the host's lock: it reaches tasks and makes none. Mounts of a
    /// task stay active, for who removes its container.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn without_host(config: Config, events: Arc<dyn EventSink>) -> Result<Runtime> {
        Runtime::on(config, None, events)
    }

    fn on(
        mut config: Config,
        host: Option<Arc<dyn Host>>,
        events: Arc<dyn EventSink>,
    ) -> Result<Runtime> {
        for place in [&mut config.root, &mut config.state] {
            // Mounts are known by their real paths.
            *place = std::fs::create_dir_all(&place).and_then(|()| place.canonicalize()).map_err(
                |error| Error::internal(format!("use {}", place.display())).with_source(error),
            )?;
        }
        Ok(Runtime {
            inner: Arc::new(Inner {
                config,
                host,
                events,
                tasks: Mutex::default(),
                tracker: TaskTracker::new(),
                closing: CancellationToken::new(),
            }),
        })
    }

    /// The tasks of a namespace. The lease of the scope is for the blobs of checkpoints.
    pub fn tasks(&self, scope: &Scope) -> Arc<dyn TaskService> {
        Arc::new(Tasks { runtime: self.inner.clone(), scope: scope.clone() })
    }

    /// What the shim of `runtime`, a name or an absolute path, says of itself when it is asked with the
    /// runtime's options: a `containerd.types.RuntimeInfo`.
    ///
    /// # Errors
    /// NotFound and InvalidArgument as for a task of that runtime; Unimplemented for shims that do not
    /// know the question; Internal for one that fails.
    pub async fn info(&self, runtime: &str, options: Option<&Any>) -> Result<Any> {
        let config = &self.inner.config;
        let shim = name::find(runtime, &config.path, config.beside.as_deref())?;
        let info = start::info(config, &shim, options).await?;
        Ok(any::decode(any::pack(&info)))
    }

    /// Ends everything that runs on its own here, after what was begun. Shims and containers live on.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
        self.inner.lock().clear();
    }
}

impl Inner {
    /// # Errors
    /// FailedPrecondition for [`Runtime::without_host`].
    pub(crate) fn host(&self) -> Result<&Arc<dyn Host>> {
        let none = || Error::failed_precondition("a runtime without a host makes no tasks");
        self.host.as_ref().ok_or_else(none)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Slot>> {
        // Nothing panics while it holds the lock, and a map is never half changed.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs to its end, even if the caller goes.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        // joined: here, or by `Runtime::close`
        let running = self.tracker.spawn(work);
        running.await.unwrap_or_else(|error| {
            Err(Error::internal("the work of a task broke off").with_source(error))
        })
    }

    /// Goes on by itself until it ends or `closing` tells it to.
    pub(crate) fn watch(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work); // joined: by `Runtime::close`
    }

    /// Reserves a task's name. What was reserved is given back by dropping it.
    ///
    /// # Errors
    /// AlreadyExists when there is such a task, or another is being made.
    pub(crate) fn reserve(self: &Arc<Self>, key: &Key) -> Result<Reserved> {
        self.reserve_or(key).map_err(|_| Error::already_exists(format!("task {:?}", key.1)))
    }

    /// Reserves a task's name, or answers who has it.
    pub(crate) fn reserve_or(self: &Arc<Self>, key: &Key) -> Result<Reserved, Holder> {
        use std::collections::btree_map::Entry;
        match self.lock().entry(key.clone()) {
            Entry::Occupied(slot) => Err(match slot.get() {
                Slot::Taken(making) => Holder::Busy(making.clone()),
                Slot::Ready(task) => Holder::Task(task.clone()),
            }),
            Entry::Vacant(slot) => {
                let making = Making::default();
                let Ok(open) = making.gate.clone().try_lock_owned() else {
                    return Err(Holder::Busy(making));
                };
                let given_up = making.given_up.clone();
                slot.insert(Slot::Taken(making));
                let (inner, key) = (self.clone(), key.clone());
                Ok(Reserved { inner, key, kept: false, given_up, _open: open })
            }
        }
    }

    /// Takes a task's name from it while what there is of it is taken away; nobody reaches the bundle again
    /// meanwhile, or makes another. None if it is not this one's.
    pub(crate) fn retire(self: &Arc<Self>, task: &Task) -> Option<Reserved> {
        let key = task.key();
        let making = Making::default();
        let open = making.gate.clone().try_lock_owned().ok()?;
        let given_up = making.given_up.clone();
        let mut tasks = self.lock();
        let known = match tasks.get(&key) {
            Some(Slot::Ready(known)) => Arc::as_ptr(known),
            _ => return None,
        };
        if !std::ptr::eq(known, task) {
            return None;
        }
        tasks.insert(key.clone(), Slot::Taken(making));
        drop(tasks);
        Some(Reserved { inner: self.clone(), key, kept: false, given_up, _open: open })
    }

    /// Forgets a task, if it is still this one.
    pub(crate) fn forget(&self, task: &Task) {
        let mut tasks = self.lock();
        let key = task.key();
        if let Some(Slot::Ready(known)) = tasks.get(&key)
            && std::ptr::eq(Arc::as_ptr(known), task)
        {
            tasks.remove(&key);
        }
    }

    /// Whether a task is with the shim at `address`.
    pub(crate) fn is_shared(&self, address: &str) -> bool {
        self.lock()
            .values()
            .any(|slot| matches!(slot, Slot::Ready(task) if task.client.address() == address))
    }
}

/// Who has a name.
#[derive(Debug)]
pub(crate) enum Holder {
    Task(Arc<Task>),
    Busy(Making),
}

/// A task that is being made or reached again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Making {
    gate: Arc<tokio::sync::Mutex<()>>,
    given_up: CancellationToken,
}

impl Making {
    /// Until the name is free again, or a task's.
    pub(crate) async fn done(&self) {
        drop(self.gate.lock().await);
    }

    /// Asks who makes it to undo it instead.
    pub(crate) fn give_up(&self) {
        self.given_up.cancel();
    }
}

/// A name that nobody else can make a task for.
#[derive(Debug)]
pub(crate) struct Reserved {
    inner: Arc<Inner>,
    key: Key,
    kept: bool,
    given_up: CancellationToken,
    _open: tokio::sync::OwnedMutexGuard<()>,
}

impl Reserved {
    /// Until somebody wants what is being made to be undone.
    pub(crate) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// The task is there.
    pub(crate) fn keep(mut self, task: Arc<Task>) {
        self.inner.lock().insert(self.key.clone(), Slot::Ready(task));
        self.kept = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.kept {
            self.inner.lock().remove(&self.key);
        }
    }
}
