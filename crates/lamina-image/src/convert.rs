//! Convert: another image of the same files, with its layers compressed otherwise, of other media types,
//! or for fewer platforms.
//!
//! What the layers are does not change: each is checked against its diff ID while it is packed anew, and
//! the config stays as it is, byte by byte.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::digest::{Algorithm, Hasher};
use lamina_core::image::Image;
use lamina_core::labels::UNCOMPRESSED;
use lamina_core::oci::{Index, Limits, Manifest};
use lamina_core::platform::Matcher;
use lamina_core::transfer::ByteStream;
use lamina_core::{
    ContentStore, Descriptor, Digest, Error, Host, Kind, Labels, Result, Scope, media_type,
};

use crate::compression::{self, Compression, MAGIC};
use crate::contents::{Contents, Part, document};
use crate::import::put;
use crate::pull::{add_labels, for_a_day, index_labels, manifest_labels};
use crate::{pipe, record};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// How an image is to become another.
#[derive(Clone, Debug)]
pub struct Convert {
    /// The stores.
    pub host: Arc<dyn Host>,
    /// Whose images they are.
    pub scope: Scope,
    /// The platforms to keep; none for all, which then have to be here.
    pub platforms: Option<Matcher>,
    /// How layers are to be compressed; none to leave them as they are.
    pub compression: Option<Compression>,
    /// Make Docker's media types OCI's.
    pub oci: bool,
    /// Bounds of manifests, indexes and configs.
    pub limits: Limits,
}

impl Convert {
    /// Makes `name` of `image`.
    ///
    /// # Errors
    /// NotFound for content that is not here, or when no platform fits; DataLoss for a layer that is not
    /// of its diff ID; those of the stores. No image record was made or changed then.
    pub async fn run(&self, image: &Image, name: &str) -> Result<Image> {
        let failed = |e: Error| e.context(format!("convert {}", image.name));
        let leases = self.host.leases(&self.scope);
        let lease = leases.create("", Labels::from([for_a_day()])).await?.id;
        let content = self.host.content(&self.scope.clone().with_lease(&lease));
        let converted = async {
            let target = self.image(&*content, &image.target).await?;
            let images = self.host.images(&self.scope);
            record::put(&*images, name, &target, &image.labels).await
        };
        let converted = converted.await.map_err(failed);
        if let Err(error) = leases.delete(&lease, false).await {
            tracing::warn!(lease, error = %error.chain(), "a lease stays until it expires");
        }
        converted
    }

    async fn image(&self, content: &dyn ContentStore, target: &Descriptor) -> Result<Descriptor> {
        let contents = Contents::of(content, target, self.limits).await?;
        let fits = |part: &&Part| match (&self.platforms, part.platform()) {
            (Some(matcher), Some(platform)) => matcher.matches(&platform),
            // An attestation goes with what it is about, which is converted.
            (Some(_), None) => false,
            (None, _) => true,
        };
        let parts: Vec<&Part> = contents.parts.iter().filter(fits).collect();
        if parts.is_empty() {
            return Err(Error::not_found("no manifest for the platform wanted is here"));
        }
        let all = self.platforms.is_none();
        let needed = |d: &&Descriptor| all || parts.iter().any(|p| p.blobs().any(|b| b == *d));
        if let Some(missing) = contents.missing.iter().find(needed) {
            return Err(Error::not_found(format!("{} is not here", missing.digest)));
        }
        let mut made = HashMap::new();
        for part in parts {
            let manifest = self.manifest(content, part).await?;
            made.insert(part.descriptor.digest.clone(), manifest);
        }
        // The innermost first: an index names what lies in it by what became of that.
        for descriptor in contents.indexes.iter().rev() {
            let index = self.index(content, descriptor, &made).await?;
            made.insert(descriptor.digest.clone(), index);
        }
        made.remove(&target.digest).ok_or_else(|| Error::internal("the image was not converted"))
    }

    async fn index(
        &self,
        content: &dyn ContentStore,
        descriptor: &Descriptor,
        made: &HashMap<Digest, Descriptor>,
    ) -> Result<Descriptor> {
        let mut index =
            Index::parse(&document(content, descriptor, self.limits).await?, self.limits)?;
        let manifests = std::mem::take(&mut index.manifests);
        index.manifests = manifests
            .into_iter()
            .filter_map(|old| made.get(&old.digest).map(|new| renamed(old, new)))
            .collect();
        let kind = self.media_type(&descriptor.media_type);
        index.media_type = Some(kind.to_owned());
        self.store(content, descriptor, kind, &index, index_labels(&index)).await
    }

    async fn manifest(&self, content: &dyn ContentStore, part: &Part) -> Result<Descriptor> {
        let mut manifest = part.manifest.clone();
        if let Some(config) = &part.config {
            config.check_layers(&manifest)?;
            let layers = part.manifest.layers.iter().zip(&config.rootfs.diff_ids);
            let layers = layers.map(|(layer, diff_id)| async move {
                let failed = |e: Error| e.context(format!("layer {}", layer.digest));
                self.layer(content, layer, diff_id).await.map_err(failed)
            });
            let at_once = thread::available_parallelism().map_or(1, usize::from);
            manifest.layers = stream::iter(layers).buffered(at_once).try_collect().await?;
        }
        let kind = self.media_type(&part.descriptor.media_type);
        manifest.config.media_type = self.media_type(&manifest.config.media_type).to_owned();
        manifest.media_type = Some(kind.to_owned());
        let labels = manifest_labels(&manifest);
        self.store::<Manifest>(content, &part.descriptor, kind, &manifest, labels).await
    }

