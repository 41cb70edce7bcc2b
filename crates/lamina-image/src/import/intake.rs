//! Taking an archive in, in one pass: what describes it is read, blobs go into the content store, and
//! layers that are known by then go into snapshots on the way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lamina_core::content::{CommitOptions, ContentWriter, WriteOptions};
use lamina_core::layer::{Layer, LayerStore, Receive, Received, StagedLayer};
use lamina_core::oci::{Document, ImageConfig, Index, Manifest};
use lamina_core::platform::Matcher;
use lamina_core::{ContentStore, Descriptor, Digest, Error, Labels, Result};

use super::docker::{self, DockerImage};
use super::entries::Entries;
use super::{Import, paths};
use crate::contents::document;
use crate::pull::{State, when_free};
use crate::tar::{Entry, What};
use crate::unpack;

/// How deep indexes are looked into for layers that can be unpacked on the way.
const DEEPEST: usize = 4;
/// The most files that are stored before it is known which are needed.
const UNKNOWN: usize = 10_000;

/// What was taken in.
pub(super) struct Intake<'a> {
    import: &'a Import,
    pub(super) content: Arc<dyn ContentStore>,
    /// Where layers go on the way, and for which platforms.
    unpack: Option<(Arc<dyn LayerStore>, &'a Matcher)>,
    pub(super) index: Option<Index>,
    pub(super) docker: Option<Vec<DockerImage>>,
    /// Files that are no blobs of a layout, by name.
    pub(super) files: BTreeMap<String, Descriptor>,
    /// Names that stand for others; none where they lead out of the archive.
    pub(super) links: BTreeMap<String, Option<String>>,
    /// Layers whose files are laid down, by chain ID. Never locked: it lets them be shared.
    staged: HashMap<Digest, Mutex<Box<dyn StagedLayer>>>,
    /// Documents that will tell of layers.
    pending: HashMap<Digest, Vec<Awaited>>,
    /// Blobs that are needed, and layers that can be unpacked when they come.
    wanted: HashSet<Digest>,
    layers: HashMap<Digest, Layer>,
    stored: usize,
}

/// What a document is once it comes.
enum Awaited {
    /// An index or a manifest, so many indexes deep.
    Document(Box<Descriptor>, usize),
    /// The config of this manifest.
    Config(Box<Manifest>),
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        import: &'a Import,
        content: Arc<dyn ContentStore>,
        unpack: Option<(Arc<dyn LayerStore>, &'a Matcher)>,
    ) -> Self {
        Intake {
            import,
            content,
            unpack,
            index: None,
            docker: None,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            staged: HashMap::new(),
            pending: HashMap::new(),
            wanted: HashSet::new(),
            layers: HashMap::new(),
            stored: 0,
        }
    }

    pub(super) async fn take(&mut self, entries: &mut Entries) -> Result<()> {
        while let Some(entry) = entries.next().await? {
            let name = paths::clean(&entry.name)?;
            match &entry.what {
                What::File => self.file(&name, &entry, entries).await?,
                What::HardLink(to) => drop(self.links.insert(name, paths::clean(to).ok())),
                What::SymLink(to) => drop(self.links.insert(name.clone(), paths::join(&name, to))),
                What::Other => {}
            }
            if self.links.len() > UNKNOWN {
                return Err(too_many("links"));
            }
        }
        Ok(())
    }

