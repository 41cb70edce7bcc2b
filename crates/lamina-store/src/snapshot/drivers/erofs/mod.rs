//! `erofs`: an EROFS image a layer, stacked by the kernel's overlay.
//!
//! ```text
//! snapshots/<id>/fs           0755  of actives: what is written, overlay's upper directory
//! snapshots/<id>/work         0711  of actives: scratch space of the kernel's overlay
//! snapshots/<id>/layer.erofs  0600  of committed ones: the layer
//! snapshots/<id>/apart        0600  of actives: the files in fs are empty, see `apart`
//! ```
//!
//! A commit writes the image beside the directory and takes its name last; only when the row says
//! committed is the directory emptied. So the active stays usable if the commit fails, and the image
//! is made anew by the next one. A layer does not depend on what is below it, so it can be laid down
//! without its parent and get it at commit (rebase): deletions are always written as overlayfs reads
//! them, and those that a lowest layer has, where they mean nothing, are left out of its image.

mod apart;
mod image;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lamina_core::snapshot::{Kind, Usage};
use lamina_core::{Error, Mount, Result};
use lamina_sys::fs::{self, OFlags};
use lamina_sys::{tree, userns};
use serde::{Deserialize, Serialize};

use self::apart::{Aside, State};
use super::super::driver::{
    Capabilities, Contents, Driver, OpenError, Place, Removed, Snapshot, SnapshotId, Stage, Target,
    Whiteouts,
};
use super::dirs::{Dirs, check_root, is_dir, make_dir, text};
use super::error::failed;
use super::kernel::has_filesystem;
use super::medium::Medium;
use super::native::usage;
use super::overlay::options::MountOptions;
use super::overlay::{Facts, idmap, options, probe};

/// The settings, by containerd's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it keeps its files, instead of its place below the store's root.
    pub root_path: Option<PathBuf>,
    /// Added to every overlay mount, after the layers.
    pub ovl_mount_options: Vec<String>,
}

/// The back end.
#[derive(Debug)]
pub struct Erofs {
    dirs: Dirs,
    medium: Medium,
    options: MountOptions,
    facts: Facts,
    aside: Aside,
}

/// The image of a committed snapshot.
const LAYER: &str = "layer.erofs";

impl Erofs {
    /// Opens the directories at `root`, making what is missing, and looks at what this host can do.
    ///
    /// # Errors
    /// [`OpenError::Skip`] when the kernel has no EROFS, or this is a user namespace, in which it
    /// cannot be mounted. Else those of [`Overlay::open`](super::overlay::Overlay::open).
    pub fn open(root: &Path, config: &Config) -> Result<Erofs, OpenError> {
        check_root(root)?;
        options::check_root(root)?;
        if !has_filesystem("erofs") {
            return Err(OpenError::Skip("this kernel has no erofs".to_owned()));
        }
        if userns::is_inside().map_err(|error| failed(error, "look for a user namespace"))? {
            let why = "erofs cannot be mounted in a user namespace";
            return Err(OpenError::Skip(why.to_owned()));
        }
        Ok(Erofs::new(root, config)?)
    }

    fn new(root: &Path, config: &Config) -> Result<Erofs> {
        let dirs = Dirs::open(root)?;
        probe::check_entry_types(root, dirs.root())?;
        let facts = Facts::probe(root, dirs.root());
        let options = MountOptions::new(&config.ovl_mount_options, &facts);
        Ok(Erofs { medium: dirs.medium()?, dirs, options, facts, aside: Aside::default() })
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
        let image = fs::open_at(self.dirs.open_snapshot(*parent)?, LAYER, OFlags::RDONLY, 0)
            .map_err(|error| failed(error, format!("open the image of snapshot {parent}")))?;
        image::owner(image, *parent).map(Some)
    }

    /// Whether the files of an active are empty. One that is not there is not.
    fn is_apart(&self, id: SnapshotId) -> Result<bool> {
        if !self.dirs.exists(id)? {
            return Ok(false);
        }
        apart::is_marked(&self.dirs.open_snapshot(id)?, id)
    }

    fn image(&self, id: SnapshotId) -> PathBuf {
        self.dirs.path(id).join(LAYER)
    }

    /// An image, as everybody can mount it who has loop devices.
    fn layer(&self, id: SnapshotId) -> Mount {
        Mount::new("erofs", text(self.image(id)), ["ro", "loop"])
    }

    fn bind(&self, id: SnapshotId, access: &str) -> Vec<Mount> {
        vec![Mount::new("bind", text(self.dirs.path(id).join("fs")), [access, "rbind"])]
    }

    /// The images, and an overlay of where the mount manager mounted them.
    fn stack(&self, mut options: Vec<String>, lowers: &[SnapshotId]) -> Vec<Mount> {
        let mut mounts: Vec<Mount> = lowers.iter().map(|id| self.layer(*id)).collect();
        options.push(match lowers.len() {
            0 | 1 => "lowerdir={{ mount 0 }}".to_owned(),
            many => format!("lowerdir={{{{ overlay 0 {} }}}}", many - 1),
        });
        options.extend(self.options.configured().iter().cloned());
        mounts.push(Mount::new("format/mkdir/overlay", "overlay", options));
        mounts
    }
}

