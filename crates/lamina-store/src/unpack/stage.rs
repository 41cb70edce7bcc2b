//! A layer's files in an active that nobody else knows.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_core::layer::{Layer, StagedLayer};
use lamina_core::snapshot::CommitOptions;
use lamina_core::{Error, Kind, Result};
use lamina_sys::{SysError, fs, tree};

use super::{Layers, early};
use crate::blocking;
use crate::content::Reader;
use crate::diff::apply::{Applied, ApplyOptions, Limits, Space, Target, apply_layer, inherit};
use crate::diff::compression::carry;
use crate::mount::temp::TempMounts;
use crate::random;
use crate::snapshot::driver::{self, Place, Whiteouts};
use crate::snapshot::{self, Handle};

/// An active into which one layer is laid. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Staging {
    snapshots: Handle,
    temp: TempMounts,
    key: String,
    layer: Layer,
    limits: Limits,
    /// Its parent comes with the commit.
    rebased: bool,
    committed: bool,
}

/// A [`Staging`] whose layer is in place and verified.
#[derive(Debug)]
pub(super) struct Staged {
    staging: Staging,
    applied: Applied,
}

impl Staging {
    /// Prepares the active; `None` when the chain was committed meanwhile.
    pub(super) fn prepare(layers: &Layers, layer: &Layer) -> Result<Option<Staging>> {
        let snapshots = layers.snapshots.clone();
        let rebased = snapshots.engine().stages_apart() && layer.parent.is_some();
        let parent = match &layer.parent {
            Some(parent) if !rebased => parent.as_str(),
            _ => "",
        };
        let key = fresh_key(layer)?;
        match snapshots.prepare_now(&key, parent, layer.snapshot_labels.clone()) {
            Err(error) if error.is_already_exists() => return Ok(None),
            prepared => prepared?,
        };
        let (temp, limits) = (layers.temp.clone(), layers.limits.clone());
        let layer = layer.clone();
        Ok(Some(Staging { snapshots, temp, key, layer, limits, rebased, committed: false }))
    }

