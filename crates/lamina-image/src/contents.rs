//! What an image consists of, as far as its documents are here.

use std::collections::{BTreeMap, HashSet};

use lamina_core::oci::{Document, ImageConfig, Limits, Manifest};
use lamina_core::platform::Matcher;
use lamina_core::{ContentStore, Descriptor, Digest, Error, Platform, Result};

/// One manifest of an image that is here.
#[derive(Clone, Debug)]
pub struct Part {
    /// What names it.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// Its config, if it is an image's and is here.
    pub config: Option<ImageConfig>,
}

impl Part {
    /// The blobs it consists of: itself, its config and its layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        [&self.descriptor, &self.manifest.config].into_iter().chain(&self.manifest.layers)
    }

    /// What it runs on: as its config says, or where that is not here, as the index does.
    pub fn platform(&self) -> Option<Platform> {
        let config = self.config.as_ref().map(ImageConfig::platform);
        config.or_else(|| self.descriptor.platform.clone())
    }
}

/// An image, looked through from its target down.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Its indexes that are here, from the outermost on.
    pub indexes: Vec<Descriptor>,
    /// Its manifests that are here.
    pub parts: Vec<Part>,
    /// The blobs that are here, with their sizes.
    pub here: BTreeMap<Digest, u64>,
    /// What documents that are here refer to and is not here. Of an index, most platforms may be.
    pub missing: Vec<Descriptor>,
}

/// How deep indexes are looked into; a pull stores no deeper ones.
const DEEPEST: usize = 4;

impl Contents {
    /// Looks through what `target` refers to, by documents within `limits`. What is missing is noted,
    /// and no error.
    ///
    /// # Errors
    /// Those of the store; InvalidArgument for documents that cannot be read, with their digest.
    pub async fn of(
        content: &dyn ContentStore,
        target: &Descriptor,
        limits: Limits,
    ) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut next = vec![(target.clone(), 0)];
        let mut seen = HashSet::new();
        while let Some((descriptor, depth)) = next.pop() {
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            if !contents.note(content, &descriptor).await? {
                continue;
            }
            let bytes = document(content, &descriptor, limits).await?;
            let named = |e: Error| e.context(format!("manifest {}", descriptor.digest));
            let document = Document::parse(&bytes, &descriptor.media_type, limits);
            match document.map_err(named)? {
                Document::Index(index) if depth < DEEPEST => {
                    contents.indexes.push(descriptor);
                    next.extend(index.manifests.into_iter().rev().map(|d| (d, depth + 1)));
                }
                Document::Index(_) => {
                    return Err(named(Error::invalid_argument("indexes lie too deep")));
                }
                Document::Manifest(manifest) => {
                    let part =
                        contents.part(content, descriptor.clone(), *manifest, limits).await?;
                    contents.parts.push(part);
                }
            }
        }
        Ok(contents)
    }

    /// The bytes of all blobs that are here, each counted once.
    pub fn size(&self) -> u64 {
        self.here.values().sum()
    }

    /// The platforms whose manifest and config are here, each once.
    pub fn platforms(&self) -> Vec<Platform> {
        let mut platforms: Vec<Platform> = Vec::new();
        for config in self.parts.iter().filter_map(|part| part.config.as_ref()) {
            let platform = config.platform();
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        platforms
    }

    /// The manifest that fits best, or without a matcher all of them.
    pub fn chosen(&self, platform: Option<&Matcher>) -> Vec<&Part> {
        let Some(matcher) = platform else { return self.parts.iter().collect() };
        let known = self.parts.iter().filter_map(|part| Some((part, part.platform()?)));
        let fitting = known.filter(|(_, platform)| matcher.matches(platform));
        let best = fitting.min_by_key(|(_, platform)| matcher.rank(platform));
        best.map(|(part, _)| part).into_iter().collect()
    }

    async fn part(
        &mut self,
        content: &dyn ContentStore,
        descriptor: Descriptor,
        manifest: Manifest,
        limits: Limits,
    ) -> Result<Part> {
        for layer in &manifest.layers {
            self.note(content, layer).await?;
        }
        let mut config = None;
        if self.note(content, &manifest.config).await? && manifest.config.is_config() {
            let bytes = document(content, &manifest.config, limits).await?;
            let parsed = ImageConfig::parse(&bytes, limits);
            let named = |e: Error| e.context(format!("config {}", manifest.config.digest));
            config = Some(parsed.map_err(named)?);
        }
        Ok(Part { descriptor, manifest, config })
    }

    /// Notes whether a blob is here.
    async fn note(&mut self, content: &dyn ContentStore, blob: &Descriptor) -> Result<bool> {
        match content.info(&blob.digest).await {
            Ok(info) => {
                self.here.insert(info.digest, info.size);
                Ok(true)
            }
            Err(error) if error.is_not_found() => {
                self.missing.push(blob.clone());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The bytes of a document that is here.
///
/// # Errors
/// NotFound when it is not; InvalidArgument for more bytes than a document may have.
pub async fn document(
    content: &dyn ContentStore,
    descriptor: &Descriptor,
    limits: Limits,
) -> Result<Vec<u8>> {
    let reader = content.reader(&descriptor.digest).await?;
    let limit = limits.bytes;
    let size = usize::try_from(reader.size()).unwrap_or(usize::MAX);
    if size > limit {
        let digest = &descriptor.digest;
        return Err(Error::invalid_argument(format!("{digest} is longer than {limit} bytes")));
    }
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let chunk = reader.read_at(bytes.len() as u64, size - bytes.len()).await?;
        if chunk.is_empty() {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
