//! A back end that does to the engine whatever a driver may do.
//!
//! It cannot rebase and cannot list its ids; their names on disk do not tell them. A removal is busy
//! twice before it works, and after a power cut a removed id may be back. Sealing is slow, and a
//! committed snapshot must be settled. It has a disk of its own below what processes see: only what
//! was flushed is on it, and [`power_cut`] leaves nothing else.
//!
//! ```text
//! <root>/now/<name>    what processes see: snapshots and stages
//! <root>/disk/<name>   what a power cut leaves of it
//! <root>/open/<name>   empty: not settled yet
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};
use lamina_store::snapshot::driver::{
    Capabilities, Driver, Place, Removed, Snapshot, SnapshotId, Stage, Target, Whiteouts,
};
use lamina_sys::tree::{self, XattrErrors};
use lamina_sys::{SysError, fs};

/// How hostile it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// How often a removal is busy before it works.
    pub(crate) busy: u32,
    /// How long a seal takes.
    pub(crate) seal: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour { busy: 2, seal: Duration::from_millis(5) }
    }
}

/// The back end.
#[derive(Debug)]
pub(crate) struct FakeDriver {
    root: PathBuf,
    behaviour: Behaviour,
    /// How often each id was asked to go. Also the lock of `disk/`.
    asked: Mutex<BTreeMap<SnapshotId, u32>>,
}

impl FakeDriver {
    /// Opens it at `root`, making what is missing.
    pub(crate) fn open(root: &Path, behaviour: Behaviour) -> Result<Arc<FakeDriver>> {
        for dir in ["now", "disk", "open"] {
            std::fs::create_dir_all(root.join(dir))
                .map_err(|error| Error::internal("make the fake's root").with_source(error))?;
        }
        Ok(Arc::new(FakeDriver { root: root.to_owned(), behaviour, asked: Mutex::default() }))
    }

    fn now(&self, name: &str) -> PathBuf {
        self.root.join("now").join(name)
    }

    fn dir(&self, dir: &str) -> Result<std::os::fd::OwnedFd> {
        fs::open_dir(self.root.join(dir)).map_err(|error| failed(error, "open the fake"))
    }

    fn drop_tree(&self, dir: &str, name: &str) -> Result<bool> {
        tree::remove_tree(self.dir(dir)?, name).map_err(|error| failed(error, "remove"))
    }

    /// Writes what is now in a tree to the disk. The old copy is there until the new one is whole.
    fn write_out(&self, id: SnapshotId) -> Result<()> {
        let (name, fresh) = (scrambled(id), format!("{}.new", scrambled(id)));
        self.drop_tree("disk", &fresh)?;
        copy(&self.now(&name), &self.root.join("disk").join(&fresh))?;
        self.drop_tree("disk", &name)?;
        let disk = self.dir("disk")?;
        fs::rename(&disk, &fresh, &disk, &name).map_err(|error| failed(error, "rename"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SnapshotId, u32>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, id: SnapshotId, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        let dir = fs::open_dir(self.now(&scrambled(id))).map_err(|e| failed(e, "open"))?;
        let used =
            tree::usage(dir, &mut || cancelled()).map_err(|error| failed(error, "measure"))?;
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Ok(Usage { inodes: number(used.inodes), size: number(used.size) })
    }
}

/// What lies at `root` after a power cut: all that was not flushed is lost, and all that was removed
/// since may be back. Nothing may have it open.
pub(crate) fn power_cut(root: &Path) -> Result<()> {
    let top = fs::open_dir(root).map_err(|error| failed(error, "open the fake"))?;
    tree::remove_tree(&top, "now").map_err(|error| failed(error, "lose"))?;
    copy(&root.join("disk"), &root.join("now"))
}

impl Driver for FakeDriver {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        let staged = self.now(&stage.name);
        match snapshot.parents.first() {
            Some(parent) => copy(&self.now(&scrambled(*parent)), &staged)?,
            None => make(&staged)?,
        }
        std::fs::write(self.root.join("open").join(scrambled(snapshot.id)), "")
            .map_err(|error| Error::internal("mark as open").with_source(error))
    }

    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        let name = scrambled(snapshot.id);
        self.drop_tree("now", &name)?;
        let now = self.dir("now")?;
        fs::rename(&now, &stage.name, &now, &name).map_err(|error| failed(error, "publish"))
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        self.drop_tree("now", &stage.name).map(drop)
    }

