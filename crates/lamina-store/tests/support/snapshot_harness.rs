//! The contract suite's harness over a store of our own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use lamina_core::mount::{ActivateOptions, MountManager};
use lamina_core::snapshot::{Kind, Snapshotter};
use lamina_core::{Host, Kind as ErrorKind, Mount, Namespace, Scope};
use lamina_store::mount::{self, How};
use lamina_store::snapshot::Source;
use lamina_store::snapshot::drivers::{self, Config};
use lamina_store::{Options, Store};
use lamina_testkit::disk::{Disk, Mounted, scratch_image};
use lamina_testkit::pool::{Dataset, ThinPool, Zpool};
use lamina_testkit::suite::snapshots::{Facts, Harness, State};
use tempfile::TempDir;

use crate::fake_driver::{Behaviour, FakeDriver, MOUNT_TYPE};
use crate::proxy::{self, Proxy};

/// A fresh store, whose one snapshotter is under test.
pub(crate) struct StoreHarness {
    store: Store,
    name: &'static str,
    facts: Facts,
    mount_points: AtomicU32,
    /// Dropped after the store, whose threads wait for what it runs.
    behind: Option<(Proxy, tokio::runtime::Runtime, TempDir)>,
    // Dropped in this order: mounts first, the file system last.
    mounted: Mounted,
    _dir: Option<TempDir>,
    _scratch: Option<TempDir>,
    pool: Option<Pool>,
    _disk: Option<Disk>,
}

/// What some snapshotters live in.
enum Pool {
    Thin(ThinPool),
    Zfs(Dataset),
}

const PLAIN: Facts = Facts {
    rebase: false,
    mounts: true,
    renames_directories: true,
    usage_includes_parent: false,
    images: false,
    packs: false,
    layers: 128,
};

impl StoreHarness {
    /// With `overlayfs` for a test that mounts nothing.
    pub(crate) fn overlayfs_without_mounts(
        config: drivers::overlay::Config,
    ) -> Result<Self, String> {
        let config = Config { overlayfs: config, ..Config::default() };
        Ok(Self::open("overlayfs", PLAIN, drivers::all(&config), None))
    }

    /// With `overlayfs`, on the file system of temporary files, or on ext4 where that is an overlay
    /// itself.
    pub(crate) fn overlayfs(config: drivers::overlay::Config) -> Result<Self, String> {
        let facts = Facts { rebase: true, renames_directories: false, ..PLAIN };
        let config = Config { overlayfs: config, ..Config::default() };
        Self::privileged("overlayfs", facts, &config, not_on_overlay()?)
    }

    /// With `native`.
    pub(crate) fn native() -> Result<Self, String> {
        let facts = Facts { usage_includes_parent: true, layers: 24, ..PLAIN };
        Self::privileged("native", facts, &Config::default(), None)
    }

    /// With `btrfs`, on a disk of its own.
    pub(crate) fn btrfs() -> Result<Self, String> {
        let disk = Disk::new("btrfs", 512 << 20, &[])?;
        Self::privileged("btrfs", PLAIN, &Config::default(), Some(disk))
    }

    /// With one that makes copies in directories, as `native` does.
    pub(crate) fn of(sources: Vec<Source>, name: &'static str) -> Result<Self, String> {
        if !lamina_sys::kernel::is_root() {
            return Err("needs root".to_owned());
        }
        let facts = Facts { usage_includes_parent: true, ..PLAIN };
        Ok(Self::open(name, facts, sources, None))
    }

