//! `overlayfs`: a directory a snapshot, stacked by the kernel.
//!
//! ```text
//! snapshots/<id>/fs    0755  the layer: what becomes the upper directory, and later a lower one
//! snapshots/<id>/work  0711  of actives: scratch space of the kernel's overlay, on the same mount
//! ```
//!
//! A layer does not depend on what is below it, so it can be laid down without its parent and get
//! it at commit (rebase). Removal is a rename to the trash; with `sync_remove` it waits for the
//! deletion. `work` stays after the commit, as containerd leaves it.

mod bare;
pub(super) mod idmap;
pub(super) mod options;
pub(super) mod probe;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Labels, Mount, Result, labels};
use lamina_sys::{fs, tree};
use serde::{Deserialize, Serialize};

use self::bare::Bare;
use self::options::MountOptions;
pub use self::probe::Facts;
use super::super::driver::{
    Capabilities, Driver, Place, Removed, Snapshot, SnapshotId, Stage, Target, Whiteouts,
};
use super::dirs::{Dirs, is_dir, make_dir, text};
use super::error::failed;
use super::medium::Medium;
use super::native::usage;

/// The settings, by containerd's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it keeps its files, instead of its place below the store's root.
    pub root_path: Option<PathBuf>,
    /// Added to every overlay mount, after the layers.
    pub mount_options: Vec<String>,
    /// Whether clients see where the upper directory lies, as the label `overlay.upperdir`.
    pub upperdir_label: bool,
    /// Whether a removal returns only when the files are deleted.
    pub sync_remove: bool,
    /// Whether a client may copy a tree to change its owners where mounts cannot map them.
    pub slow_chown: bool,
}

/// The back end.
#[derive(Debug)]
pub struct Overlay {
    dirs: Dirs,
    medium: Medium,
    bare: Bare,
    options: MountOptions,
    facts: Facts,
    upperdir_label: bool,
    sync_remove: bool,
    slow_chown: bool,
}

impl Overlay {
    /// Opens the directories at `root`, making what is missing, and looks at what this host can do.
    ///
    /// # Errors
    /// InvalidArgument for a root that is no absolute path in UTF-8 or has a character that
    /// overlayfs' options give a meaning. FailedPrecondition for a root that belongs to containerd,
    /// or on a file system that does not tell what its entries are (`d_type`).
    pub fn open(root: &Path, config: &Config) -> Result<Overlay> {
        let dirs = Self::open_dirs(root)?;
        let facts = Facts::probe(root, dirs.root());
        Self::new(dirs, config, facts)
    }

    fn open_dirs(root: &Path) -> Result<Dirs> {
        options::check_root(root)?;
        let dirs = Dirs::open(root)?;
        probe::check_entry_types(root, dirs.root())?;
        Ok(dirs)
    }

    fn new(dirs: Dirs, config: &Config, facts: Facts) -> Result<Overlay> {
        Ok(Overlay {
            medium: dirs.medium()?,
            bare: Bare::default(),
            dirs,
            options: MountOptions::new(&config.mount_options, &facts),
            facts,
            upperdir_label: config.upperdir_label,
            sync_remove: config.sync_remove,
            slow_chown: config.slow_chown,
        })
    }

    fn layer(&self, id: SnapshotId) -> PathBuf {
        self.dirs.path(id).join("fs")
    }

    fn open_layer(&self, id: SnapshotId) -> Result<OwnedFd> {
        fs::open_dir_at(self.dirs.open_snapshot(id)?, "fs")
            .map_err(|error| failed(error, format!("open the layer of snapshot {id}")))
    }

    /// Who owns the root of a new layer: what the id maps make of root, or whoever owns the parent's;
    /// `None` for whoever this process is.
    fn owner(&self, snapshot: &Snapshot) -> Result<Option<(u32, u32)>> {
        if let Some(owner) = idmap::root_owner(&snapshot.labels)? {
            return Ok(Some(owner));
        }
        let Some(parent) = snapshot.parents.first() else { return Ok(None) };
        let stat = fs::stat(self.open_layer(*parent)?)
            .map_err(|error| failed(error, format!("look at the layer of snapshot {parent}")))?;
        Ok(Some((stat.uid, stat.gid)))
    }

    fn measure(&self, id: SnapshotId, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        let used = tree::usage(self.open_layer(id)?, &mut || cancelled())
            .map_err(|error| failed(error, format!("measure snapshot {id}")))?;
        Ok(usage(used))
    }

    /// Makes a layer without entries durable: its directory is all there is of it, and that it is there
    /// was flushed when it was made.
    fn sync_bare(&self, id: SnapshotId) -> Result<()> {
        fs::sync_file(self.open_layer(id)?)
            .map_err(|error| failed(error, format!("write snapshot {id} to disk")))?;
        self.medium.check(id)
    }

    fn bind(&self, mut options: Vec<String>, source: SnapshotId, access: &str) -> Vec<Mount> {
        options.extend([access.to_owned(), "rbind".to_owned()]);
        vec![Mount::new("bind", text(self.layer(source)), options)]
    }

