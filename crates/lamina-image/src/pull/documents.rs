//! Indexes, manifests and configs: fetched, chosen by platform, stored with the labels by which the
//! collector keeps what they refer to.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use lamina_core::content::{CommitOptions, ContentStore, Info, WriteOptions};
use lamina_core::labels::{DISTRIBUTION_SOURCE, GC_REF_CONTENT, GC_REF_SNAPSHOT, MAX_BYTES};
use lamina_core::oci::{Document, ImageConfig, Index, Manifest};
use lamina_core::{Descriptor, Digest, Error, Labels, Platform, Reference, Result};

use super::wait::when_free;
use super::{Platforms, Pull, State};

/// One manifest of what is pulled, with its config if it is an image's.
#[derive(Debug)]
pub(super) struct ImageDocuments {
    /// The manifest's digest.
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    pub(super) config: Option<ImageConfig>,
    /// Whether its layers are wanted too.
    pub(super) wanted: bool,
}

/// Fetches and stores documents.
#[derive(Debug)]
pub(super) struct Documents<'a> {
    pull: &'a Pull,
    content: Arc<dyn ContentStore>,
}

/// How deep indexes may lie in indexes. Nobody nests more than one; a loop cannot be made with
/// digests, but a long chain can.
const DEEPEST: usize = 4;

impl<'a> Documents<'a> {
    pub(super) fn new(pull: &'a Pull, content: Arc<dyn ContentStore>) -> Self {
        Documents { pull, content }
    }

    /// Fetches `target` and what is chosen below it, down to the configs.
    ///
    /// # Errors
    /// NotFound when nothing fits the platform.
    pub(super) async fn fetch(&self, target: &Descriptor) -> Result<Vec<ImageDocuments>> {
        let mut images = Vec::new();
        let mut next = vec![(target.clone(), 0, true)];
        // A few small indexes that name each other many times would be work for ever.
        let mut seen = HashSet::new();
        while let Some((descriptor, depth, wanted)) = next.pop() {
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            if seen.len() > self.pull.limits.entries {
                return Err(Error::resource_exhausted(format!(
                    "{} leads to more than {} manifests",
                    target.digest, self.pull.limits.entries
                )));
            }
            let bytes = self.pull.repository.manifest(&descriptor).await?;
            let document = Document::parse(&bytes, &descriptor.media_type, self.pull.limits)
                .map_err(|e| e.context(format!("manifest {}", descriptor.digest)))?;
            match document {
                Document::Index(index) => {
                    if depth == DEEPEST {
                        return Err(Error::invalid_argument(format!(
                            "index {} lies {DEEPEST} indexes deep",
                            descriptor.digest
                        )));
                    }
                    self.store("index", &descriptor, bytes, index_labels(&index)).await?;
                    let (chosen, others) = self.choose(&index, wanted)?;
                    let children = [chosen.as_slice(), &others].concat();
                    self.pull.progress.children(&descriptor, &children);
                    next.extend(chosen.into_iter().map(|d| (d, depth + 1, wanted)));
                    next.extend(others.into_iter().map(|d| (d, depth + 1, false)));
                }
                Document::Manifest(manifest) => {
                    self.store("manifest", &descriptor, bytes, manifest_labels(&manifest)).await?;
                    let layers = if wanted { manifest.layers.as_slice() } else { &[] };
                    let children = [std::slice::from_ref(&manifest.config), layers].concat();
                    self.pull.progress.children(&descriptor, &children);
                    let config = self.config(&descriptor, &manifest, wanted).await?;
                    let digest = descriptor.digest.clone();
                    images.push(ImageDocuments { digest, manifest: *manifest, config, wanted });
                }
            }
        }
        Ok(images)
    }

    /// Notes which snapshots an unpacked image has: its config keeps them.
    pub(super) async fn note_unpacked(
        &self,
        image: &ImageDocuments,
        snapshotter: &str,
        top: &Digest,
    ) -> Result<()> {
        note_unpacked(&*self.content, &image.manifest.config.digest, snapshotter, top).await
    }