    /// With `blockfile`, on the file system of temporary files.
    pub(crate) fn blockfile() -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = scratch.path().join("empty.img");
        scratch_image(&image, 16 << 20)?;
        let mut config = Config::default();
        config.blockfile.scratch_file = Some(image);
        let facts = Facts { usage_includes_parent: true, images: true, layers: 24, ..PLAIN };
        let harness = Self::privileged("blockfile", facts, &config, None)?;
        Ok(StoreHarness { _scratch: Some(scratch), ..harness })
    }

    /// With `erofs`, where [`overlayfs`](Self::overlayfs) would be.
    pub(crate) fn erofs() -> Result<Self, String> {
        // Each layer is a mount of its own: a stack of n takes n * n / 2 of them.
        let facts =
            Facts { rebase: true, renames_directories: false, packs: true, layers: 32, ..PLAIN };
        let harness = Self::privileged("erofs", facts, &Config::default(), not_on_overlay()?)?;
        match harness.store.snapshotter(&Scope::new(Namespace::new("t").unwrap()), "erofs") {
            Err(error) if error.kind() == ErrorKind::InvalidArgument => Err(error.chain()),
            _ => Ok(harness),
        }
    }

    /// With `devmapper`, in a pool of its own.
    pub(crate) fn devmapper(fs_type: &str) -> Result<Self, String> {
        Self::devmapper_in(ThinPool::new(2 << 30)?, fs_type)
    }

    /// With `devmapper`, in a pool of that many bytes.
    pub(crate) fn devmapper_of(bytes: u64) -> Result<Self, String> {
        Self::devmapper_in(ThinPool::new(bytes)?, "ext4")
    }

    fn devmapper_in(pool: ThinPool, fs_type: &str) -> Result<Self, String> {
        let mut config = Config::default();
        config.devmapper.pool_name = pool.name().to_owned();
        config.devmapper.base_image_size =
            if fs_type == "xfs" { "320MB" } else { "64MB" }.to_owned();
        config.devmapper.fs_type = fs_type.to_owned();
        let facts = Facts { images: true, layers: 16, ..PLAIN };
        let harness = Self::privileged("devmapper", facts, &config, None)?;
        Ok(StoreHarness { pool: Some(Pool::Thin(pool)), ..harness })
    }

    /// With `zfs`, in the pool that there is for this process: a pool takes long to make.
    pub(crate) fn zfs() -> Result<Self, String> {
        static POOL: LazyLock<Result<Arc<Zpool>, String>> =
            LazyLock::new(|| Zpool::new(1 << 30).map(Arc::new));
        let dataset = Dataset::new(POOL.as_ref().map_err(Clone::clone)?)?;
        let mut config = Config::default();
        config.zfs.root_path = Some(dataset.path().to_owned());
        let facts = Facts { images: true, layers: 16, ..PLAIN };
        let harness = Self::privileged("zfs", facts, &config, None)?;
        Ok(StoreHarness { pool: Some(Pool::Zfs(dataset)), ..harness })
    }

    /// Whether there is one.
    pub(crate) fn has_thin_pool(&self) -> bool {
        matches!(&self.pool, Some(Pool::Thin(_)))
    }

    /// The thin pool below.
    pub(crate) fn thin_pool(&self) -> &ThinPool {
        match &self.pool {
            Some(Pool::Thin(pool)) => pool,
            _ => panic!("there is none"),
        }
    }

    /// With the fake, which needs no mounts.
    pub(crate) fn fake() -> Result<Self, String> {
        let facts = Facts { mounts: false, usage_includes_parent: true, layers: 24, ..PLAIN };
        let source = fake_source(Behaviour::default());
        Ok(Self::open("fake", facts, vec![source], None))
    }

    /// With a proxy, behind which is another store with the fake.
    pub(crate) fn remote() -> Result<Self, String> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut behind = Options::new(dir.path().join("root"), dir.path().join("state"));
        behind.snapshotters = vec![fake_source(Behaviour::default())];
        let proxy = Proxy::open(behind, "fake").map_err(|error| error.chain())?;
        let facts = Facts { mounts: false, usage_includes_parent: true, layers: 24, ..PLAIN };
        let mut harness = Self::open(proxy::NAME, facts, Vec::new(), None);
        let mut options = harness.store.options().clone();
        harness.store.close().map_err(|error| error.chain())?;
        options.root = options.root.join("again");
        options.remotes = vec![proxy.source(runtime.handle())];
        harness.store = Store::open(options).map_err(|error| error.chain())?;
        harness.behind = Some((proxy, runtime, dir));
        Ok(harness)
    }

    fn privileged(
        name: &'static str,
        facts: Facts,
        config: &Config,
        disk: Option<Disk>,
    ) -> Result<Self, String> {
        if !lamina_sys::kernel::is_root() {
            return Err("needs root".to_owned());
        }
        Ok(Self::open(name, facts, drivers::all(config), disk))
    }

    fn open(
        name: &'static str,
        facts: Facts,
        snapshotters: Vec<Source>,
        disk: Option<Disk>,
    ) -> Self {
        let dir = disk
            .is_none()
            .then(|| tempfile::Builder::new().prefix("lamina-contract-").tempdir().unwrap());
        let top = match (&disk, &dir) {
            (Some(disk), _) => disk.path(),
            (None, Some(dir)) => dir.path(),
            (None, None) => unreachable!("one of the two was made"),
        };
        let top = top.canonicalize().unwrap();
        let mut options = Options::new(top.join("root"), top.join("state"));
        options.snapshotters = snapshotters;
        let store = Store::open(options).unwrap_or_else(|error| panic!("{}", error.chain()));
        std::fs::create_dir(top.join("mnt")).unwrap();
        StoreHarness {
            store,
            name,
            facts,
            mount_points: AtomicU32::new(0),
            behind: None,
            mounted: Mounted(top.join("mnt")),
            _dir: dir,
            _scratch: None,
            pool: None,
            _disk: disk,
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn manager(&self) -> Arc<dyn MountManager> {
        self.store.mounts(&Scope::new(Namespace::new("testing").unwrap()))
    }

    /// What is left to mount when the mount manager has done its part.
    fn activated(&self, at: &Path, mounts: &[Mount]) -> Vec<Mount> {
        let name = at.display().to_string();
        match wait(self.manager().activate(&name, mounts, ActivateOptions::default())) {
            Ok(activation) => activation.system,
            Err(error) if error.kind() == ErrorKind::Unimplemented => mounts.to_vec(),
            Err(error) => panic!("{mounts:?}: {}", error.chain()),
        }
    }

    /// Where the snapshotter keeps its files.
    pub(crate) fn root(&self) -> PathBuf {
        self.store.snapshotter_root(self.name)
    }
}

/// A disk, where the file system of temporary files is an overlay, on which there can be no other.
fn not_on_overlay() -> Result<Option<Disk>, String> {
    let overlay = lamina_sys::fs::space::magic::OVERLAY;
    let nested =
        lamina_sys::fs::fs_info_of(std::env::temp_dir()).is_ok_and(|info| info.magic == overlay);
    if nested { Disk::new("ext4", 512 << 20, &[]).map(Some) } else { Ok(None) }
}

/// How to open a store in `dir` whose one snapshotter is the fake.
pub(crate) fn fake_options(dir: &Path) -> Options {
    let mut options = Options::new(dir.join("root"), dir.join("state"));
    options.snapshotters = vec![fake_source(Behaviour::default())];
    options
}

fn fake_source(behaviour: Behaviour) -> Source {
    Source {
        name: "fake".to_owned(),
        root: None,
        sync_remove: false,
        open: Arc::new(move |root| Ok(FakeDriver::open(root, behaviour)?)),
    }
}

impl Harness for StoreHarness {
    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        let scope = Scope::new(Namespace::new("testing").unwrap());
        self.store.snapshotter(&scope, self.name).unwrap_or_else(|e| panic!("{}", e.chain()))
    }

    fn facts(&self) -> Facts {
        self.facts
    }

    fn attach(&self, mounts: &[Mount]) -> PathBuf {
        if let [Mount { kind, source, .. }] = mounts
            && kind == MOUNT_TYPE
        {
            return PathBuf::from(source);
        }
        let number = self.mount_points.fetch_add(1, Ordering::Relaxed);
        let at = self.mounted.0.join(number.to_string());
        std::fs::create_dir(&at).unwrap();
        let mounts = self.activated(&at, mounts);
        mount::all(&mounts, &at).unwrap_or_else(|error| panic!("{mounts:?}: {}", error.chain()));
        at
    }

    fn detach(&self, at: &Path) {
        if at.starts_with(&self.mounted.0) {
            mount::unmount_all(at, How::Plain).unwrap_or_else(|e| panic!("{}", e.chain()));
            // Not recursive: what is mounted still must not be deleted.
            std::fs::remove_dir(at).unwrap();
            match wait(self.manager().deactivate(&at.display().to_string())) {
                Err(error) if !error.is_not_found() => panic!("{}", error.chain()),
                _ => {}
            }
        }
    }

    fn mount_list(&self, state: &State) -> Option<Vec<Mount>> {
        let dir = |id: &u64| format!("{}/snapshots/{id}", self.root().display());
        let layer = |id: &u64| format!("{}/fs", dir(id));
        let ro = state.kind == Kind::View;
        let access = if ro { "ro" } else { "rw" };
        match self.name {
            "native" => {
                let shown = state.parents.first().filter(|_| ro).unwrap_or(&state.id);
                Some(vec![Mount::new("bind", dir(shown), ["rbind", access])])
            }
            "blockfile" => {
                let shown = state.parents.first().filter(|_| ro).unwrap_or(&state.id);
                Some(vec![Mount::new("ext4", dir(shown), ["loop", access])])
            }
            "overlayfs" => Some(match state.parents.as_slice() {
                [] => vec![Mount::new("bind", layer(&state.id), [access, "rbind"])],
                [parent] if ro => vec![Mount::new("bind", layer(parent), [access, "rbind"])],
                parents => {
                    let mut options = Vec::new();
                    if !ro {
                        options.push(format!("workdir={}/work", dir(&state.id)));
                        options.push(format!("upperdir={}", layer(&state.id)));
                    }
                    let lowers: Vec<_> = parents.iter().map(layer).collect();
                    options.push(format!("lowerdir={}", lowers.join(":")));
                    if Path::new("/sys/module/overlay/parameters/index").exists() {
                        options.push("index=off".to_owned());
                    }
                    vec![Mount::new("overlay", "overlay", options)]
                }
            }),
            "erofs" => {
                let image = |id: &u64| {
                    Mount::new("erofs", format!("{}/layer.erofs", dir(id)), ["ro", "loop"])
                };
                Some(match state.parents.as_slice() {
                    [] => vec![Mount::new("bind", layer(&state.id), [access, "rbind"])],
                    [parent] if ro => vec![image(parent)],
                    parents => {
                        let mut options = Vec::new();
                        if !ro {
                            options.push(format!("workdir={}/work", dir(&state.id)));
                            options.push(format!("upperdir={}", layer(&state.id)));
                        }
                        options.push(match parents.len() {
                            1 => "lowerdir={{ mount 0 }}".to_owned(),
                            many => format!("lowerdir={{{{ overlay 0 {} }}}}", many - 1),
                        });
                        if Path::new("/sys/module/overlay/parameters/index").exists() {
                            options.push("index=off".to_owned());
                        }
                        let overlay = Mount::new("format/mkdir/overlay", "overlay", options);
                        parents.iter().map(image).chain([overlay]).collect()
                    }
                })
            }
            // The options are the subvolume's id, and `ro` for a view.
            "btrfs" => {
                let place = if ro { "view" } else { "active" };
                let subvolume = format!("{}/{place}/{}", self.root().display(), state.id);
                let id =
                    lamina_sys::btrfs::subvolume_id(lamina_sys::fs::open_dir(subvolume).unwrap());
                let mut options = vec![format!("subvolid={}", id.unwrap())];
                options.extend(ro.then(|| "ro".to_owned()));
                let table = lamina_sys::mountinfo::read().unwrap();
                let entry = lamina_sys::mountinfo::find(&table, &self.root()).unwrap();
                Some(vec![Mount::new("btrfs", entry.source.to_str().unwrap(), options)])
            }
            "devmapper" => {
                let node = format!("/dev/mapper/{}-snap-{}", self.thin_pool().name(), state.id);
                Some(vec![Mount::new("ext4", node, ro.then_some("ro"))])
            }
            "zfs" => {
                let Some(Pool::Zfs(dataset)) = &self.pool else { return None };
                let dataset = format!("{}/{}", dataset.name(), state.id);
                Some(vec![Mount::new("zfs", dataset, ro.then_some("ro"))])
            }
            _ => None,
        }
    }
}

/// The mount manager's answer; the suite calls from no runtime.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}
