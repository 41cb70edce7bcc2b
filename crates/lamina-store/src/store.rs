//! The store: everything one host keeps, opened by one owner at a time.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lamina_core::event::NoEvents;
use lamina_core::layer::LayerStore;
use lamina_core::mount::MountManager;
use lamina_core::{
    ContainerStore, ContentStore, Differ, Error, EventSink, Host, ImageStore, LeaseStore,
    NamespaceStore, Result, SandboxStore, Scope, Snapshotter,
};

use crate::content;
use crate::db::{self, Db};
use crate::diff::LocalDiffer;
use crate::diff::apply::Limits;
use crate::durability::Durability;
use crate::fault::Steps;
use crate::fsck::{self, FsckOptions, Report};
use crate::gc::{Collected, Collector};
use crate::io::failed;
use crate::mount::Mounter;
use crate::mount::manager::{Handlers, LoopHandler, Manager, ManagerOptions};
use crate::mount::temp::TempMounts;
use crate::records::{Containers, Images, Leases, Namespaces, Sandboxes};
use crate::snapshot::registry::Engines;
use crate::snapshot::remote::RemoteSource;
use crate::snapshot::{self, Engine, Handle, Source, State};
use crate::unpack::Layers;

/// How to open a store. There is no default: where things lie and whether they last is the caller's
/// to say.
#[derive(Clone, Debug)]
pub struct Options {
    /// What lasts: `/var/lib/lamina`.
    pub root: PathBuf,
    /// What ends with this boot: `/run/lamina`.
    pub state: PathBuf,
    /// Whether answered calls survive a power cut.
    pub durability: Durability,
    /// Whether namespaces share blobs and verified layers.
    pub sharing: content::Sharing,
    /// Bytes of the file system that writers of content and layers being unpacked leave free.
    pub reserve: u64,
    /// How much one layer may have. Its `free_bytes` count if they are more than `reserve`.
    pub limits: Limits,
    /// The snapshotters that may be opened.
    pub snapshotters: Vec<Source>,
    /// Snapshotters of other processes.
    pub remotes: Vec<RemoteSource>,
    /// How long to wait while another process owns the root.
    pub wait: Duration,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
    /// Who listens at the steps of operations.
    pub steps: Steps,
}

impl Options {
    /// A durable, sharing store with all of our snapshotters in their default configuration.
    pub fn new(root: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Options {
            root: root.into(),
            state: state.into(),
            durability: Durability::Full,
            sharing: content::Sharing::Shared,
            reserve: content::RESERVE,
            limits: Limits::default(),
            snapshotters: snapshot::drivers::all(&snapshot::drivers::Config::default()),
            remotes: Vec::new(),
            wait: Duration::ZERO,
            events: Arc::new(NoEvents),
            steps: Steps::none(),
        }
    }
}

/// Everything one host keeps. Clones are the same store; the last to go closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    options: Options,
    db: Db,
    content: content::Store,
    engines: Arc<Engines>,
    mounts: Manager,
    temp: TempMounts,
    collector: Arc<Collector>,
    /// Locked for as long as the store is open; last, so that it is let go last.
    _lock: File,
}

impl Store {
    /// Opens the store at `options.root`, made if it is missing, and drops what a crash left behind.
    ///
    /// # Errors
    /// Unavailable when another process owns the root; PermissionDenied or FailedPrecondition for a
    /// root that cannot be written; those of the database.
    pub fn open(options: Options) -> Result<Store> {
        Store::open_with(options, content::Store::open)
    }

    /// Checks a store that nobody has open: as [`fsck`](Self::fsck), but before a start takes lost
    /// blobs from who has them and drops what nobody owns among blobs and ingests. Without `repair`
    /// they stay as they are, so the next look finds them again. Snapshots that are lost keep their
    /// rows at every start.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and of [`fsck`](Self::fsck).
    pub fn examine(options: Options, look: FsckOptions) -> Result<Report> {
        let store = Store::open_with(options, content::Store::open_as_is)?;
        let report = store.fsck(look);
        // No daily copy: that of a damaged database must not push out a good one.
        if let Err(error) = store.0.engines.close().and(store.0.db.close()) {
            tracing::warn!(error = %error.chain(), "closing the store");
        }
        report
    }