    /// The manifests of an index that are wanted, the best first, and those whose documents are.
    fn choose(&self, index: &Index, wanted: bool) -> Result<(Vec<Descriptor>, Vec<Descriptor>)> {
        let (matcher, limit, all_metadata) = match &self.pull.platforms {
            Platforms::All => return Ok((index.manifests.clone(), Vec::new())),
            Platforms::Best(matcher) => (matcher, 1, false),
            Platforms::Chosen(_) if !wanted => return Ok((Vec::new(), index.manifests.clone())),
            Platforms::Chosen(choice) => (&choice.matcher, choice.limit, choice.all_metadata),
        };
        let mut fitting: Vec<&Descriptor> = index
            .manifests
            .iter()
            // A manifest that names no platform may fit; its config tells.
            .filter(|d| d.platform.as_ref().is_none_or(|p| matcher.matches(p)))
            .collect();
        fitting.sort_by_key(|d| match &d.platform {
            Some(platform) => (false, Some(matcher.rank(platform))),
            None => (true, None),
        });
        if fitting.is_empty() {
            return Err(no_match(index.manifests.iter().filter_map(|d| d.platform.as_ref())));
        }
        if limit > 0 {
            fitting.truncate(limit);
        }
        let chosen: Vec<Descriptor> = fitting.into_iter().cloned().collect();
        let other = |d: &&Descriptor| all_metadata && !chosen.contains(d);
        let others = index.manifests.iter().filter(other).cloned().collect();
        Ok((chosen, others))
    }

    /// Fetches and reads the config of an image. An artifact's config is stored and not read.
    async fn config(
        &self,
        descriptor: &Descriptor,
        manifest: &Manifest,
        wanted: bool,
    ) -> Result<Option<ImageConfig>> {
        let limits = self.pull.limits;
        let bytes = self.pull.repository.document(&manifest.config, limits.bytes as u64).await?;
        let config = match manifest.config.is_config() {
            false => None,
            true => Some(
                ImageConfig::parse(&bytes, limits)
                    .map_err(|e| e.context(format!("config {}", manifest.config.digest)))?,
            ),
        };
        let matcher = match &self.pull.platforms {
            Platforms::Best(matcher) => Some(matcher),
            Platforms::Chosen(choice) => Some(&choice.matcher).filter(|_| wanted),
            Platforms::All => None,
        };
        if let (Some(config), Some(matcher)) = (&config, matcher) {
            let platform = config.platform();
            if descriptor.platform.is_none() && !matcher.matches(&platform) {
                return Err(no_match([&platform]));
            }
        }
        self.store("config", &manifest.config, bytes, Labels::new()).await?;
        Ok(config)
    }

    async fn store(
        &self,
        kind: &str,
        descriptor: &Descriptor,
        bytes: Bytes,
        mut labels: Labels,
    ) -> Result<()> {
        let reference = self.pull.repository.reference();
        let options =
            WriteOptions { expected: Some(descriptor.digest.clone()), total: bytes.len() as u64 };
        let name = format!("{kind}-{}", descriptor.digest);
        let open = || self.content.writer(&name, options.clone());
        let writer = match when_free(open).await {
            Err(error) if error.is_already_exists() => None,
            writer => Some(writer?),
        };
        let Some(mut writer) = writer else {
            self.pull.progress.state(descriptor, State::Exists);
            let source = source_label(reference);
            labels.extend(source);
            return add_labels(&*self.content, &descriptor.digest, labels).await;
        };
        self.pull.progress.state(descriptor, State::Downloading { from: 0 });
        // Another writer may have left a part of it, which need not be looked at for so few bytes.
        writer.truncate(0).await?;
        writer.write(bytes).await?;
        labels.extend(source_label(reference));
        let commit = CommitOptions {
            size: Some(descriptor.size),
            expected: Some(descriptor.digest.clone()),
            labels,
        };
        match writer.commit(commit).await {
            Err(error) if !error.is_already_exists() => return Err(error),
            _ => {}
        }
        self.pull.progress.state(descriptor, State::Done);
        Ok(())
    }
}

