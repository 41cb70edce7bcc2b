//! The space that images take: blobs in the content store, snapshots in each snapshotter.

use std::collections::BTreeMap;

use lamina_core::oci::Limits;
use lamina_core::snapshot;
use lamina_core::{ContentStore, Descriptor, Digest, Result};

use crate::check::Snapshotters;
use crate::contents::Contents;

/// What images take, by what it is taken for: what is shared is in it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Their blobs that are here, with their sizes in bytes.
    pub content: BTreeMap<Digest, u64>,
    /// For each snapshotter, the snapshots of their layers by chain ID.
    pub snapshots: BTreeMap<String, BTreeMap<Digest, snapshot::Usage>>,
}

impl Usage {
    /// What the image with that target takes, all platforms that are here together. Snapshots that
    /// containers have on top of it are not the image's.
    ///
    /// # Errors
    /// Those of the stores; InvalidArgument for documents that cannot be read.
    pub async fn of(
        content: &dyn ContentStore,
        snapshotters: &Snapshotters,
        target: &Descriptor,
        limits: Limits,
    ) -> Result<Usage> {
        let contents = Contents::of(content, target, limits).await?;
        let configs = contents.parts.iter().filter_map(|part| part.config.as_ref());
        let chains: Vec<Digest> = configs.flat_map(|config| config.chain_ids()).collect();
        let mut snapshots = BTreeMap::new();
        for (name, snapshotter) in snapshotters {
            let mut found = BTreeMap::new();
            for chain in &chains {
                match snapshotter.usage(chain.as_str()).await {
                    Ok(usage) => drop(found.insert(chain.clone(), usage)),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
            if !found.is_empty() {
                snapshots.insert(name.clone(), found);
            }
        }
        Ok(Usage { content: contents.here, snapshots })
    }

    /// Adds what another image takes.
    pub fn add(&mut self, other: Usage) {
        self.content.extend(other.content);
        for (name, snapshots) in other.snapshots {
            self.snapshots.entry(name).or_default().extend(snapshots);
        }
    }
}
