//! Commit: what a container has written becomes the top layer of a new image.

mod change;
mod document;

use bytes::Bytes;
use jiff::Timestamp;
use lamina_core::content::{CommitOptions as Seal, WriteOptions};
use lamina_core::diff::CompareOptions;
use lamina_core::image::Image;
use lamina_core::labels::UNCOMPRESSED;
use lamina_core::oci::Limits;
use lamina_core::{
    Container, ContentStore, Descriptor, Digest, Error, Filters, Host, Labels, Result, Scope,
    media_type,
};

pub use change::Change;

use crate::changes;
use crate::contents::{Contents, Part};
use crate::pull::{add_labels, for_a_day, manifest_labels};
use crate::unpack::unpack;

/// What the new image says of itself.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Who made it.
    pub author: String,
    /// Why.
    pub message: String,
    /// Changes to how it is run.
    pub changes: Vec<Change>,
    /// The time that it says it was made, and the latest time of its files; now, and as they are,
    /// without it.
    pub date: Option<Timestamp>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The image's record.
    pub image: Image,
    /// The new layer.
    pub layer: Descriptor,
    /// The chain ID of it, under which it is unpacked.
    pub top: Digest,
}

/// Makes the image `name` of a container's files, and unpacks it. A name that stood for another image
/// stands for this one afterwards. The container should not write meanwhile: see
/// [`TaskService::pause`](lamina_core::TaskService::pause).
///
/// # Errors
/// FailedPrecondition for a container without files of its own, or whose image is not here; Aborted for
/// files that change meanwhile; those of the stores. No image is made then, and what was written goes
/// with the next collection.
pub async fn commit(
    host: &dyn Host,
    scope: &Scope,
    container: &Container,
    name: &str,
    options: &CommitOptions,
    limits: Limits,
) -> Result<Committed> {
    let leases = host.leases(scope);
    // It ends by itself after a process that died over it.
    let lease = leases.create("", Labels::from([for_a_day()])).await?.id;
    let held = scope.clone().with_lease(&lease);
    let made = commit_held(host, &held, container, name, options, limits).await;
    if let Err(error) = leases.delete(&lease, false).await {
        tracing::warn!(lease, error = %error.chain(), "a lease stays until it expires");
    }
    made.map_err(|error| error.context(format!("commit container {:?}", container.id)))
}

async fn commit_held(
    host: &dyn Host,
    held: &Scope,
    container: &Container,
    name: &str,
    options: &CommitOptions,
    limits: Limits,
) -> Result<Committed> {
    let content = host.content(held);
    let content = &*content;
    let (below, layers) = below(host, held, container, limits).await?;
    let compare = CompareOptions { source_date_epoch: options.date, ..CompareOptions::default() };
    let (snapshotter, key) = (&container.snapshotter, &container.snapshot_key);
    let layer = changes::of_snapshot(host, held, snapshotter, key, compare).await?;
    let diff_id = content.info(&layer.digest).await?.labels.remove(UNCOMPRESSED);
    let diff_id =
        diff_id.ok_or_else(|| Error::internal("a layer that does not say its diff ID"))?;
    let diff_id = Digest::parse(&diff_id)?;

    let docker = media_type::is_docker(&below.descriptor.media_type);
    let bytes = read(content, &below.manifest.config, limits).await?;
    let created = options.date.unwrap_or_else(Timestamp::now);
    let config = document::config(&bytes, layers, &diff_id, &command(container), created, options)?;
    let config_type = &below.manifest.config.media_type;
    let config = put(content, config_type, config, Labels::new()).await?;
    let manifest = document::manifest(&below.manifest, layers, docker, config, layer.clone());
    let labels = manifest_labels(&manifest);
    let bytes = serde_json::to_vec(&manifest)
        .map_err(|error| Error::internal("write the manifest").with_source(error))?;
    let manifest_type = manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
    let target = put(content, manifest_type, bytes, labels).await?;

    let image = Image {
        name: name.to_owned(),
        target,
        labels: Labels::new(),
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    };
    // The name comes last: with it, all of the image is here.
    let tops = unpack(host, held, snapshotter, &image, None, limits).await?;
    let top = tops.into_iter().next().ok_or_else(|| Error::internal("nothing was unpacked"))?;
    let images = host.images(held);
    let image = match images.create(image.clone()).await {
        Err(error) if error.is_already_exists() => {
            images.update(image, &["target".to_owned()]).await?
        }
        created => created?,
    };
    Ok(Committed { image, layer, top })
}

