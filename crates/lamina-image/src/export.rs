//! Export: images as one archive, an OCI layout that `docker load` reads too.
//!
//! The archive begins with what describes it, then come manifests, configs and layers, so that a
//! reader can unpack it in one pass. It says nothing of when it was made: the same images give the same
//! bytes.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use lamina_core::image::Image;
use lamina_core::oci::{Index, Limits};
use lamina_core::platform::Matcher;
use lamina_core::transfer::ByteSink;
use lamina_core::{ContentStore, Descriptor, Digest, Error, Reference, Result, media_type};
use serde::Serialize;

use crate::contents::{Contents, Part};
use crate::tar;

/// The annotation with an image's whole name, as containerd writes and reads it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// OCI's annotation with the name of an image within a layout, by custom its tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// What to export.
#[derive(Clone, Debug)]
pub struct Export {
    /// Where the images' content is.
    pub content: Arc<dyn ContentStore>,
    /// The images.
    pub images: Vec<Image>,
    /// The platforms; none for all of them, which then have to be here.
    pub platforms: Option<Matcher>,
    /// Also describe them by the `manifest.json` that `docker load` reads.
    pub docker: bool,
    /// Leave out layers that may not be passed on.
    pub skip_nondistributable: bool,
    /// Bounds of manifests, indexes and configs.
    pub limits: Limits,
}

/// One image as `docker load` wants it described.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// What goes into the archive.
#[derive(Debug, Default)]
struct Plan {
    manifests: Vec<Descriptor>,
    docker: Vec<(Digest, DockerImage)>,
    documents: Vec<Descriptor>,
    layers: Vec<Descriptor>,
    seen: HashSet<Digest>,
}

impl Export {
    /// Writes the archive. Before its first byte it is known that everything is here.
    ///
    /// # Errors
    /// NotFound for content that is not here, by image and digest; those of the store and of `sink`.
    pub async fn run(&self, sink: &mut dyn ByteSink) -> Result<()> {
        let plan = self.plan().await?;
        file(sink, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).await?;
        file(sink, "index.json", &json(&Index::new(plan.manifests))?).await?;
        if self.docker {
            let images: Vec<_> = plan.docker.into_iter().map(|(_, image)| image).collect();
            file(sink, "manifest.json", &json(&images)?).await?;
        }
        let mut folders = HashSet::from([String::new()]);
        for blob in plan.documents.iter().chain(&plan.layers) {
            let algorithm = blob.digest.algorithm().name();
            for folder in ["blobs/".to_owned(), format!("blobs/{algorithm}/")] {
                if folders.insert(folder.clone()) {
                    sink.write(tar::head(&folder, 0).into()).await?;
                }
            }
            self.blob(sink, blob).await?;
        }
        sink.write(tar::end().into()).await
    }

    async fn plan(&self) -> Result<Plan> {
        let mut images: Vec<&Image> = self.images.iter().collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        images.dedup_by(|a, b| a.name == b.name);
        let mut plan = Plan::default();
        for image in images {
            self.add(&mut plan, image)
                .await
                .map_err(|error| error.context(format!("export {}", image.name)))?;
        }
        Ok(plan)
    }

    async fn add(&self, plan: &mut Plan, image: &Image) -> Result<()> {
        let contents = Contents::of(&*self.content, &image.target, self.limits).await?;
        let parts = self.chosen(&contents)?;
        let wanted: HashSet<&Digest> =
            parts.iter().flat_map(|p| p.blobs()).map(|b| &b.digest).collect();
        let is_kept = |blob: &Descriptor| self.skip_nondistributable && is_kept_back(blob);
        let all = self.platforms.is_none();
        let lacking = contents
            .missing
            .iter()
            .find(|blob| (all || wanted.contains(&blob.digest)) && !is_kept(blob));
        if let Some(blob) = lacking {
            return Err(Error::not_found(format!(
                "{} is not here: {}",
                blob.digest,
                match all {
                    true => "pull all platforms of the image, or export those that are here",
                    false => "pull the image again to get it",
                }
            )));
        }
        for index in &contents.indexes {
            plan.document(index);
        }
        for part in &parts {
            plan.document(&part.descriptor);
            plan.document(&part.manifest.config);
            for layer in part.manifest.layers.iter().filter(|layer| !is_kept(layer)) {
                if plan.seen.insert(layer.digest.clone()) {
                    plan.layers.push(layer.clone());
                }
            }
        }
        plan.name(image, &parts);
        Ok(())
    }

