//! Layers whose blobs a daemon has: prepared, applied by its differ, checked and committed, as
//! containerd's own client does it. Layers that come from elsewhere come by a transfer.

use std::sync::Arc;

use async_trait::async_trait;
use lamina_core::diff::ApplyOptions;
use lamina_core::layer::{Layer, LayerStore, Receive, Received, StagedLayer};
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::snapshot::CommitOptions;
use lamina_core::{
    Differ, Digest, Error, Kind, Labels, LeaseStore, Mount, Result, Scope, Snapshotter,
};

/// The layers of one scope and snapshotter.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) snapshots: Arc<dyn Snapshotter>,
    pub(crate) differ: Arc<dyn Differ>,
    pub(crate) leases: Arc<dyn LeaseStore>,
}

#[async_trait]
impl LayerStore for Layers {
    fn rebases(&self) -> bool {
        false
    }

    async fn find(&self, chain_id: &Digest) -> Result<bool> {
        let id = chain_id.to_string();
        if let Some(lease) = &self.scope.lease {
            // Before it is looked for, so that it cannot go in between.
            let held = Resource { kind: ResourceType::Snapshot(self.name.clone()), id: id.clone() };
            self.leases.add(lease, held).await?;
        }
        match self.snapshots.stat(&id).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn receive(&self, layer: &Layer, _: Receive) -> Result<Received> {
        let digest = &layer.blob.digest;
        Err(Error::unimplemented(format!("layer {digest} goes to a daemon by a transfer")))
    }

    /// The snapshot it is staged in is held by the scope's lease; dropped, it stays until that ends.
    async fn stage(&self, layer: &Layer) -> Result<Option<Box<dyn StagedLayer>>> {
        let key = format!("extract-{} {}", crate::streams::new_id(), layer.chain_id);
        let parent = layer.parent.as_ref().map_or("", Digest::as_str);
        let labels = layer.snapshot_labels.clone();
        let mounts = match self.snapshots.prepare(&key, parent, labels.clone()).await {
            // Committed meanwhile, or another namespace has it and it was adopted.
            Err(error) if error.is_already_exists() && self.find(&layer.chain_id).await? => {
                return Ok(None);
            }
            prepared => prepared?,
        };
        let staged = Staged {
            snapshots: self.snapshots.clone(),
            key,
            chain_id: layer.chain_id.to_string(),
            labels,
        };
        match self.apply(layer, &mounts).await {
            Ok(()) => Ok(Some(Box::new(staged))),
            Err(error) => {
                staged.forget().await;
                Err(error)
            }
        }
    }
}

impl Layers {
    async fn apply(&self, layer: &Layer, mounts: &[Mount]) -> Result<()> {
        let applied = self.differ.apply(&layer.blob, mounts, ApplyOptions::default()).await?;
        if applied.digest == layer.diff_id {
            return Ok(());
        }
        Err(Error::new(
            Kind::DataLoss,
            format!("its content is {}, not {} as the config says", applied.digest, layer.diff_id),
        ))
    }
}

#[derive(Debug)]
struct Staged {
    snapshots: Arc<dyn Snapshotter>,
    key: String,
    chain_id: String,
    labels: Labels,
}

impl Staged {
    /// What cannot be removed now goes with the lease.
    async fn forget(&self) {
        let _ = self.snapshots.remove(&self.key).await;
    }
}

#[async_trait]
impl StagedLayer for Staged {
    async fn commit(self: Box<Self>) -> Result<()> {
        let options = CommitOptions { labels: self.labels.clone(), parent: None };
        match self.snapshots.commit(&self.chain_id, &self.key, options).await {
            Err(error) if error.is_already_exists() => {
                self.forget().await;
                Ok(())
            }
            committed => committed,
        }
    }
}