/// Notes in a config which snapshots its image has: the collector keeps them as long as the config.
pub(crate) async fn note_unpacked(
    content: &dyn ContentStore,
    config: &Digest,
    snapshotter: &str,
    top: &Digest,
) -> Result<()> {
    let labels = Labels::from([(format!("{GC_REF_SNAPSHOT}{snapshotter}"), top.to_string())]);
    add_labels(content, config, labels).await
}

/// The label that says where a blob came from. It names the registry without its port, as containerd's
/// does: clients look for just that when they mount a blob from another repository.
pub(crate) fn source_label(reference: &Reference) -> Labels {
    let domain = reference.domain();
    let host = match domain.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((address, _)) => address,
        None => domain.split_once(':').map_or(domain, |(host, _)| host),
    };
    Labels::from([(format!("{DISTRIBUTION_SOURCE}.{host}"), reference.repository().to_owned())])
}

/// Adds labels to a blob. Where it came from is added to, as a comma-joined, sorted list without
/// doubles; a list that grew over the bound of labels stays as it was.
pub(crate) async fn add_labels(
    content: &dyn ContentStore,
    digest: &Digest,
    labels: Labels,
) -> Result<()> {
    let mut info = content.info(digest).await?;
    let mut paths = Vec::new();
    for (key, mut value) in labels {
        let old = info.labels.get(&key);
        if let (true, Some(old)) = (key.starts_with(DISTRIBUTION_SOURCE), old) {
            let mut all: Vec<&str> = old.split(',').chain([value.as_str()]).collect();
            all.sort_unstable();
            all.dedup();
            value = all.join(",");
            if key.len() + value.len() > MAX_BYTES {
                tracing::warn!(%digest, key, "not noting another source: the label would be too long");
                continue;
            }
        }
        if old == Some(&value) {
            continue;
        }
        paths.push(format!("labels.{key}"));
        info.labels.insert(key, value);
    }
    if paths.is_empty() {
        return Ok(());
    }
    let info = Info { digest: digest.clone(), ..info };
    content.update(info, &paths).await.map(drop)
}

/// The labels by which a manifest keeps what it names.
pub(crate) fn manifest_labels(manifest: &Manifest) -> Labels {
    let layers = manifest.layers.iter().enumerate();
    layers
        .map(|(n, layer)| (format!("{GC_REF_CONTENT}.l.{n}"), layer.digest.to_string()))
        .chain([(format!("{GC_REF_CONTENT}.config"), manifest.config.digest.to_string())])
        .collect()
}

/// What an index keeps: its manifests.
pub(crate) fn index_labels(index: &Index) -> Labels {
    let manifests = index.manifests.iter().enumerate();
    manifests.map(|(n, m)| (format!("{GC_REF_CONTENT}.m.{n}"), m.digest.to_string())).collect()
}

fn no_match<'a>(there: impl IntoIterator<Item = &'a Platform>) -> Error {
    let there: Vec<String> = there.into_iter().map(ToString::to_string).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Error::not_found(format!("no manifest for the platform wanted; there are: {there}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_host_without_its_port() {
        for (domain, host) in [
            ("docker.io", "docker.io"),
            ("127.0.0.1:5000", "127.0.0.1"),
            ("[::1]:5000", "::1"),
            ("[::1]", "::1"),
        ] {
            let reference = Reference::parse(&format!("{domain}/a/b:1")).unwrap();
            let label = format!("{DISTRIBUTION_SOURCE}.{host}");
            assert_eq!(source_label(&reference), Labels::from([(label, "a/b".to_owned())]));
        }
    }
}
