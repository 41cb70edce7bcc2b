//! Pull: from a reference to an image record whose content, and snapshots, are whole.
//!
//! `resolve → index → manifest for the platform → config`, and then every layer side by side, each
//! through one pass: network → content store and staged snapshot → commit as its chain ID, in chain
//! order. The image record comes last, so what is listed is whole. Until then a lease holds what was
//! made; after a failure it stays for a day, so that the next pull of the same reference goes on
//! where this one stopped.
//!
//! Written against the traits of `lamina-core`. Everything runs inside the caller's future; dropping
//! it leaves what a failure leaves.

mod documents;
mod flight;
mod layers;
mod lease;
mod progress;
mod wait;

use std::sync::Arc;

use lamina_core::image::Image;
use lamina_core::layer::LayerStore;
use lamina_core::oci::{ImageConfig, Limits};
use lamina_core::platform::Matcher;
use lamina_core::{Descriptor, Digest, Error, Host, Labels, Result, Scope};
use tokio::sync::Semaphore;

pub use flight::Flights;
pub use progress::{Progress, Silent, State};

use crate::registry::Repository;
use documents::Documents;
pub(crate) use documents::{
    add_labels, index_labels, manifest_labels, note_unpacked, source_label,
};
use layers::Layers;
use lease::PullLease;
pub(crate) use lease::for_a_day;
pub(crate) use wait::when_free;

/// What to pull and into where.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The image, as its user sees it.
    pub repository: Repository,
    /// The name of the image record.
    pub name: String,
    /// The stores.
    pub host: Arc<dyn Host>,
    /// Whose image it will be. Its lease holds what is made; without one, the pull makes one of its
    /// own, which ends with it.
    pub scope: Scope,
    /// Which manifests of an index.
    pub platforms: Platforms,
    /// The snapshotter to unpack into; none to leave the layers packed.
    pub snapshotter: Option<String>,
    /// Labels of the image record.
    pub labels: Labels,
    /// Layers that may be downloaded at once.
    pub downloads: usize,
    /// Bounds of manifests, indexes and configs.
    pub limits: Limits,
    /// Who is told how far it is.
    pub progress: Arc<dyn Progress>,
}

/// Which manifests of an index are pulled.
#[derive(Clone, Debug)]
pub enum Platforms {
    /// The best match.
    Best(Matcher),
    /// Everything in it.
    All,
    /// Some of it.
    Chosen(Choice),
}

/// A choice of several manifests of an index.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Which will do.
    pub matcher: Matcher,
    /// How many of them, the best first; 0 for all.
    pub limit: usize,
    /// Store the manifests and configs of the others too.
    pub all_metadata: bool,
    /// Which are unpacked, if any are; the others' layers stay packed.
    pub unpack: Matcher,
}

/// What was pulled.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The record.
    pub image: Image,
    /// The chain IDs of what was unpacked, one a platform.
    pub unpacked: Vec<Digest>,
}

/// Layers that may be downloaded at once, when the caller does not say.
pub const DOWNLOADS: usize = 3;

impl Pull {
    /// Pulls.
    ///
    /// # Errors
    /// Those of the registry and the stores; NotFound when no manifest fits the platform. No image
    /// record was made or changed then.
    pub async fn run(&self, flights: &Flights) -> Result<Pulled> {
        let failed = |e: Error| e.context(format!("pull {}", self.name));
        if self.scope.lease.is_some() {
            return self.under(&self.scope, flights).await.map_err(failed);
        }
        let leases = self.host.leases(&self.scope);
        let lease = PullLease::begin(leases, &self.name, &flights.leases).await.map_err(failed)?;
        let held = self.scope.clone().with_lease(&lease.id);
        let pulled = self.under(&held, flights).await.map_err(failed)?;
        lease.end().await;
        Ok(pulled)
    }

    async fn under(&self, held: &Scope, flights: &Flights) -> Result<Pulled> {
        let target = self.repository.resolve().await?;
        self.progress.resolved(&target);
        let documents = Documents::new(self, self.host.content(held));
        let images = documents.fetch(&target).await?;
        let store: Option<Arc<dyn LayerStore>> = match &self.snapshotter {
            None => None,
            Some(name) => Some(self.host.layers(held, name)?),
        };
        let slots = Arc::new(Semaphore::new(self.downloads.max(1)));
        let mut unpacked = Vec::new();
        for image in images.iter().filter(|image| image.wanted) {
            let layers = Layers {
                repository: &self.repository,
                content: self.host.content(held),
                progress: Arc::clone(&self.progress),
                slots: Arc::clone(&slots),
            };
            match (&store, &image.config, &self.snapshotter) {
                (Some(store), Some(config), Some(snapshotter)) if self.unpacks(config) => {
                    let top = layers.unpack(image, config, store, snapshotter, flights).await?;
                    documents.note_unpacked(image, snapshotter, &top).await?;
                    unpacked.push(top);
                }
                _ => layers.fetch(image, flights).await?,
            }
        }
        let image = self.record(target).await?;
        Ok(Pulled { image, unpacked })
    }

    /// Whether an image is to be unpacked, where any is.
    fn unpacks(&self, config: &ImageConfig) -> bool {
        match &self.platforms {
            Platforms::Chosen(choice) => choice.unpack.matches(&config.platform()),
            Platforms::Best(_) | Platforms::All => true,
        }
    }

    /// Writes the record; the last step.
    async fn record(&self, target: Descriptor) -> Result<Image> {
        let images = self.host.images(&self.scope);
        let image = Image {
            name: self.name.clone(),
            target,
            labels: self.labels.clone(),
            created: jiff::Timestamp::UNIX_EPOCH,
            updated: jiff::Timestamp::UNIX_EPOCH,
        };
        loop {
            match images.create(image.clone()).await {
                Err(error) if error.is_already_exists() => {}
                created => return created,
            }
            // Labels of an older record that this pull does not set stay.
            let mut paths = vec!["target".to_owned()];
            paths.extend(self.labels.keys().map(|key| format!("labels.{key}")));
            match images.update(image.clone(), &paths).await {
                // Somebody removed it in between.
                Err(error) if error.is_not_found() => {}
                updated => return updated,
            }
        }
    }
}
