//! Import: from an archive, or a layout on disk, to image records whose content and snapshots are
//! whole.
//!
//! An archive comes as a stream and is read once. What it says of itself may come before the blobs or
//! behind them: layers that are known when they come are unpacked on the way, others from the content
//! store afterwards. A lease holds what was made until the records do; after a failure it is let go, so
//! that the collector takes what nothing refers to. Nothing of an archive becomes a path on this host.

mod docker;
mod entries;
mod intake;
mod layout;
mod names;
mod paths;

use std::path::PathBuf;
use std::sync::Arc;

use lamina_core::image::Image;
use lamina_core::layer::LayerStore;
use lamina_core::oci::{Index, Limits};
use lamina_core::platform::Matcher;
use lamina_core::transfer::{ByteStream, NewReference};
use lamina_core::{Descriptor, Error, Host, Kind, Labels, Result, Scope, media_type};

pub(crate) use docker::put;
pub use layout::archive_of;

use crate::contents::{Contents, Part};
use crate::pull::{Progress, add_labels, for_a_day, index_labels, manifest_labels, note_unpacked};
use crate::{record, unpack};
use entries::Entries;
use intake::Intake;
use names::Given;

/// What to import, and into where.
#[derive(Clone, Debug)]
pub struct Import {
    /// The stores.
    pub host: Arc<dyn Host>,
    /// Whose images they will be. Its lease holds what is made; without one, the import makes one of
    /// its own, which ends with it.
    pub scope: Scope,
    /// The platforms; none for all that are in it.
    pub platforms: Option<Matcher>,
    /// Names of the archive as a whole.
    pub index_names: Vec<String>,
    /// How the images in it are named: the prefixes among these.
    pub references: Vec<NewReference>,
    /// Labels of the image records.
    pub labels: Labels,
    /// Snapshotters to unpack into, and which platforms.
    pub unpacks: Vec<(String, Matcher)>,
    /// Compress layers of a Docker archive that are not compressed.
    pub force_compress: bool,
    /// Bounds of manifests, indexes and configs.
    pub limits: Limits,
    /// Who is told how far it is.
    pub progress: Arc<dyn Progress>,
}

/// Where images come from.
pub enum Source {
    /// A tar, compressed or not: an OCI layout, or what `docker save` writes.
    Archive(ByteStream),
    /// The folder of an OCI layout.
    Layout(PathBuf),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Archive(_) => f.write_str("Archive"),
            Source::Layout(path) => f.debug_tuple("Layout").field(path).finish(),
        }
    }
}

impl Import {
    /// Imports. Returns the records that were made.
    ///
    /// # Errors
    /// InvalidArgument for an archive that is none, lacks a part, or names two images the same;
    /// FailedPrecondition and DataLoss for content that is not of its digest, or ends early; NotFound
    /// when no image in it gets a name, or none fits the platform; those of the stores. No image record
    /// was made then.
    pub async fn run(&self, source: Source) -> Result<Vec<Image>> {
        if self.scope.lease.is_some() {
            return self.under(&self.scope, source).await;
        }
        let leases = self.host.leases(&self.scope);
        // It ends by itself after a process that died over it.
        let lease = leases.create("", Labels::from([for_a_day()])).await?.id;
        let imported = self.under(&self.scope.clone().with_lease(&lease), source).await;
        if let Err(error) = leases.delete(&lease, false).await {
            tracing::warn!(lease, error = %error.chain(), "a lease stays until it expires");
        }
        imported
    }

    async fn under(&self, held: &Scope, source: Source) -> Result<Vec<Image>> {
        let mut stores: Vec<(&str, Arc<dyn LayerStore>, &Matcher)> = Vec::new();
        for (name, matcher) in &self.unpacks {
            stores.push((name, self.host.layers(held, name)?, matcher));
        }
        let first = stores.first().map(|(_, store, matcher)| (Arc::clone(store), *matcher));
        let mut intake = Intake::new(self, self.host.content(held), first);
        intake.take(&mut Entries::open(source).await?).await?;
        let roots = self.roots(&intake).await?;
        let mut given = Given::default();
        let mut records = Vec::new();
        for root in &roots {
            for name in names::names(root, &self.references) {
                if given.give(&name, &root.digest)? {
                    records.push((name, root.clone()));
                }
            }
        }
        for root in &roots {
            self.whole(&mut intake, &stores, root)
                .await
                .map_err(|e| e.context(format!("the archive's image {}", root.digest)))?;
        }
        if !self.index_names.is_empty() {
            let index = self.put_index(&intake, &roots).await?;
            for name in &self.index_names {
                given.give(name, &index.digest)?;
                records.push((name.clone(), index.clone()));
            }
        }
        if records.is_empty() {
            return Err(Error::not_found("the archive has no image with a name"));
        }
        let images = self.host.images(&self.scope);
        let mut made = Vec::with_capacity(records.len());
        for (name, mut target) in records {
            // They say how the archive names it, which the record does now.
            target.annotations.clear();
            made.push(record::put(&*images, &name, &target, &self.labels).await?);
        }
        Ok(made)
    }