    async fn file(&mut self, name: &str, entry: &Entry, entries: &mut Entries) -> Result<()> {
        let limits = self.import.limits;
        match name {
            "oci-layout" => {
                paths::check_layout(&entries.whole(name, entry.size, limits.bytes).await?)
            }
            "index.json" => {
                let bytes = entries.whole(name, entry.size, limits.bytes).await?;
                let index = Index::parse(&bytes, limits).map_err(|e| e.context("index.json"))?;
                for manifest in &index.manifests {
                    self.learn(manifest.clone(), 0).await?;
                }
                self.index = Some(index);
                Ok(())
            }
            "manifest.json" => {
                let bytes = entries.whole(name, entry.size, limits.bytes).await?;
                self.docker = Some(docker::parse(&bytes, limits)?);
                Ok(())
            }
            _ => {
                let failed = |e: Error| e.context(name.to_owned());
                match paths::blob(name)? {
                    Some(digest) => self.blob(digest, name, entry, entries).await.map_err(failed),
                    None if self.needs_file(name) => {
                        let stored = self.store(None, name, entries).await.map_err(failed)?;
                        self.files.insert(name.to_owned(), stored);
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Whether a file may be one of a Docker archive's.
    fn needs_file(&self, name: &str) -> bool {
        if self.index.is_some() || name == "repositories" {
            return false;
        }
        // By links, any file may be meant; archives with links describe themselves at their end.
        self.docker.as_ref().is_none_or(|images| {
            !self.links.is_empty() || images.iter().any(|image| image.names(name))
        })
    }

    async fn blob(
        &mut self,
        digest: Digest,
        name: &str,
        entry: &Entry,
        entries: &mut Entries,
    ) -> Result<()> {
        let known = self.index.is_some() && self.pending.is_empty();
        let awaited = self.pending.remove(&digest);
        if known && awaited.is_none() && !self.wanted.contains(&digest) {
            return Ok(());
        }
        if let Some(layer) = self.layers.remove(&digest)
            && self.lay(layer, entries).await?
        {
            return Ok(());
        }
        let stored = self.store(Some(&digest), name, entries).await?;
        if stored.size != entry.size {
            return Err(Error::invalid_argument(format!(
                "it has {} bytes, but {} are here",
                entry.size, stored.size
            )));
        }
        self.files.insert(name.to_owned(), stored);
        for awaited in awaited.unwrap_or_default() {
            match awaited {
                Awaited::Document(descriptor, depth) => self.learn(*descriptor, depth).await?,
                Awaited::Config(manifest) => self.learn_config(*manifest).await?,
            }
        }
        Ok(())
    }

    /// Takes a layer in and lays its files down; false when its blob is yet to be stored.
    async fn lay(&mut self, layer: Layer, entries: &mut Entries) -> Result<bool> {
        let Some((store, _)) = &self.unpack else { return Ok(false) };
        let progress = &self.import.progress;
        let below = match &layer.parent {
            Some(parent) if !store.rebases() => store.find(parent).await?,
            _ => true,
        };
        if !below || store.lazy().is_some() {
            return Ok(false);
        }
        let mut sink = match when_free(|| store.receive(&layer, Receive::Unpack)).await? {
            Received::Open(sink) => sink,
            Received::BlobIsHere | Received::ChainIsHere => return Ok(false),
        };
        // What an earlier attempt left is the same as far as it goes, or the digest will tell.
        let mut skip = sink.offset();
        let mut offset = 0;
        progress.state(&layer.blob, State::Downloading { from: skip });
        while let Some(mut chunk) = entries.chunk().await? {
            offset += chunk.len() as u64;
            let some = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= some as u64;
            let rest: Bytes = chunk.split_off(some);
            if !rest.is_empty() {
                sink.write(rest).await?;
                progress.bytes(&layer.blob.digest, offset, sink.unpacked());
            }
        }
        progress.state(&layer.blob, State::Unpacking);
        let Some(staged) = sink.finish().await? else { return Ok(true) };
        let ready = match &layer.parent {
            Some(parent) => store.find(parent).await?,
            None => true,
        };
        match ready {
            true => staged.commit().await?,
            false => drop(self.staged.insert(layer.chain_id.clone(), Mutex::new(staged))),
        }
        progress.state(&layer.blob, State::Done);
        Ok(true)
    }

    /// Puts a file into the content store, under the digest it has to have or the one it has.
    async fn store(
        &mut self,
        digest: Option<&Digest>,
        name: &str,
        entries: &mut Entries,
    ) -> Result<Descriptor> {
        self.stored += 1;
        if self.index.is_none() && self.docker.is_none() && self.stored > UNKNOWN {
            return Err(too_many("files before a description of them"));
        }
        let reference = match digest {
            Some(digest) => format!("layer-{digest}"),
            None => format!("{}-{}", self.import.token(), self.stored),
        };
        let options = WriteOptions { expected: digest.cloned(), total: 0 };
        let open = || self.content.writer(&reference, options.clone());
        let mut writer = match when_free(open).await {
            Err(error) if error.is_already_exists() => return self.here(digest, name).await,
            writer => writer?,
        };
        writer.truncate(0).await?;
        match fill(writer, digest, entries).await {
            Ok((digest, size)) => Ok(Descriptor::new("", digest, size)),
            Err(error) => {
                // Nobody goes on with what is under no digest.
                if digest.is_none() {
                    let _ = self.content.abort(&reference).await;
                }
                Err(error)
            }
        }
    }

    /// A layer that was laid down on the way.
    pub(super) fn staged(&mut self, chain_id: &Digest) -> Option<Box<dyn StagedLayer>> {
        let staged = self.staged.remove(chain_id)?;
        Some(staged.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn here(&self, digest: Option<&Digest>, name: &str) -> Result<Descriptor> {
        let digest = digest.ok_or_else(|| {
            Error::internal(format!("{name} is here, and its digest is not known"))
        })?;
        let info = self.content.info(digest).await?;
        Ok(Descriptor::new("", info.digest, info.size))
    }

    /// Finds out what a document says of layers, or waits for it.
    async fn learn(&mut self, descriptor: Descriptor, depth: usize) -> Result<()> {
        let mut next = vec![(descriptor, depth)];
        while let Some((descriptor, depth)) = next.pop() {
            if depth > DEEPEST || !(descriptor.is_index() || descriptor.is_manifest()) {
                continue;
            }
            let Some(bytes) = self.document(&descriptor).await? else {
                let digest = descriptor.digest.clone();
                let awaited = Awaited::Document(Box::new(descriptor), depth);
                self.pending.entry(digest).or_default().push(awaited);
                if self.pending.len() > UNKNOWN {
                    return Err(too_many("documents"));
                }
                continue;
            };
            let parsed = Document::parse(&bytes, &descriptor.media_type, self.import.limits);
            match parsed.map_err(|e| e.context(format!("manifest {}", descriptor.digest)))? {
                Document::Index(index) => {
                    let fits = |d: &Descriptor| {
                        let platforms = self.import.platforms.as_ref().zip(d.platform.as_ref());
                        platforms.is_none_or(|(matcher, platform)| matcher.matches(platform))
                    };
                    let fitting = index.manifests.into_iter().filter(fits);
                    next.extend(fitting.map(|d| (d, depth + 1)));
                }
                Document::Manifest(manifest) => {
                    self.wanted.insert(manifest.config.digest.clone());
                    self.wanted.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                    self.learn_config(*manifest).await?;
                }
            }
        }
        Ok(())
    }

    async fn learn_config(&mut self, manifest: Manifest) -> Result<()> {
        let Some((_, platforms)) = &self.unpack else { return Ok(()) };
        if !manifest.config.is_config() {
            return Ok(());
        }
        let Some(bytes) = self.document(&manifest.config).await? else {
            let awaited = Awaited::Config(Box::new(manifest.clone()));
            self.pending.entry(manifest.config.digest).or_default().push(awaited);
            return Ok(());
        };
        let config = ImageConfig::parse(&bytes, self.import.limits);
        let config = config.map_err(|e| e.context(format!("config {}", manifest.config.digest)))?;
        config.check_layers(&manifest)?;
        if platforms.matches(&config.platform()) {
            for layer in unpack::layers(&manifest, &config, &Labels::new()) {
                self.layers.entry(layer.blob.digest.clone()).or_insert(layer);
            }
        }
        Ok(())
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        match document(&*self.content, descriptor, self.import.limits).await {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }
}

async fn fill(
    mut writer: Box<dyn ContentWriter>,
    digest: Option<&Digest>,
    entries: &mut Entries,
) -> Result<(Digest, u64)> {
    let mut size = 0;
    let mut hash = lamina_core::digest::Hasher::new(lamina_core::digest::Algorithm::Sha256);
    while let Some(chunk) = entries.chunk().await? {
        size += chunk.len() as u64;
        if digest.is_none() {
            hash.update(&chunk);
        }
        writer.write(chunk).await?;
    }
    let digest = digest.cloned().unwrap_or_else(|| hash.finish());
    let expected = Some(digest.clone());
    let options = CommitOptions { size: Some(size), expected, labels: Labels::new() };
    match writer.commit(options).await {
        Err(error) if error.is_already_exists() => Ok((digest, size)),
        committed => committed.map(|digest| (digest, size)),
    }
}

fn too_many(what: &str) -> Error {
    Error::resource_exhausted(format!("the archive has more than {UNKNOWN} {what}"))
}