    fn stack(&self, mut options: Vec<String>, lowers: &[SnapshotId]) -> Vec<Mount> {
        let lowers: Vec<String> = lowers.iter().map(|id| text(self.layer(*id))).collect();
        options.push(format!("lowerdir={}", lowers.join(":")));
        options.extend(self.options.configured().iter().cloned());
        vec![Mount::new("overlay", "overlay", options)]
    }
}

impl Driver for Overlay {
    fn create(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.medium.note(snapshot.id);
        let owner = self.owner(snapshot)?;
        let dir = self.dirs.stage(stage)?;
        let layer = make_dir(&dir, "fs", 0o755)?;
        if snapshot.kind == Kind::Active {
            make_dir(&dir, "work", 0o711)?;
        }
        if let Some((uid, gid)) = owner {
            fs::set_owner(&layer, uid, gid).map_err(|error| {
                failed(error, format!("give snapshot {} to {uid}:{gid}", snapshot.id))
            })?;
        }
        Ok(())
    }

    fn publish(&self, snapshot: &Snapshot, stage: &Stage) -> Result<()> {
        self.dirs.publish(snapshot.id, stage)
    }

    fn discard(&self, stage: &Stage) -> Result<()> {
        self.dirs.discard(stage)
    }

    fn flush(&self, created: &[SnapshotId], sealed: &[SnapshotId]) -> Result<()> {
        if !sealed.is_empty() {
            return match self.bare.take(sealed) {
                // What else is being written to the file system is nobody's who waits here.
                true => sealed.iter().try_for_each(|id| self.sync_bare(*id)),
                false => self.medium.sync(sealed),
            };
        }
        if !created.is_empty() {
            self.dirs.sync_entries()?;
        }
        Ok(())
    }

    fn write_back(&self) {
        self.medium.write_back();
    }

    fn target(&self, snapshot: &Snapshot, place: Place) -> Result<Target> {
        // Only the kernel can make a whiteout in a user namespace, or the marks of `userxattr`.
        if self.facts.in_user_namespace || self.options.has_user_xattr() {
            return Ok(Target::Mount);
        }
        let bottom = place == Place::Bottom && snapshot.parents.is_empty();
        Ok(Target::Dir {
            path: self.layer(snapshot.id),
            whiteouts: if bottom { Whiteouts::Delete } else { Whiteouts::Overlay },
            lowers: snapshot.parents.iter().map(|id| self.layer(*id)).collect(),
        })
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let mut options = idmap::options(&self.facts, &snapshot.labels);
        match (snapshot.kind, snapshot.parents.as_slice()) {
            (Kind::Active, []) => Ok(self.bind(options, snapshot.id, "rw")),
            (Kind::Active, lowers) => {
                let own = self.dirs.path(snapshot.id);
                options.push(format!("workdir={}", text(own.join("work"))));
                options.push(format!("upperdir={}", text(own.join("fs"))));
                Ok(self.stack(options, lowers))
            }
            (Kind::View, []) => Ok(self.bind(options, snapshot.id, "ro")),
            (Kind::View, [parent]) => Ok(self.bind(options, *parent, "ro")),
            (Kind::View, lowers) => Ok(self.stack(options, lowers)),
            (Kind::Committed, _) => Err(Error::failed_precondition(format!(
                "snapshot {} is committed and has no mounts",
                snapshot.id
            ))),
        }
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        self.measure(snapshot.id, cancelled)
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        self.medium.check(snapshot.id)?;
        let usage = self.measure(snapshot.id, &|| false)?;
        self.bare.note(snapshot.id, usage.inodes == 1);
        Ok(usage)
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        self.bare.note(id, false);
        match self.dirs.remove(id)? {
            Removed::Gone if self.sync_remove => self.dirs.delete_thrown_away(id),
            removed => Ok(removed),
        }
    }

    fn empty_trash(&self) -> Result<()> {
        self.dirs.empty_trash()
    }

    fn recover(&self, live: &BTreeSet<SnapshotId>, _allocated: SnapshotId) -> Result<()> {
        live.last().into_iter().for_each(|newest| self.medium.note(*newest));
        self.dirs.keep_only(live)
    }

    fn synthetic_labels(&self, snapshot: SnapshotId) -> Labels {
        let mut found = Labels::new();
        if self.upperdir_label {
            found.insert(labels::SNAPSHOT_UPPER_DIR.to_owned(), text(self.layer(snapshot)));
        }
        found
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        if !self.dirs.exists(snapshot.id)? {
            return Ok(false);
        }
        let dir = self.dirs.open_snapshot(snapshot.id)?;
        Ok(is_dir(&dir, "fs")? && (snapshot.kind != Kind::Active || is_dir(&dir, "work")?))
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        self.dirs.list().map(Some)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            rebase: !self.facts.in_user_namespace,
            remap_ids: self.facts.id_mapped,
            only_remap_ids: !self.slow_chown,
        }
    }
}

#[cfg(test)]
mod tests;