    async fn layer(
        &self,
        content: &dyn ContentStore,
        layer: &Descriptor,
        diff_id: &Digest,
    ) -> Result<Descriptor> {
        let kind = self.media_type(&layer.media_type).to_owned();
        let Some(wanted) = self.compression.filter(|_| media_type::is_tar_layer(&kind)) else {
            return Ok(Descriptor { media_type: kind, ..layer.clone() });
        };
        let head = content.reader(&layer.digest).await?.read_at(0, MAGIC).await?;
        let media_type = packed_type(&kind, wanted).to_owned();
        if compression::sniff(&head) == wanted {
            return Ok(Descriptor { media_type, ..layer.clone() });
        }
        let packed = repack(content, layer, wanted, Some(diff_id)).await?;
        let Descriptor { digest, size, .. } = packed;
        Ok(Descriptor { media_type, digest, size, data: None, ..layer.clone() })
    }

    async fn store<T: serde::Serialize>(
        &self,
        content: &dyn ContentStore,
        old: &Descriptor,
        kind: &str,
        document: &T,
        labels: Labels,
    ) -> Result<Descriptor> {
        let bytes = serde_json::to_vec(document)
            .map_err(|error| Error::internal("write a document").with_source(error))?;
        let new = Descriptor::of(kind, &bytes);
        put(content, &new, bytes.into()).await?;
        add_labels(content, &new.digest, labels).await?;
        Ok(renamed(old.clone(), &new))
    }

    fn media_type<'a>(&self, media_type: &'a str) -> &'a str {
        if self.oci { media_type::to_oci(media_type) } else { media_type }
    }
}

/// What `old` says, of `new`.
fn renamed(old: Descriptor, new: &Descriptor) -> Descriptor {
    let (media_type, digest, size) = (new.media_type.clone(), new.digest.clone(), new.size);
    Descriptor { media_type, digest, size, data: None, ..old }
}

/// The type of a tar layer when it is compressed so.
fn packed_type(kind: &str, compression: Compression) -> &'static str {
    let kept_back = media_type::is_nondistributable(kind);
    let oci = match (compression, kept_back) {
        (Compression::None, false) => media_type::OCI_LAYER,
        (Compression::Gzip, false) => media_type::OCI_LAYER_GZIP,
        (Compression::Zstd, false) => media_type::OCI_LAYER_ZSTD,
        (Compression::None, true) => media_type::OCI_LAYER_NONDISTRIBUTABLE,
        (Compression::Gzip, true) => media_type::OCI_LAYER_NONDISTRIBUTABLE_GZIP,
        (Compression::Zstd, true) => media_type::OCI_LAYER_NONDISTRIBUTABLE_ZSTD,
    };
    if media_type::is_docker(kind) { media_type::to_docker(oci) } else { oci }
}

/// Packs a layer anew, and stores it. With a `diff_id`, its uncompressed bytes have to be of that.
///
/// # Errors
/// DataLoss for other bytes than that, or such that cannot be unpacked; those of the store.
pub(crate) async fn repack(
    content: &dyn ContentStore,
    layer: &Descriptor,
    wanted: Compression,
    diff_id: Option<&Digest>,
) -> Result<Descriptor> {
    let reader = content.reader(&layer.digest).await?;
    let size = reader.size();
    let head = reader.read_at(0, MAGIC).await?;
    let is = compression::sniff(&head);
    let source: ByteStream =
        Box::pin(stream::try_unfold((reader, 0), move |(reader, at)| async move {
            if at >= size {
                return Ok(None);
            }
            let bytes = reader.read_at(at, PIECE).await?;
            let next = at + bytes.len() as u64;
            Ok(Some((bytes, (reader, if next == at { size } else { next }))))
        }));
    let algorithm = diff_id.map_or(Algorithm::Sha256, Digest::algorithm);
    let hash = Arc::new(Mutex::new(Hasher::new(algorithm)));
    let tee = Arc::clone(&hash);
    let mut packed = pipe::through(source, "the layer cannot be unpacked", move |from, to| {
        let plain = compression::decoder(is, from)?;
        compression::compress(wanted, Hashed { from: plain, hash: tee }, to)
    });
    // One at a time of each, so that no two write the same.
    let name = format!("convert-{wanted:?}-{}", layer.digest);
    let open = || content.writer(&name, WriteOptions::default());
    let mut writer = crate::pull::when_free(open).await?;
    writer.truncate(0).await?;
    let (mut digest, mut size) = (Hasher::new(Algorithm::Sha256), 0);
    while let Some(piece) = packed.next().await {
        let piece = piece?;
        digest.update(&piece);
        size += piece.len() as u64;
        writer.write(piece).await?;
    }
    let plain = hash.lock().unwrap_or_else(PoisonError::into_inner).clone().finish();
    if let Some(diff_id) = diff_id.filter(|id| **id != plain) {
        let message = format!("its files are {plain}, but the config says {diff_id}");
        return Err(Error::new(Kind::DataLoss, message));
    }
    let digest = digest.finish();
    let labels = Labels::from([(UNCOMPRESSED.to_owned(), plain.to_string())]);
    let expected = Some(digest.clone());
    match writer.commit(CommitOptions { size: Some(size), expected, labels }).await {
        Err(error) if !error.is_already_exists() => return Err(error),
        _ => {}
    }
    Ok(Descriptor::new("", digest, size))
}

/// Hashes what is read.
struct Hashed<R> {
    from: R,
    hash: Arc<Mutex<Hasher>>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let some = self.from.read(to)?;
        self.hash.lock().unwrap_or_else(PoisonError::into_inner).update(&to[..some]);
        Ok(some)
    }
}
