//! [`Differ`] over the content and the snapshots of this host.
//!
//! A client names the place by mounts. If they are those of an active of ours, the layer goes where
//! the back end says, and the engine hears what it was, so that the commit that follows has a chain
//! ID to be trusted. Others are mounted for a while; an overlay's upper directory is written to
//! directly, as containerd does, since clients ask for some that no kernel mounts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lamina_core::diff::{self, ApplyProgress, CompareOptions, Differ};
use lamina_core::{Descriptor, Error, Mount, Result, media_type};
use lamina_sys::fs;

use super::apply::{Applied, ApplyOptions, Limits, Space, Target, apply_layer};
use crate::blocking::{self, Caller};
use crate::content;
use crate::fault::Steps;
use crate::mount::manager::Manager;
use crate::mount::overlay_directories;
use crate::mount::temp::{TempMounts, written_out};
use crate::snapshot::driver::{self, Place, SnapshotId, Whiteouts};
use crate::snapshot::registry::Engines;
use crate::snapshot::{self, Handle};
use crate::unpack::BlobStream;

/// Applies and makes layers for one namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LocalDiffer {
    pub(crate) engines: Arc<Engines>,
    pub(crate) content: content::Handle,
    pub(crate) temp: TempMounts,
    pub(crate) manager: Manager,
    pub(crate) limits: Limits,
    /// Who listens at `diff.…`.
    pub(crate) steps: Steps,
}

/// One layer on its way.
struct Job {
    blob: content::Reader,
    limits: Limits,
    caller: Caller,
    progress: Option<Arc<dyn ApplyProgress>>,
    sync: bool,
    space: Space,
}

/// An active of ours, in which the mounts of a client are.
struct Active {
    snapshots: Handle,
    key: String,
    id: SnapshotId,
    /// The mounts are the very ones that the snapshotter answers.
    exact: bool,
}

#[async_trait]
impl Differ for LocalDiffer {
    async fn apply(
        &self,
        descriptor: &Descriptor,
        mounts: &[Mount],
        options: diff::ApplyOptions,
    ) -> Result<Descriptor> {
        if !media_type::is_tar_layer(&descriptor.media_type) {
            return Err(Error::unimplemented(format!(
                "apply a layer of media type {:?}",
                descriptor.media_type
            )));
        }
        let (this, descriptor, mounts) = (self.clone(), descriptor.clone(), mounts.to_vec());
        let (_here, caller) = blocking::presence();
        blocking::run(move || this.apply_now(&descriptor, &mounts, options, caller)).await
    }

    async fn compare(
        &self,
        lower: &[Mount],
        upper: &[Mount],
        options: CompareOptions,
    ) -> Result<Descriptor> {
        let (this, lower, upper) = (self.clone(), lower.to_vec(), upper.to_vec());
        let (_here, caller) = blocking::presence();
        blocking::run(move || this.compare_now(&lower, &upper, options, &caller)).await
    }
}

impl LocalDiffer {
    fn apply_now(
        &self,
        descriptor: &Descriptor,
        mounts: &[Mount],
        options: diff::ApplyOptions,
        caller: Caller,
    ) -> Result<Descriptor> {
        let blob = self.content.reader_now(&descriptor.digest)?;
        let limits = self.limits.clone();
        let diff::ApplyOptions { sync, progress, .. } = options;
        let mut job = Job { blob, limits, caller, progress, sync, space: Space::default() };
        let applied = match self.find(mounts)? {
            Some(active) => {
                job.space = Space::of(&**active.snapshots.engine().driver())?;
                self.apply_to(&job, &active, mounts, descriptor)?
            }
            None => self.apply_at(&job, mounts)?,
        };
        Ok(Descriptor::new(media_type::OCI_LAYER, applied.diff_id, applied.size))
    }

    /// The active of ours that `mounts` write to.
    fn find(&self, mounts: &[Mount]) -> Result<Option<Active>> {
        let Some(place) = written(mounts) else { return Ok(None) };
        let Some((engine, id)) = self.engines.owner(&place) else { return Ok(None) };
        let snapshots = engine.scoped(self.content.scope().clone());
        let found = snapshots.active_now(id)?;
        Ok(found.map(|(key, own)| Active { exact: own == mounts, snapshots, key, id }))
    }