    /// The images that the archive says it has.
    async fn roots(&self, intake: &Intake<'_>) -> Result<Vec<Descriptor>> {
        match (&intake.index, &intake.docker) {
            (Some(index), _) => Ok(index.manifests.clone()),
            (None, Some(images)) => {
                docker::manifests(intake, images, self.limits, self.force_compress).await
            }
            (None, None) => Err(Error::invalid_argument(
                "the archive has neither an index.json nor a manifest.json: it holds no images",
            )),
        }
    }

    /// Checks that all of an image is here, lets its documents keep it, and unpacks it.
    async fn whole(
        &self,
        intake: &mut Intake<'_>,
        stores: &[(&str, Arc<dyn LayerStore>, &Matcher)],
        root: &Descriptor,
    ) -> Result<()> {
        let contents = Contents::of(&*intake.content, root, self.limits).await?;
        let parts: Vec<&Part> = contents.parts.iter().filter(|part| self.wants(part)).collect();
        if parts.is_empty() {
            return Err(match contents.missing.first() {
                Some(blob) if contents.parts.is_empty() => lacks(blob),
                _ => Error::not_found("no manifest for the platform wanted"),
            });
        }
        for part in &parts {
            let blobs = part.blobs().filter(|b| !media_type::is_nondistributable(&b.media_type));
            let mut lacking = blobs.filter(|blob| !contents.here.contains_key(&blob.digest));
            if let Some(blob) = lacking.next() {
                return Err(lacks(blob));
            }
            let digest = &part.descriptor.digest;
            add_labels(&*intake.content, digest, manifest_labels(&part.manifest)).await?;
        }
        for descriptor in &contents.indexes {
            let bytes =
                crate::contents::document(&*intake.content, descriptor, self.limits).await?;
            let mut index = Index::parse(&bytes, self.limits)?;
            let kept = |d: &Descriptor| match d.is_manifest() {
                true => parts.iter().any(|part| part.descriptor.digest == d.digest),
                false => contents.here.contains_key(&d.digest),
            };
            index.manifests.retain(kept);
            add_labels(&*intake.content, &descriptor.digest, index_labels(&index)).await?;
        }
        for part in parts {
            for (name, store, matcher) in stores {
                self.unpack(intake, &**store, name, matcher, part).await?;
            }
        }
        Ok(())
    }

    fn wants(&self, part: &Part) -> bool {
        match (&self.platforms, part.platform()) {
            (Some(matcher), Some(platform)) => matcher.matches(&platform),
            _ => true,
        }
    }

    async fn unpack(
        &self,
        intake: &mut Intake<'_>,
        store: &dyn LayerStore,
        snapshotter: &str,
        platforms: &Matcher,
        part: &Part,
    ) -> Result<()> {
        let Some(config) = &part.config else { return Ok(()) };
        config.check_layers(&part.manifest)?;
        if !platforms.matches(&config.platform()) {
            return Ok(());
        }
        let layers = unpack::layers(&part.manifest, config, &Labels::new());
        let Some(top) = layers.last().map(|layer| layer.chain_id.clone()) else { return Ok(()) };
        for layer in layers {
            let failed = |e: Error| e.context(format!("layer {}", layer.blob.digest));
            if store.find(&layer.chain_id).await? {
                continue;
            }
            let staged = match intake.staged(&layer.chain_id) {
                Some(staged) => Some(staged),
                None => store.stage(&layer).await.map_err(failed)?,
            };
            if let Some(staged) = staged {
                staged.commit().await.map_err(failed)?;
            }
        }
        note_unpacked(&*intake.content, &part.manifest.config.digest, snapshotter, &top).await
    }

    /// Stores an index of all images, for the archive's own name.
    async fn put_index(&self, intake: &Intake<'_>, roots: &[Descriptor]) -> Result<Descriptor> {
        let index = Index::new(roots.to_vec());
        let bytes = serde_json::to_vec(&index)
            .map_err(|error| Error::internal("write an index").with_source(error))?;
        let descriptor = Descriptor::of(media_type::OCI_INDEX, &bytes);
        put(&*intake.content, &descriptor, bytes.into()).await?;
        add_labels(&*intake.content, &descriptor.digest, index_labels(&index)).await?;
        Ok(descriptor)
    }

    /// What ingests of this import are called: no two imports have the same.
    fn token(&self) -> String {
        format!("import-{:p}-{}", self, jiff::Timestamp::now().as_nanosecond())
    }
}

fn lacks(blob: &Descriptor) -> Error {
    let what = match blob {
        d if d.is_layer() => "layer",
        d if d.is_config() => "config",
        d if d.is_index() => "index",
        _ => "manifest",
    };
    Error::new(Kind::InvalidArgument, format!("the archive lacks the {what} {}", blob.digest))
}