/// The image that the container's files lie on, and how many of its layers: the one it was made of, or
/// another that begins with the same layers, since names can be given to others meanwhile.
async fn below(
    host: &dyn Host,
    held: &Scope,
    container: &Container,
    limits: Limits,
) -> Result<(Part, usize)> {
    if container.snapshot_key.is_empty() {
        return Err(Error::failed_precondition("it has no snapshot: its files are not kept here"));
    }
    let snapshots = host.snapshotter(held, &container.snapshotter)?;
    let parent = snapshots.stat(&container.snapshot_key).await?.parent;
    let mut images = host.images(held).list(Filters::default()).await?;
    images.sort_by_key(|image| image.name != container.image);
    let mut longer = None;
    for image in images {
        let contents = match Contents::of(&*host.content(held), &image.target, limits).await {
            Ok(contents) => contents,
            Err(error) => {
                tracing::debug!(image = image.name, error = %error.chain(), "an image is passed over");
                continue;
            }
        };
        for part in contents.parts {
            let Some(config) = &part.config else { continue };
            if config.check_layers(&part.manifest).is_err() {
                continue;
            }
            let chain = config.chain_ids();
            match chain.iter().position(|id| id.as_str() == parent).map(|at| at + 1) {
                Some(layers) if layers == chain.len() => return Ok((part, layers)),
                Some(layers) if longer.is_none() => longer = Some((part, layers)),
                _ => {}
            }
        }
    }
    if let Some(found) = longer {
        return Ok(found);
    }
    Err(Error::failed_precondition(format!(
        "the image that its files lie on is not here: it was made of {:?}, and no image here has the \
         layers of snapshot {parent:?}",
        container.image
    )))
}

/// What the container runs, as the history of the image tells it.
fn command(container: &Container) -> String {
    let spec: serde_json::Value = serde_json::from_slice(&container.spec.value).unwrap_or_default();
    let args = spec["process"]["args"].as_array().cloned().unwrap_or_default();
    let words: Vec<&str> = args.iter().filter_map(serde_json::Value::as_str).collect();
    words.join(" ")
}

async fn read(
    content: &dyn ContentStore,
    descriptor: &Descriptor,
    limits: Limits,
) -> Result<Bytes> {
    let reader = content.reader(&descriptor.digest).await?;
    let len = usize::try_from(reader.size()).unwrap_or(usize::MAX);
    if len > limits.bytes {
        let digest = &descriptor.digest;
        return Err(Error::resource_exhausted(format!("config {digest} has {len} bytes")));
    }
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let piece = reader.read_at(bytes.len() as u64, len - bytes.len()).await?;
        if piece.is_empty() {
            return Err(Error::data_loss(format!("config {} is cut off", descriptor.digest)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// Stores a document; one that is here already gets the labels.
async fn put(
    content: &dyn ContentStore,
    media_type: &str,
    bytes: Vec<u8>,
    labels: Labels,
) -> Result<Descriptor> {
    let (digest, size) = (Digest::sha256(&bytes), bytes.len() as u64);
    let options = WriteOptions { expected: Some(digest.clone()), total: size };
    let name = format!("commit-{digest}");
    let written = match content.writer(&name, options).await {
        Ok(mut writer) => {
            writer.truncate(0).await?;
            writer.write(bytes.into()).await?;
            let expected = Some(digest.clone());
            writer.commit(Seal { size: Some(size), expected, labels: labels.clone() }).await
        }
        Err(error) => Err(error),
    };
    match written {
        Err(error) if error.is_already_exists() => add_labels(content, &digest, labels).await?,
        written => drop(written?),
    }
    Ok(Descriptor::new(media_type, digest, size))
}
