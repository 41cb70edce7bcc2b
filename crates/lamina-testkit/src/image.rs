//! Images made by code: layer tars in, manifests, indexes and blobs out.
//!
//! Everything is deterministic: the same calls give the same digests. An [`Image`] is data; a registry,
//! an archive or a content store is filled from its [`content`](Image::content).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use lamina_core::{Descriptor, Digest, Platform, media_type};
use serde_json::{Value, json};

/// Whose media types an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// OCI image specification.
    Oci,
    /// Docker, schema 2.
    Docker,
}

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// The tar itself.
    None,
    /// gzip.
    Gzip,
    /// Zstandard. Has no Docker type of its own in old tools; ours is the one BuildKit uses.
    Zstd,
}

/// A document or layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// An image or an index of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its manifest or index.
    pub root: Descriptor,
    /// Everything it consists of, by digest.
    pub content: BTreeMap<Digest, Content>,
    /// Its layers, lowest first; empty for an index.
    pub layers: Vec<Descriptor>,
    /// The digests of its layers' tars; empty for an index.
    pub diff_ids: Vec<Digest>,
}

impl Image {
    /// Puts images for several platforms under one index. Each must have been built with its platform.
    pub fn index<'a>(
        flavor: Flavor,
        images: impl IntoIterator<Item = (Platform, &'a Image)>,
    ) -> Image {
        let mut content = BTreeMap::new();
        let mut manifests = Vec::new();
        for (platform, image) in images {
            content.extend(image.content.clone());
            manifests.push(Descriptor { platform: Some(platform), ..image.root.clone() });
        }
        let media_type = flavor.pick(media_type::OCI_INDEX, media_type::DOCKER_INDEX);
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type, "manifests": manifests,
        });
        let root = add(&mut content, media_type, to_bytes(&document));
        Image { root, content, layers: Vec::new(), diff_ids: Vec::new() }
    }

    /// The bytes of a part of it.
    ///
    /// # Panics
    /// When it has no such part.
    pub fn bytes(&self, digest: &Digest) -> &Bytes {
        match self.content.get(digest) {
            Some(content) => &content.bytes,
            None => panic!("the image has no {digest}"),
        }
    }

    /// Writes it as an OCI image layout (image specification, "Image Layout") to `dir`, which is made;
    /// its root has the name `tag` there.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_layout(&self, dir: &Path, tag: &str) {
        let write = |path: &str, bytes: &[u8]| {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("a path in a directory"))
                .and_then(|()| std::fs::write(&path, bytes))
                .unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        };
        for (digest, content) in &self.content {
            write(&format!("blobs/{}/{}", digest.algorithm().name(), digest.hex()), &content.bytes);
        }
        let mut root = json!(self.root);
        merge(&mut root, &json!({"annotations": {"org.opencontainers.image.ref.name": tag}}));
        let index = json!({"schemaVersion": 2, "manifests": [root]});
        write("index.json", &to_bytes(&index));
        write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    }
}

/// Builds one image.
#[derive(Debug)]
pub struct ImageBuilder {
    flavor: Flavor,
    platform: Platform,
    layers: Vec<(Bytes, Compression)>,
    config: Value,
    annotations: BTreeMap<String, String>,
}

impl ImageBuilder {
    /// An image without layers for this machine.
    pub fn new(flavor: Flavor) -> Self {
        ImageBuilder {
            flavor,
            platform: Platform::host(),
            layers: Vec::new(),
            config: json!({}),
            annotations: BTreeMap::new(),
        }
    }

    /// Sets the platform its config names.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Adds a layer on top, gzipped.
    #[must_use]
    pub fn layer(self, tar: impl Into<Bytes>) -> Self {
        self.layer_as(tar, Compression::Gzip)
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer_as(mut self, tar: impl Into<Bytes>, compression: Compression) -> Self {
        self.layers.push((tar.into(), compression));
        self
    }

    /// Sets the runtime part of the config (`{"Cmd": [...], "Env": [...]}`).
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// Adds an annotation to the manifest.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// The image.
    pub fn build(self) -> Image {
        let flavor = self.flavor;
        let mut content = BTreeMap::new();
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for (tar, compression) in self.layers {
            diff_ids.push(Digest::sha256(&tar));
            let (media_type, bytes) = compress(flavor, compression, &tar);
            layers.push(add(&mut content, media_type, bytes));
        }
        let history: Vec<_> = diff_ids
            .iter()
            .enumerate()
            .map(|(n, _)| json!({"created": EPOCH, "created_by": format!("layer {n}")}))
            .collect();
        let mut config = json!({
            "created": EPOCH,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        merge(&mut config, &json!(self.platform));
        let config_type = flavor.pick(media_type::OCI_CONFIG, media_type::DOCKER_CONFIG);
        let config = add(&mut content, config_type, to_bytes(&config));
        let manifest_type = flavor.pick(media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST);
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers,
        });
        if !self.annotations.is_empty() {
            merge(&mut manifest, &json!({"annotations": self.annotations}));
        }
        let root = add(&mut content, manifest_type, to_bytes(&manifest));
        Image { root, content, layers, diff_ids }
    }
}

impl Flavor {
    fn pick<'a>(self, oci: &'a str, docker: &'a str) -> &'a str {
        match self {
            Flavor::Oci => oci,
            Flavor::Docker => docker,
        }
    }
}

const EPOCH: &str = "1970-01-01T00:00:00Z";

fn compress(flavor: Flavor, compression: Compression, tar: &Bytes) -> (&'static str, Bytes) {
    use media_type as m;
    match compression {
        Compression::None => (flavor.pick(m::OCI_LAYER, m::DOCKER_LAYER), tar.clone()),
        Compression::Gzip => {
            (flavor.pick(m::OCI_LAYER_GZIP, m::DOCKER_LAYER_GZIP), gzip(tar).into())
        }
        Compression::Zstd => {
            let bytes = zstd::bulk::compress(tar, 3).unwrap_or_else(|e| panic!("zstd: {e}"));
            (flavor.pick(m::OCI_LAYER_ZSTD, m::DOCKER_LAYER_ZSTD), bytes.into())
        }
    }
}

/// `bytes` as one gzip member without a time.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.unwrap_or_else(|e| panic!("gzip into memory: {e}"))
}

fn add(content: &mut BTreeMap<Digest, Content>, media_type: &str, bytes: Bytes) -> Descriptor {
    let descriptor = Descriptor::of(media_type, &bytes);
    let media_type = media_type.to_owned();
    content.insert(descriptor.digest.clone(), Content { media_type, bytes });
    descriptor
}

fn merge(into: &mut Value, more: &Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more.clone());
    }
}

fn to_bytes(document: &Value) -> Bytes {
    document.to_string().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_together() {
        for flavor in [Flavor::Oci, Flavor::Docker] {
            let build = || {
                ImageBuilder::new(flavor)
                    .layer(&b"one"[..])
                    .layer_as(&b"two"[..], Compression::None)
                    .layer_as(&b"three"[..], Compression::Zstd)
                    .build()
            };
            let image = build();
            assert_eq!(image, build(), "deterministic");
            let manifest: Value = serde_json::from_slice(image.bytes(&image.root.digest)).unwrap();
            assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
            for (digest, content) in &image.content {
                assert_eq!(*digest, Digest::sha256(&content.bytes));
            }
            assert_eq!(image.diff_ids[1], image.layers[1].digest);
            let arm = Platform::parse("linux/arm64").unwrap();
            let index = Image::index(flavor, [(Platform::host(), &image), (arm, &image)]);
            assert!(index.root.is_index());
            assert_eq!(index.content.len(), image.content.len() + 1);
        }
    }
}