    fn open_with(
        options: Options,
        open_content: impl FnOnce(&Path, Db, content::Options) -> Result<content::Store>,
    ) -> Result<Store> {
        make_private(&options.root, 0o700)?;
        make_private(&options.state, 0o711)?;
        let lock = own(&options.root, options.wait)?;
        let db = Db::open(
            &options.root.join("io.containerd.metadata.v1.sqlite"),
            db::Options {
                durability: options.durability,
                steps: options.steps.clone(),
                events: Arc::clone(&options.events),
            },
        )?;
        let temp = TempMounts::new(options.root.join("tmpmounts"));
        for (path, error) in temp.sweep()?.kept {
            tracing::warn!(path = %path.display(), error = %error.chain(),
                "a temporary mount of an earlier run stays");
        }
        let content = open_content(
            &options.root.join("io.containerd.content.v1.content"),
            db.clone(),
            content::Options {
                durability: options.durability,
                sharing: options.sharing,
                reserve: options.reserve,
                steps: options.steps.clone(),
            },
        )?;
        let engines = Arc::new(Engines::new(
            db.clone(),
            snapshot::Options {
                durability: options.durability,
                share: options.sharing == content::Sharing::Shared,
                sync_remove: false,
                steps: options.steps.clone(),
            },
            options.root.clone(),
            options.snapshotters.clone(),
            options.remotes.clone(),
        ));
        let mounts = Manager::open(db.clone(), manager_options(&options)?)?;
        let collector = Arc::new(Collector::new(
            db.clone(),
            Arc::clone(&engines),
            content.clone(),
            mounts.clone(),
            options.steps.clone(),
        ));
        Ok(Store(Arc::new(Inner {
            options,
            db,
            content,
            engines,
            mounts,
            temp,
            collector,
            _lock: lock,
        })))
    }

    /// How it was opened.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// An id that the store got when it was made and keeps.
    ///
    /// # Errors
    /// Those of the database.
    pub fn uuid(&self) -> Result<String> {
        if let Some(uuid) = self.0.db.read(|r| r.meta(UUID))? {
            return Ok(uuid);
        }
        let fresh = version_4(crate::random::bytes()?);
        self.0.db.write(move |tx| match tx.meta(UUID)? {
            Some(uuid) => Ok(uuid),
            None => tx.set_meta(UUID, &fresh).map(|()| fresh.clone()),
        })
    }

    /// The database's counters.
    pub fn database_stats(&self) -> db::Stats {
        self.0.db.stats()
    }

    /// The blobs and ingests that `scope` sees, as synchronous calls.
    pub fn content_now(&self, scope: &Scope) -> content::Handle {
        self.0.content.scoped(scope.clone())
    }

    /// Image records; with a `date`, those that are made or changed say they were then
    /// (`SOURCE_DATE_EPOCH`, <https://reproducible-builds.org/specs/source-date-epoch/>).
    pub fn images_at(&self, scope: &Scope, date: Option<Timestamp>) -> Images {
        let collector = Arc::clone(&self.0.collector);
        Images::new(self.0.db.clone(), scope.clone(), collector, date)
    }

    /// A snapshotter as `scope` sees it, with synchronous calls too.
    ///
    /// # Errors
    /// As [`Host::snapshotter`].
    pub fn snapshots(&self, scope: &Scope, name: &str) -> Result<Handle> {
        Ok(self.0.engines.get(name)?.scoped(scope.clone()))
    }

    /// [`snapshots`](Self::snapshots) without waiting: only if it is open.
    pub fn open_snapshots(&self, scope: &Scope, name: &str) -> Option<Handle> {
        Some(self.0.engines.open_already(name)?.scoped(scope.clone()))
    }

    /// The engine of a snapshotter.
    ///
    /// # Errors
    /// As [`Host::snapshotter`].
    pub fn engine(&self, name: &str) -> Result<Arc<Engine>> {
        self.0.engines.get(name)
    }

    /// Every snapshotter with whether it works here, and if not, why.
    pub fn snapshotters(&self) -> Vec<(String, State)> {
        self.0.engines.states()
    }

    /// Where a snapshotter keeps its files.
    pub fn snapshotter_root(&self, name: &str) -> PathBuf {
        self.0.engines.root_of(name)
    }

    /// Mounts that end with their guard, or at the next start.
    pub fn temp_mounts(&self) -> &TempMounts {
        &self.0.temp
    }

    /// Drops everything that nothing refers to.
    ///
    /// # Errors
    /// Those of the database; what cannot be freed now is reported in the answer.
    pub fn collect(&self) -> Result<Collected> {
        self.0.collector.collect()
    }

    /// Checks rows against disk, and with `repair` drops what nobody owns.
    ///
    /// # Errors
    /// Those of the database and of the disk, when they keep a check from being made at all.
    pub fn fsck(&self, options: FsckOptions) -> Result<Report> {
        fsck::run(self, options)
    }