    fn apply_to(
        &self,
        job: &Job,
        active: &Active,
        mounts: &[Mount],
        descriptor: &Descriptor,
    ) -> Result<Applied> {
        let Active { snapshots, key, id, exact } = active;
        let place = match snapshots.stat_now(key)?.parent.as_str() {
            "" => Place::Bottom,
            _ => Place::Above,
        };
        let (snapshot, target) = snapshots.target_now(key, place)?;
        let target = match target {
            driver::Target::Dir { path, whiteouts, lowers } if *exact && snapshot.id == *id => {
                Some((path, whiteouts, lowers))
            }
            _ => None,
        };
        // What a client laid there is in no layer. A directory with the whole tree does not tell.
        let alone = match &target {
            Some((path, _, _)) => is_empty(path)?,
            None => false,
        };
        if !alone {
            snapshots.record_layer_now(key, *id, None)?;
        }
        let applied = match &target {
            Some((path, whiteouts, lowers)) => job.apply(path, *whiteouts, lowers, &[])?,
            None => {
                let driver = snapshots.engine().driver();
                self.apply_at(job, mounts).map_err(|error| driver.explain(error))?
            }
        };
        if alone {
            let (diff_id, blob) = (applied.diff_id.clone(), Some(descriptor.digest.clone()));
            let layer = snapshot::Layer { diff_id, blob };
            snapshots.record_layer_now(key, *id, Some(layer))?;
        }
        Ok(applied)
    }

    /// Onto mounts that are nobody's we know.
    fn apply_at(&self, job: &Job, mounts: &[Mount]) -> Result<Applied> {
        if let [mount] = mounts
            && let Some((upper, lowers)) = overlay_directories(mount)?
            && !lamina_sys::userns::is_inside()
                .map_err(|error| Error::internal("look for a user namespace").with_source(error))?
        {
            return job.apply(&upper, Whiteouts::Overlay, &lowers, &[]);
        }
        self.reach(mounts)?.with(|root| {
            written_out(mounts, root, || job.apply(root, Whiteouts::Delete, &[], mounts))
        })
    }
}

impl Job {
    /// `mounts` are those that made `path`, if any did.
    fn apply(
        &self,
        path: &Path,
        whiteouts: Whiteouts,
        lowers: &[PathBuf],
        mounts: &[Mount],
    ) -> Result<Applied> {
        let cancelled = || self.caller.has_left();
        let progress = |bytes| {
            if let Some(progress) = &self.progress {
                progress.applied(bytes);
            }
        };
        let mut options = ApplyOptions {
            limits: self.limits.clone(),
            cancelled: &cancelled,
            progress: &progress,
            ..ApplyOptions::new()
        };
        self.space.bound(&mut options, mounts);
        let target = Target::open(path, whiteouts, lowers)?;
        let applied = apply_layer(BlobStream::new(&self.blob), &target, &options)?;
        if self.sync {
            fs::open_dir(path).and_then(fs::sync_filesystem).map_err(|error| {
                let what = format!("make the layer in {} durable", path.display());
                Error::internal(what).with_source(error)
            })?;
        }
        Ok(applied)
    }
}

/// The directory or the image that is written to through mounts.
fn written(mounts: &[Mount]) -> Option<PathBuf> {
    let mount = match mounts {
        [mount] => mount,
        // An overlay of images, as the mount manager is told of it.
        [.., mount] if mount.kind.starts_with("format/") => {
            let upper = mount.options.iter().find_map(|option| option.strip_prefix("upperdir="));
            return upper.map(PathBuf::from).filter(|upper| upper.is_absolute());
        }
        _ => return None,
    };
    let looped = mount.options.iter().any(|option| option == "loop");
    match mount.kind.as_str() {
        "bind" => Some(PathBuf::from(&mount.source)),
        _ if looped => Some(PathBuf::from(&mount.source)),
        "zfs" => Some(PathBuf::from(&mount.source)),
        _ if mount.source.starts_with("/dev/") => Some(PathBuf::from(&mount.source)),
        _ => overlay_directories(mount).ok().flatten().map(|(upper, _)| upper),
    }
}

fn is_empty(dir: &Path) -> Result<bool> {
    let unreadable =
        |error| Error::internal(format!("read the layer in {}", dir.display())).with_source(error);
    let mut entries = fs::open_dir(dir).and_then(fs::read_dir).map_err(unreadable)?;
    match entries.next() {
        None => Ok(true),
        Some(Ok(_)) => Ok(false),
        Some(Err(error)) => Err(unreadable(error)),
    }
}