    fn flush(&self, created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()> {
        let _disk = self.lock();
        created.iter().chain(sealed).try_for_each(|id| self.write_out(*id))
    }

    fn target(&self, snapshot: &Snapshot, _place: Place) -> Result<Target> {
        let path = self.now(&scrambled(snapshot.id));
        Ok(Target::Dir { path, whiteouts: Whiteouts::Delete, lowers: Vec::new() })
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let access = if snapshot.kind == Kind::View { "ro" } else { "rw" };
        let source = self.now(&scrambled(snapshot.id)).to_string_lossy().into_owned();
        Ok(vec![Mount::new(MOUNT_TYPE, source, [access])])
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        self.measure(snapshot.id, cancelled)
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        std::thread::sleep(self.behaviour.seal);
        self.measure(snapshot.id, &|| false)
    }

    fn settles(&self) -> bool {
        true
    }

    fn settle(&self, snapshot: &Snapshot) -> Result<()> {
        self.drop_tree("open", &scrambled(snapshot.id)).map(drop)
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        let mut asked = self.lock();
        let times = asked.entry(id).or_default();
        *times += 1;
        if *times <= self.behaviour.busy {
            return Ok(Removed::Busy);
        }
        for dir in ["now", "open"] {
            self.drop_tree(dir, &scrambled(id))?;
        }
        Ok(Removed::Gone)
    }

    fn recover(&self, live: &BTreeSet<SnapshotId>, allocated: SnapshotId) -> Result<()> {
        let _disk = self.lock();
        let now = self.dir("now")?;
        let stages = fs::read_dir(&now).map_err(|error| failed(error, "list stages"))?;
        for entry in stages {
            let name = entry.map_err(|error| failed(error, "list stages"))?.name;
            if name.to_string_lossy().starts_with("new-") {
                self.drop_tree("now", &name.to_string_lossy())?;
            }
        }
        // It does not know which ids it has, only which can be.
        for id in (1..allocated.0).map(SnapshotId).filter(|id| !live.contains(id)) {
            for dir in ["now", "disk", "open"] {
                self.drop_tree(dir, &scrambled(id))?;
            }
        }
        Ok(())
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        Ok(self.now(&scrambled(snapshot.id)).is_dir())
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        Ok(None)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// Which nothing but the harness of the tests can mount: the source is the tree.
pub(crate) const MOUNT_TYPE: &str = "fake";

/// A name that does not tell the id: a bijection of 64-bit numbers.
fn scrambled(id: SnapshotId) -> String {
    format!("t{:016x}", id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn make(dir: &Path) -> Result<()> {
    let made = std::fs::create_dir(dir).and_then(|()| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir, mode)
    });
    made.map_err(|error| Error::internal(format!("make {}", dir.display())).with_source(error))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make(to)?;
    let what = |error| failed(error, "copy");
    let (from, to) = (fs::open_dir(from).map_err(what)?, fs::open_dir(to).map_err(what)?);
    tree::copy_tree(from, to, XattrErrors::Ignore, &mut || false).map_err(what)?;
    Ok(())
}

fn failed(error: SysError, what: &str) -> Error {
    let kind = if error.is_no_space() {
        lamina_core::Kind::ResourceExhausted
    } else {
        lamina_core::Kind::Internal
    };
    Error::new(kind, format!("fake: {what}")).with_source(error)
}