    /// The manifests that are wanted, those first that fit best.
    fn chosen<'a>(&self, contents: &'a Contents) -> Result<Vec<&'a Part>> {
        let Some(matcher) = &self.platforms else { return Ok(contents.parts.iter().collect()) };
        let fits = |part: &&Part| match part.platform() {
            Some(platform) => matcher.matches(&platform),
            // What is for no platform is for all.
            None => !part.manifest.config.is_config(),
        };
        let mut parts: Vec<&Part> = contents.parts.iter().filter(fits).collect();
        if parts.is_empty() {
            let there: Vec<String> = contents.platforms().iter().map(ToString::to_string).collect();
            return Err(Error::not_found(format!(
                "no manifest for the platform wanted is here; there are: {}",
                if there.is_empty() { "none".to_owned() } else { there.join(", ") }
            )));
        }
        parts.sort_by_key(|part| part.platform().map(|platform| matcher.rank(&platform)));
        Ok(parts)
    }

    async fn blob(&self, sink: &mut dyn ByteSink, blob: &Descriptor) -> Result<()> {
        let reader = self.content.reader(&blob.digest).await?;
        let size = reader.size();
        sink.write(tar::head(&path(&blob.digest), size).into()).await?;
        let mut offset = 0;
        while offset < size {
            let bytes = reader.read_at(offset, PIECE).await?;
            if bytes.is_empty() {
                return Err(Error::internal(format!("{} ends before it should", blob.digest)));
            }
            offset += bytes.len() as u64;
            sink.write(bytes).await?;
        }
        fill(sink, size).await
    }
}

impl Plan {
    fn document(&mut self, document: &Descriptor) {
        if self.seen.insert(document.digest.clone()) {
            self.documents.push(document.clone());
        }
    }

    /// Puts the image's name into the descriptions of the archive.
    fn name(&mut self, image: &Image, parts: &[&Part]) {
        let reference = Reference::parse_canonical(&image.name).ok();
        let tag = reference.as_ref().and_then(Reference::tag);
        let mut named = image.target.clone();
        // What the record's descriptor says of another image's name is not said again.
        named.annotations.insert(IMAGE_NAME.to_owned(), image.name.clone());
        named.annotations.insert(REF_NAME.to_owned(), tag.unwrap_or(&image.name).to_owned());
        self.manifests.push(named);
        let Some(part) = parts.iter().find(|part| part.manifest.config.is_config()) else { return };
        let tags = reference.filter(|r| r.tag().is_some() && r.digest().is_none());
        let tags: Vec<String> = tags.iter().map(Reference::familiar).collect();
        let digest = &part.descriptor.digest;
        if let Some((_, known)) = self.docker.iter_mut().find(|(known, _)| known == digest) {
            known.repo_tags.extend(tags);
            return;
        }
        let layers = part.manifest.layers.iter().map(|layer| path(&layer.digest)).collect();
        let config = path(&part.manifest.config.digest);
        self.docker.push((digest.clone(), DockerImage { config, repo_tags: tags, layers }));
    }
}

fn is_kept_back(blob: &Descriptor) -> bool {
    media_type::is_nondistributable(&blob.media_type)
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document)
        .map_err(|error| Error::internal("write a description").with_source(error))
}

async fn file(sink: &mut dyn ByteSink, name: &str, content: &[u8]) -> Result<()> {
    let size = content.len() as u64;
    sink.write(tar::head(name, size).into()).await?;
    sink.write(Bytes::copy_from_slice(content)).await?;
    fill(sink, size).await
}

async fn fill(sink: &mut dyn ByteSink, size: u64) -> Result<()> {
    match tar::padding(size) {
        padding if padding.is_empty() => Ok(()),
        padding => sink.write(padding.into()).await,
    }
}
