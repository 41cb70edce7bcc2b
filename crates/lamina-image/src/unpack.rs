//! Unpacking: snapshots of an image whose blobs are here already.

use lamina_core::image::Image;
use lamina_core::labels::{
    self, CRI_IMAGE_LAYERS, CRI_IMAGE_REF, CRI_LAYER_DIGEST, CRI_MANIFEST_DIGEST, SNAPSHOT_DIFF_ID,
    SNAPSHOT_PARENT_CHAIN_ID, SNAPSHOT_REF,
};
use lamina_core::layer::{Layer, LayerStore, Lazy};
use lamina_core::oci::{ImageConfig, Limits, Manifest};
use lamina_core::platform::Matcher;
use lamina_core::{Digest, Error, Host, Labels, Result, Scope};

use crate::contents::{Contents, Part};
use crate::pull::{for_a_day, note_unpacked};

/// Unpacks the platforms of `image` whose manifests are here, or the one that fits `platform` best,
/// and returns the chain ID of the topmost layer of each. Layers that are unpacked need no blob. The
/// image's config keeps the snapshots from the collector afterwards, and a lease until then.
///
/// # Errors
/// NotFound for what is not here, by digest; FailedPrecondition for an image without layers; those of
/// the snapshotter. Layers that were unpacked before an error are left to the collector.
pub async fn unpack(
    host: &dyn Host,
    scope: &Scope,
    snapshotter: &str,
    image: &Image,
    platform: Option<&Matcher>,
    limits: Limits,
) -> Result<Vec<Digest>> {
    let failed = |e: Error| e.context(format!("unpack {} into {snapshotter}", image.name));
    let leases = host.leases(scope);
    // It ends by itself after a process that died over it.
    let labels = Labels::from([for_a_day()]);
    let lease = leases.create("", labels).await?.id;
    let held = scope.clone().with_lease(&lease);
    let unpacked = unpack_held(host, &held, snapshotter, image, platform, limits).await;
    if let Err(error) = leases.delete(&lease, false).await {
        tracing::warn!(lease, error = %error.chain(), "a lease stays until it expires");
    }
    unpacked.map_err(failed)
}

async fn unpack_held(
    host: &dyn Host,
    held: &Scope,
    snapshotter: &str,
    image: &Image,
    platform: Option<&Matcher>,
    limits: Limits,
) -> Result<Vec<Digest>> {
    let store = host.layers(held, snapshotter)?;
    let content = host.content(held);
    let contents = Contents::of(&*content, &image.target, limits).await?;
    let parts = contents.chosen(platform);
    if parts.is_empty() {
        return Err(match contents.missing.iter().find(|d| d.digest == image.target.digest) {
            Some(target) => not_here("manifest", &target.digest, image),
            None => not_here("manifest for the platform wanted, of", &image.target.digest, image),
        });
    }
    let mut tops = Vec::with_capacity(parts.len());
    for part in parts {
        let top = unpack_part(&*store, &contents, part, image).await?;
        note_unpacked(&*content, &part.manifest.config.digest, snapshotter, &top).await?;
        tops.push(top);
    }
    Ok(tops)
}

async fn unpack_part(
    store: &dyn LayerStore,
    contents: &Contents,
    part: &Part,
    image: &Image,
) -> Result<Digest> {
    let config = &part.manifest.config;
    let Some(parsed) = &part.config else {
        if config.is_config() {
            return Err(not_here("config", &config.digest, image));
        }
        let message = format!("{} is no image of files", part.descriptor.digest);
        return Err(Error::failed_precondition(message));
    };
    parsed.check_layers(&part.manifest)?;
    let mut layers = layers(&part.manifest, parsed, &Labels::new());
    if let Some(lazy) = store.lazy() {
        annotate(&mut layers, lazy, &image.name, &part.descriptor.digest);
    }
    let Some(top) = layers.last().map(|layer| layer.chain_id.clone()) else {
        let message = "the image has no layers, so there is nothing to unpack";
        return Err(Error::failed_precondition(message));
    };
    for layer in layers {
        if store.find(&layer.chain_id).await? {
            continue;
        }
        let digest = &layer.blob.digest;
        // A snapshotter that may have the layer is asked first.
        if store.lazy().is_none() && !contents.here.contains_key(digest) {
            return Err(not_here("layer", digest, image));
        }
        let failed = |e: Error| e.context(format!("layer {digest}"));
        let staged = match store.stage(&layer).await {
            Err(error) if error.is_not_found() && !contents.here.contains_key(digest) => {
                return Err(not_here("layer", digest, image));
            }
            staged => staged.map_err(failed)?,
        };
        if let Some(staged) = staged {
            staged.commit().await.map_err(failed)?;
        }
    }
    Ok(top)
}

fn not_here(what: &str, digest: &Digest, image: &Image) -> Error {
    let name = &image.name;
    Error::not_found(format!("{what} {digest} is not here: `lamina pull {name}` gets it"))
}

/// Tells a lazy snapshotter what the layers' descriptors say to it, and if it wants to know, which
/// image `layers` are of, lowest first: by the labels that containerd's CRI uses. Other snapshotters
/// are not told: an image must not have a say in how a host keeps it.
pub(crate) fn annotate(layers: &mut [Layer], lazy: Lazy, image: &str, manifest: &Digest) {
    let digests: Vec<String> = layers.iter().map(|layer| layer.blob.digest.to_string()).collect();
    for (n, layer) in layers.iter_mut().enumerate() {
        for (key, value) in labels::inherited(&layer.blob.annotations) {
            if labels::check_one(&key, &value).is_ok() {
                layer.snapshot_labels.entry(key).or_insert(value);
            }
        }
        if !lazy.annotations {
            continue;
        }
        let mut all = String::new();
        // As many as a label can have, from this layer on.
        for digest in &digests[n..] {
            let comma = usize::from(!all.is_empty());
            if CRI_IMAGE_LAYERS.len() + all.len() + comma + digest.len() > labels::MAX_BYTES {
                break;
            }
            if comma == 1 {
                all.push(',');
            }
            all.push_str(digest);
        }
        layer.snapshot_labels.extend([
            (CRI_IMAGE_REF.to_owned(), image.to_owned()),
            (CRI_MANIFEST_DIGEST.to_owned(), manifest.to_string()),
            (CRI_LAYER_DIGEST.to_owned(), digests[n].clone()),
            (CRI_IMAGE_LAYERS.to_owned(), all),
        ]);
    }
}

/// The layers that `manifest` names and `config` identifies, lowest first. There are as many of one
/// as of the other.
pub(crate) fn layers(
    manifest: &Manifest,
    config: &ImageConfig,
    blob_labels: &Labels,
) -> Vec<Layer> {
    let mut parent: Option<Digest> = None;
    let chain = config.chain_ids();
    let each = manifest.layers.iter().zip(&config.rootfs.diff_ids).zip(chain);
    each.map(|((blob, diff_id), chain_id)| {
        let below = parent.replace(chain_id.clone());
        let mut snapshot_labels = Labels::from([
            (SNAPSHOT_REF.to_owned(), chain_id.to_string()),
            (SNAPSHOT_DIFF_ID.to_owned(), diff_id.to_string()),
        ]);
        if let Some(below) = &below {
            snapshot_labels.insert(SNAPSHOT_PARENT_CHAIN_ID.to_owned(), below.to_string());
        }
        Layer {
            blob: blob.clone(),
            diff_id: diff_id.clone(),
            chain_id,
            parent: below,
            blob_labels: blob_labels.clone(),
            snapshot_labels,
        }
    })
    .collect()
}