    /// Lays the layer down and checks that it is what the image's config says.
    ///
    /// # Errors
    /// DataLoss for another diff ID, ResourceExhausted for more of anything than a layer may have or
    /// less free space than is to stay, else as [`apply_layer`].
    pub(super) fn apply(
        self,
        compressed: impl Read + Send,
        cancelled: &(dyn Fn() -> bool + Sync),
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Staged> {
        if !self.snapshots.is_durable() {
            return self.lay(compressed, cancelled, progress);
        }
        let engine = Arc::clone(self.snapshots.engine());
        early::beside(
            || engine.write_back(),
            progress,
            |progress| self.lay(compressed, cancelled, progress),
        )
    }

    fn lay(
        self,
        compressed: impl Read + Send,
        cancelled: &(dyn Fn() -> bool + Sync),
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Staged> {
        let limits = self.limits.clone();
        let mut options = ApplyOptions { limits, cancelled, progress, ..ApplyOptions::new() };
        let place = if self.layer.parent.is_some() { Place::Above } else { Place::Bottom };
        let (snapshot, target) = self.snapshots.target_now(&self.key, place)?;
        let applied = match target {
            driver::Target::Dir { path, whiteouts, lowers } => {
                let target = Target::open(&path, whiteouts, &lowers)?;
                let contents = self.snapshots.engine().driver().contents(&snapshot)?;
                let options = ApplyOptions { contents: contents.as_deref(), ..options };
                let applied = apply_layer(compressed, &target, &options)?;
                if let Some(contents) = contents {
                    contents.finish();
                }
                applied
            }
            driver::Target::Mount => {
                let mounts = self.snapshots.mounts_now(&self.key)?;
                let driver = self.snapshots.engine().driver();
                let space = Space::of(&**driver)?;
                space.bound(&mut options, &mounts);
                let applied = self.temp.with_written(&mounts, |root| {
                    let none: [&Path; 0] = [];
                    apply_layer(
                        compressed,
                        &Target::open(root, Whiteouts::Delete, &none)?,
                        &options,
                    )
                });
                applied.map_err(|error| driver.explain(error))?
            }
        };
        if applied.diff_id != self.layer.diff_id {
            return Err(Error::data_loss(format!(
                "the layer unpacks to diff ID {}, but the image's config says {}",
                applied.diff_id, self.layer.diff_id
            )));
        }
        Ok(Staged { staging: self, applied })
    }

    /// [`apply`](Self::apply) from a blob that is here.
    pub(super) fn apply_blob(
        self,
        blob: &Reader,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Staged> {
        self.apply(BlobStream::new(blob), cancelled, &|_| ())
    }

    /// Removes what was laid down. The active stays, of which nobody knows.
    fn empty(&self) -> Result<()> {
        let (snapshot, target) = self.snapshots.target_now(&self.key, Place::Bottom)?;
        self.snapshots.engine().driver().shrink(&snapshot)?;
        let driver::Target::Dir { path, .. } = target else { return Ok(()) };
        let failed = |cause: SysError| {
            Error::internal(format!("empty {}", path.display())).with_source(cause)
        };
        let dir = fs::open_dir(&path).map_err(failed)?;
        // All names first: some filesystems skip entries while others are being removed.
        let entries: lamina_sys::Result<Vec<_>> = fs::read_dir(&dir).map_err(failed)?.collect();
        for entry in entries.map_err(failed)? {
            tree::remove_tree(&dir, &entry.name).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let removed = match self.snapshots.remove_now(&self.key) {
            // The layer itself may be what fills the disk, so that there is no room to say it is gone.
            Err(error) if error.kind() == Kind::ResourceExhausted => {
                self.empty().and_then(|()| self.snapshots.remove_now(&self.key))
            }
            removed => removed,
        };
        if let Err(error) = removed {
            tracing::warn!(key = %self.key, error = %error.chain(),
                "a staged layer is left to the collector");
        }
    }
}

impl Staged {
    fn commit_now(mut self) -> Result<()> {
        let staging = &mut self.staging;
        let parent = staging.layer.parent.as_ref().filter(|_| staging.rebased);
        if let Some(parent) = parent
            && !(self.applied.implied.is_empty() && self.applied.whiteouts.is_empty())
        {
            // What depends on the layer below, which was not there when this one was laid.
            let target = staging.snapshots.rebased_target_now(&staging.key, parent.as_str())?;
            if let driver::Target::Dir { path, whiteouts, lowers } = target {
                inherit(&Target::open(&path, whiteouts, &lowers)?, &self.applied)?;
            }
        }
        let options = CommitOptions {
            labels: staging.layer.snapshot_labels.clone(),
            parent: parent.map(ToString::to_string),
        };
        let layer = snapshot::Layer {
            diff_id: self.applied.diff_id.clone(),
            blob: Some(staging.layer.blob.digest.clone()),
        };
        let name = staging.layer.chain_id.as_str();
        match staging.snapshots.commit_layer_now(name, &staging.key, options, layer) {
            Ok(()) => staging.committed = true,
            // Somebody else's layer of the same chain; ours is dropped.
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[async_trait]
impl StagedLayer for Staged {
    async fn commit(self: Box<Self>) -> Result<()> {
        blocking::run(move || self.commit_now()).await
    }
}

/// containerd's form, `extract-<nanoseconds>-<random> <chain ID>`, so that tools know what it is.
fn fresh_key(layer: &Layer) -> Result<String> {
    let random = random::hex(&random::bytes::<6>()?);
    let nanos = jiff::Timestamp::now().subsec_nanosecond();
    Ok(format!("extract-{nanos}-{random} {}", layer.chain_id))
}

/// A blob from its start.
#[derive(Debug)]
pub(crate) struct BlobStream<'a> {
    blob: &'a Reader,
    offset: u64,
}

impl<'a> BlobStream<'a> {
    pub(crate) fn new(blob: &'a Reader) -> Self {
        BlobStream { blob, offset: 0 }
    }
}

impl Read for BlobStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.blob.read_into(self.offset, buf).map_err(carry)?;
        self.offset += len as u64;
        Ok(len)
    }
}