impl Driver for Erofs {
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
            return self.medium.sync(sealed);
        }
        if created.is_empty() { Ok(()) } else { self.dirs.sync_entries() }
    }

    fn target(&self, snapshot: &Snapshot, _place: Place) -> Result<Target> {
        Ok(Target::Dir {
            path: self.dirs.path(snapshot.id).join("fs"),
            // Also at the bottom: clients do not say that a parent comes with the commit.
            whiteouts: Whiteouts::Overlay,
            lowers: snapshot.parents.iter().map(|id| self.image(*id)).collect(),
        })
    }

    fn contents(&self, snapshot: &Snapshot) -> Result<Option<Box<dyn Contents>>> {
        let dir = self.dirs.open_snapshot(snapshot.id)?;
        self.aside.begin(dir, snapshot.id).map(Some)
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        if snapshot.kind == Kind::Active && self.is_apart(snapshot.id)? {
            return Err(apart::refused(snapshot.id));
        }
        let mut options = idmap::options(&self.facts, &snapshot.labels);
        match (snapshot.kind, snapshot.parents.as_slice()) {
            (Kind::Active, []) => Ok(self.bind(snapshot.id, "rw")),
            (Kind::View, []) => Ok(self.bind(snapshot.id, "ro")),
            (Kind::View, [parent]) => Ok(vec![self.layer(*parent)]),
            (Kind::View, lowers) => Ok(self.stack(options, lowers)),
            (Kind::Active, lowers) => {
                let own = self.dirs.path(snapshot.id);
                let upper = [
                    format!("workdir={}", text(own.join("work"))),
                    format!("upperdir={}", text(own.join("fs"))),
                ];
                options.splice(0..0, upper);
                Ok(self.stack(options, lowers))
            }
            (Kind::Committed, _) => Err(Error::failed_precondition(format!(
                "snapshot {} is committed and has no mounts",
                snapshot.id
            ))),
        }
    }

    fn usage(&self, snapshot: &Snapshot, cancelled: &dyn Fn() -> bool) -> Result<Usage> {
        let used = tree::usage(self.open_layer(snapshot.id)?, &mut || cancelled())
            .map_err(|error| failed(error, format!("measure snapshot {}", snapshot.id)))?;
        Ok(usage(used))
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        self.medium.check(snapshot.id)?;
        let dir = self.dirs.open_snapshot(snapshot.id)?;
        match self.aside.take(snapshot.id) {
            Some(State::Packed) => self.aside.put(snapshot.id, State::Packed),
            Some(State::Laid(writer, places)) => {
                image::pack(&dir, snapshot, writer, &places)?;
                self.aside.put(snapshot.id, State::Packed);
            }
            None if apart::is_marked(&dir, snapshot.id)? => {
                return Err(apart::refused(snapshot.id));
            }
            None => image::write(&dir, snapshot)?,
        }
        let used = tree::usage_at(&dir, LAYER, &mut || false)
            .map_err(|error| failed(error, format!("measure snapshot {}", snapshot.id)))?;
        Ok(usage(used))
    }

    fn settles(&self) -> bool {
        true
    }

    fn settle(&self, snapshot: &Snapshot) -> Result<()> {
        let what =
            |error| failed(error, format!("empty the directory of snapshot {}", snapshot.id));
        let layer = self.open_layer(snapshot.id)?;
        // All names first: some filesystems skip entries while others are being removed.
        let entries: lamina_sys::Result<Vec<_>> = fs::read_dir(&layer).map_err(what)?.collect();
        for entry in entries.map_err(what)? {
            tree::remove_tree(&layer, &entry.name).map_err(what)?;
        }
        self.aside.take(snapshot.id);
        apart::unmark(&self.dirs.open_snapshot(snapshot.id)?).map_err(what)
    }

    fn shrink(&self, snapshot: &Snapshot) -> Result<()> {
        self.aside.take(snapshot.id);
        let dir = self.dirs.open_snapshot(snapshot.id)?;
        image::drop_both(&dir, snapshot.id)
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        self.aside.take(id);
        self.dirs.remove(id)
    }

    fn empty_trash(&self) -> Result<()> {
        self.dirs.empty_trash()
    }

    fn recover(&self, live: &BTreeSet<SnapshotId>, _allocated: SnapshotId) -> Result<()> {
        live.last().into_iter().for_each(|newest| self.medium.note(*newest));
        self.dirs.keep_only(live)
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        if !self.dirs.exists(snapshot.id)? {
            return Ok(false);
        }
        let dir = self.dirs.open_snapshot(snapshot.id)?;
        match snapshot.kind {
            Kind::Committed => image::is_whole(&dir, snapshot.id),
            Kind::View => is_dir(&dir, "fs"),
            Kind::Active => Ok(is_dir(&dir, "fs")? && is_dir(&dir, "work")?),
        }
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        self.dirs.list().map(Some)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { rebase: true, remap_ids: self.facts.id_mapped, only_remap_ids: true }
    }
}

#[cfg(test)]
mod tests;
