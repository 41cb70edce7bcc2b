//! What `docker save` writes: a `manifest.json` that names files, of which manifests are made here.

use bytes::Bytes;
use lamina_core::content::{CommitOptions, ContentStore, WriteOptions};
use lamina_core::oci::{ImageConfig, Limits, Manifest};
use lamina_core::{Descriptor, Digest, Error, Kind, Labels, Result, media_type};
use serde::Deserialize;

use super::intake::Intake;
use super::names;
use crate::compression::{self, Compression, MAGIC};
use crate::contents::document;
use crate::convert::repack;
use crate::export::IMAGE_NAME;

/// One image of a Docker archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl DockerImage {
    /// Whether it consists of that file too.
    pub(super) fn names(&self, file: &str) -> bool {
        let mut files = self.layers.iter().flatten().chain([&self.config]);
        files.any(|name| super::paths::clean(name).is_ok_and(|name| name == file))
    }
}

/// Reads a `manifest.json`.
pub(super) fn parse(bytes: &[u8], limits: Limits) -> Result<Vec<DockerImage>> {
    let images: Vec<DockerImage> = serde_json::from_slice(bytes)
        .map_err(|e| Error::invalid_argument(format!("manifest.json is malformed: {e}")))?;
    let parts = images.iter().map(|i| 1 + i.layers.as_ref().map_or(0, Vec::len)).sum::<usize>();
    if parts > limits.entries {
        return Err(Error::resource_exhausted(format!(
            "{parts} files in manifest.json are more than the limit of {}",
            limits.entries
        )));
    }
    Ok(images)
}

/// Makes the manifests of a Docker archive; each comes once for every name it has, or once without.
pub(super) async fn manifests(
    intake: &Intake<'_>,
    images: &[DockerImage],
    limits: Limits,
    compress: bool,
) -> Result<Vec<Descriptor>> {
    let mut roots = Vec::new();
    for image in images {
        let root = manifest(intake, image, limits, compress)
            .await
            .map_err(|e| e.context(format!("the image with the config {}", image.config)))?;
        let tags = image.repo_tags.iter().flatten();
        let tags = tags.map(|tag| names::of_tag(tag)).collect::<Result<Vec<_>>>()?;
        if tags.is_empty() {
            roots.push(root);
            continue;
        }
        for tag in tags {
            let mut named = root.clone();
            named.annotations.insert(IMAGE_NAME.to_owned(), tag);
            roots.push(named);
        }
    }
    Ok(roots)
}

async fn manifest(
    intake: &Intake<'_>,
    image: &DockerImage,
    limits: Limits,
    compress: bool,
) -> Result<Descriptor> {
    let content = &*intake.content;
    let stored = intake.find(&image.config)?;
    let config = Descriptor::new(media_type::DOCKER_CONFIG, stored.digest, stored.size);
    let parsed = ImageConfig::parse(&document(content, &config, limits).await?, limits)?;
    let mut layers = Vec::new();
    for (n, name) in image.layers.iter().flatten().enumerate() {
        let stored = intake.find(name)?;
        let diff_id = parsed.rootfs.diff_ids.get(n);
        let failed = |e: Error| e.context(name.clone());
        layers.push(layer(content, &stored, diff_id, compress).await.map_err(failed)?);
    }
    let manifest = Manifest {
        media_type: Some(media_type::DOCKER_MANIFEST.to_owned()),
        ..Manifest::new(config.clone(), layers)
    };
    parsed.check_layers(&manifest)?;
    let bytes = serde_json::to_vec(&manifest)
        .map_err(|error| Error::internal("write a manifest").with_source(error))?;
    let mut root = Descriptor::of(media_type::DOCKER_MANIFEST, &bytes);
    put(content, &root, bytes.into()).await?;
    root.platform = Some(parsed.platform());
    Ok(root)
}

/// Describes a layer by how it begins; checks it as far as that costs nothing.
async fn layer(
    content: &dyn ContentStore,
    stored: &Descriptor,
    diff_id: Option<&Digest>,
    compress: bool,
) -> Result<Descriptor> {
    let head = content.reader(&stored.digest).await?.read_at(0, MAGIC).await?;
    let (media_type, digest, size) = match compression::sniff(&head) {
        Compression::None => {
            if let Some(diff_id) = diff_id.filter(|id| **id != stored.digest) {
                return Err(Error::new(
                    Kind::DataLoss,
                    format!("its digest is {}, but the config says {diff_id}", stored.digest),
                ));
            }
            if compress {
                let packed = repack(content, stored, Compression::Gzip, diff_id).await?;
                return Ok(Descriptor::new(
                    media_type::DOCKER_LAYER_GZIP,
                    packed.digest,
                    packed.size,
                ));
            }
            (media_type::DOCKER_LAYER, &stored.digest, stored.size)
        }
        Compression::Gzip => (media_type::DOCKER_LAYER_GZIP, &stored.digest, stored.size),
        Compression::Zstd => (media_type::DOCKER_LAYER_ZSTD, &stored.digest, stored.size),
    };
    Ok(Descriptor::new(media_type, digest.clone(), size))
}

/// Stores a document that was made here.
pub(crate) async fn put(
    content: &dyn ContentStore,
    document: &Descriptor,
    bytes: Bytes,
) -> Result<()> {
    let expected = Some(document.digest.clone());
    let options = WriteOptions { expected: expected.clone(), total: document.size };
    let name = format!("document-{}", document.digest);
    let open = || content.writer(&name, options.clone());
    let mut writer = match crate::pull::when_free(open).await {
        Err(error) if error.is_already_exists() => return Ok(()),
        writer => writer?,
    };
    writer.truncate(0).await?;
    writer.write(bytes).await?;
    let options = CommitOptions { size: Some(document.size), expected, labels: Labels::new() };
    match writer.commit(options).await {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

impl Intake<'_> {
    /// The file of that name, by links if need be.
    fn find(&self, name: &str) -> Result<Descriptor> {
        let mut at = super::paths::clean(name)?;
        // A chain of links has an end, or is longer than any there is.
        for _ in 0..=self.links.len() {
            if let Some(stored) = self.files.get(&at) {
                return Ok(stored.clone());
            }
            match self.links.get(&at) {
                Some(Some(to)) => at = to.clone(),
                Some(None) => {
                    return Err(Error::invalid_argument(format!(
                        "{name} is a link that leads out of the archive"
                    )));
                }
                None => break,
            }
        }
        Err(Error::invalid_argument(format!("the archive lacks the file {name}")))
    }
}