    /// How much one layer may have.
    fn limits(&self) -> Limits {
        let Options { reserve, limits, .. } = &self.0.options;
        Limits { free_bytes: limits.free_bytes.max(*reserve), ..limits.clone() }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn blobs(&self) -> &content::Store {
        &self.0.content
    }

    /// Makes the daily copy of the database when it is due.
    ///
    /// # Errors
    /// ResourceExhausted for a full disk.
    pub fn backup_if_due(&self) -> Result<bool> {
        self.0.db.backup_if_due()
    }

    /// Closes the store: makes the daily copy of the database if it is due, stops its threads and
    /// hands unused ids back. Calls after it fail.
    ///
    /// # Errors
    /// The first of its parts'; all are closed nevertheless.
    pub fn close(&self) -> Result<()> {
        // A store that is opened for one command at a time has its daily copy too. Without room for
        // one, what was asked for was done all the same.
        if let Err(error) = self.backup_if_due() {
            tracing::warn!(error = %error.chain(), "no copy of the database was made today");
        }
        let engines = self.0.engines.close();
        engines.and(self.0.db.close())
    }
}

impl Host for Store {
    fn namespaces(&self) -> Arc<dyn NamespaceStore> {
        Arc::new(Namespaces::new(self.0.db.clone()))
    }

    fn content(&self, scope: &Scope) -> Arc<dyn ContentStore> {
        Arc::new(self.content_now(scope))
    }

    fn snapshotter(&self, scope: &Scope, name: &str) -> Result<Arc<dyn Snapshotter>> {
        Ok(Arc::new(self.snapshots(scope, name)?))
    }

    fn layers(&self, scope: &Scope, name: &str) -> Result<Arc<dyn LayerStore>> {
        let (snapshots, content) = (self.snapshots(scope, name)?, self.content_now(scope));
        Ok(Arc::new(Layers::new(snapshots, content, self.0.temp.clone(), self.limits())))
    }

    fn differ(&self, scope: &Scope) -> Arc<dyn Differ> {
        Arc::new(LocalDiffer {
            engines: Arc::clone(&self.0.engines),
            content: self.content_now(scope),
            temp: self.0.temp.clone(),
            manager: self.0.mounts.clone(),
            limits: self.limits(),
            steps: self.0.options.steps.clone(),
        })
    }

    fn images(&self, scope: &Scope) -> Arc<dyn ImageStore> {
        Arc::new(self.images_at(scope, None))
    }

    fn containers(&self, scope: &Scope) -> Arc<dyn ContainerStore> {
        Arc::new(Containers::new(self.0.db.clone(), scope.clone()))
    }

    fn sandboxes(&self, scope: &Scope) -> Arc<dyn SandboxStore> {
        Arc::new(Sandboxes::new(self.0.db.clone(), scope.clone()))
    }

    fn leases(&self, scope: &Scope) -> Arc<dyn LeaseStore> {
        let collector = Arc::clone(&self.0.collector);
        Arc::new(Leases::new(self.0.db.clone(), scope.clone(), collector))
    }

    fn mounts(&self, scope: &Scope) -> Arc<dyn MountManager> {
        self.0.mounts.scoped(scope)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store at {}", self.0.options.root.display())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.engines.close() {
            tracing::warn!(error = %error.chain(), "closing the snapshotters");
        }
    }
}

fn manager_options(options: &Options) -> Result<ManagerOptions> {
    let boot = lamina_sys::kernel::boot_id()
        .map_err(|e| Error::internal("read the id of this boot").with_source(e))?;
    Ok(ManagerOptions {
        targets: options.state.join("io.containerd.mount-manager.v1.bolt/t"),
        allowed: vec![options.root.clone()],
        handlers: Handlers::none().with("loop", Arc::new(LoopHandler)),
        mounter: Mounter::default(),
        boot,
        steps: options.steps.clone(),
    })
}

/// Row of `meta`.
const UUID: &str = "uuid";

/// Random bytes in the form of RFC 9562, version 4.
fn version_4(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = crate::random::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Makes a directory with exactly `mode`, whatever the umask, and corrects one that others could
/// enter (CVE-2024-25621).
fn make_private(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let failed = |what: &str, error| failed(format!("{what} {}", path.display()))(error);
    let built = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    built.map_err(|e| failed("make directory", e))?;
    let found = std::fs::metadata(path).map_err(|e| failed("look at", e))?.permissions().mode();
    if found & 0o777 != mode {
        let wanted = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, wanted).map_err(|e| failed("set the mode of", e))?;
    }
    Ok(())
}

/// Takes `<root>/lock`, waiting for at most `wait` while another process has it.
fn own(root: &Path, wait: Duration) -> Result<File> {
    let path = root.join("lock");
    let failed = |what: &str, error| failed(format!("{what} {}", path.display()))(error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| failed("open", e))?;
    let until = Instant::now() + wait;
    while !lamina_sys::fs::try_lock_exclusive(&file).map_err(|e| failed("lock", e.into()))? {
        if Instant::now() >= until {
            return Err(Error::unavailable(format!(
                "{} is in use by another process{}",
                root.display(),
                owner(&path)
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // For whoever finds the root locked; losing it does no harm.
    if let Err(error) = std::fs::write(&path, format!("{}\n", std::process::id())) {
        tracing::debug!(%error, "cannot note the owner in the lock file");
    }
    Ok(file)
}

fn owner(path: &Path) -> String {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => format!(" (pid {})", text.trim()),
        _ => String::new(),
    }
}
