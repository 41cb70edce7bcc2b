//! A back end for snapshots, whole, and a store that uses it: docs/write-a-snapshotter.md explains it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Labels, Mount, Namespace, Result, Scope};
use lamina_store::snapshot::Source;
use lamina_store::snapshot::driver::{
    Capabilities, Driver, Place, Removed, Snapshot, SnapshotId, Stage, Target, Whiteouts,
};
use lamina_store::{Options, Store};
use lamina_sys::tree::{self, XattrErrors};
use lamina_sys::{SysError, fs};

/// Keeps every snapshot as a directory with a copy of its parent.
#[derive(Debug)]
pub struct Copying(PathBuf);

impl Copying {
    /// Opens it in the directory that the store gives it.
    pub fn open(root: &Path) -> Result<Arc<dyn Driver>> {
        let made = std::fs::create_dir_all(root);
        made.map_err(|error| Error::internal("make the root").with_source(error))?;
        Ok(Arc::new(Copying(root.to_owned())))
    }

    fn path(&self, name: impl ToString) -> PathBuf {
        self.0.join(name.to_string())
    }

    fn drop_tree(&self, name: impl ToString) -> Result<()> {
        let root = fs::open_dir(&self.0).map_err(failed("open the root"))?;
        tree::remove_tree(root, name.to_string()).map(drop).map_err(failed("remove a tree"))
    }

    fn names(&self) -> Result<Vec<String>> {
        let unreadable = |error| Error::internal("list the root").with_source(error);
        let entries = std::fs::read_dir(&self.0).map_err(unreadable)?;
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries.map(|entry| entry.map(name).map_err(unreadable)).collect()
    }
}

impl Driver for Copying {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.discard(stage)?;
        let what = "make a snapshot";
        let root = fs::open_dir(&self.0).map_err(failed(what))?;
        fs::make_dir(&root, &stage.name, 0o755).map_err(failed(what))?;
        fs::set_mode_at(&root, &stage.name, 0o755).map_err(failed(what))?;
        let Some(parent) = snapshot.parents.first() else { return Ok(()) };
        let from = fs::open_dir(self.path(parent)).map_err(failed(what))?;
        let to = fs::open_dir(self.path(&stage.name)).map_err(failed(what))?;
        tree::copy_tree(from, to, XattrErrors::Ignore, &mut || false).map_err(failed(what))?;
        Ok(())
    }

    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.drop_tree(snapshot.id)?;
        let renamed = std::fs::rename(self.path(&stage.name), self.path(snapshot.id));
        renamed.map_err(|error| Error::internal("publish a snapshot").with_source(error))
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        self.drop_tree(&stage.name)
    }

    fn flush(&self, _created: &[SnapshotId], _sealed: &[SnapshotId]) -> Result<()> {
        fs::open_dir(&self.0).and_then(fs::sync_filesystem).map_err(failed("write to disk"))
    }

    fn target(&self, snapshot: &Snapshot, _place: Place) -> Result<Target> {
        let path = self.path(snapshot.id);
        Ok(Target::Dir { path, whiteouts: Whiteouts::Delete, lowers: Vec::new() })
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let access = match snapshot.kind {
            Kind::Active => "rw",
            Kind::View => "ro",
            Kind::Committed => return Err(Error::failed_precondition("it is committed")),
        };
        let source = self.path(snapshot.id).display().to_string();
        Ok(vec![Mount::new("bind", source, ["rbind", access])])
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        if snapshot.kind == Kind::View {
            return Ok(Usage::default());
        }
        let tree = fs::open_dir(self.path(snapshot.id)).map_err(failed("measure"))?;
        let used = tree::usage(tree, &mut || cancelled()).map_err(failed("measure"))?;
        Ok(Usage { inodes: used.inodes as i64, size: used.size as i64 })
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        self.usage(snapshot, &|| false)
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        self.drop_tree(id).map(|()| Removed::Gone)
    }

    fn recover(&self, live: &BTreeSet<SnapshotId>, _allocated: SnapshotId) -> Result<()> {
        let is_live = |name: &String| name.parse().is_ok_and(|id| live.contains(&SnapshotId(id)));
        let names = self.names()?;
        names.iter().filter(|name| !is_live(name)).try_for_each(|name| self.drop_tree(name))
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        Ok(self.path(snapshot.id).is_dir())
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        let names = self.names()?;
        Ok(Some(names.iter().filter_map(|name| name.parse().ok().map(SnapshotId)).collect()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

fn failed(what: &'static str) -> impl FnOnce(SysError) -> Error {
    move |error| Error::internal(what).with_source(error)
}

/// How a store finds it.
pub fn source() -> Source {
    Source {
        name: "copying".to_owned(),
        root: None,
        sync_remove: false,
        open: Arc::new(|root| Ok(Copying::open(root)?)),
    }
}

/// Makes a snapshot with it, in the directory that is named.
pub fn main() -> Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(Error::invalid_argument("the directory for a store is missing"));
    };
    let mut options = Options::new(dir.join("root"), dir.join("state"));
    options.snapshotters = vec![source()];
    let store = Store::open(options)?;
    let snapshots = store.snapshots(&Scope::new(Namespace::new("example")?), "copying")?;
    let mounts = snapshots.prepare_now("first", "", Labels::new())?;
    println!("{mounts:?}");
    store.close()
}
