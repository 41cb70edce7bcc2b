//! Media types of images, and what each one says about the content behind it.
//!
//! A media type is a claim of whoever wrote the descriptor. It decides how a document is read and
//! what a label is called; it never decides how a layer is decompressed (see [`compression`]).

/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, plain tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, tar and gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, tar and zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI layer that may not be pushed elsewhere (deprecated by OCI), plain tar.
pub const OCI_LAYER_NONDISTRIBUTABLE: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// As [`OCI_LAYER_NONDISTRIBUTABLE`], gzip.
pub const OCI_LAYER_NONDISTRIBUTABLE_GZIP: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// As [`OCI_LAYER_NONDISTRIBUTABLE`], zstd.
pub const OCI_LAYER_NONDISTRIBUTABLE_ZSTD: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
/// The two-byte document `{}` that stands where an artifact has no config.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Docker manifest list (schema 2): its index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest, schema 1, unsigned. Refused everywhere.
pub const DOCKER_MANIFEST_V1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker manifest, schema 1, signed. Refused everywhere.
pub const DOCKER_MANIFEST_V1_SIGNED: &str =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer; said to be plain tar, but in the wild often compressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// Docker layer that lives at its `urls` only; said to be plain tar.
pub const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
/// As [`DOCKER_LAYER_FOREIGN`], gzip.
pub const DOCKER_LAYER_FOREIGN_GZIP: &str =
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// A layer that is an EROFS image; may carry `+zstd`.
pub const EROFS_LAYER: &str = "application/vnd.erofs.layer.v1";
/// An in-toto attestation, as BuildKit attaches to images.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// containerd's config of a checkpoint image.
pub const CHECKPOINT_CONFIG: &str =
    "application/vnd.containerd.container.checkpoint.config.v1+proto";
/// containerd's CRIU dump of a checkpoint image.
pub const CHECKPOINT: &str = "application/vnd.containerd.container.criu.checkpoint.criu.tar";

/// How a layer says it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// A list of platforms and their manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// One image: a config and layers.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Docker's manifests of before 2016, which hold no digests of layers that could be verified.
pub fn is_schema1(media_type: &str) -> bool {
    matches!(media_type, DOCKER_MANIFEST_V1 | DOCKER_MANIFEST_V1_SIGNED)
}

/// The config of an image that can be unpacked.
pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// A layer of a root filesystem, in any wrapping (`+gzip`, `+encrypted`, …).
pub fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || matches!(
            base(media_type),
            DOCKER_LAYER
                | DOCKER_LAYER_GZIP
                | DOCKER_LAYER_ZSTD
                | DOCKER_LAYER_FOREIGN
                | DOCKER_LAYER_FOREIGN_GZIP
                | EROFS_LAYER
        )
}

/// A layer that may not be pushed to another registry.
pub fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// One of Docker's own types.
pub fn is_docker(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.")
}

/// How the type says that a layer is compressed; `None` where the type does not tell: it is wrapped,
/// or Docker's "plain" type, under which compressed layers were pushed. A hint: the content decides.
pub fn compression(media_type: &str) -> Option<Compression> {
    match media_type {
        OCI_LAYER | OCI_LAYER_NONDISTRIBUTABLE => Some(Compression::None),
        OCI_LAYER_GZIP
        | OCI_LAYER_NONDISTRIBUTABLE_GZIP
        | DOCKER_LAYER_GZIP
        | DOCKER_LAYER_FOREIGN_GZIP => Some(Compression::Gzip),
        OCI_LAYER_ZSTD | OCI_LAYER_NONDISTRIBUTABLE_ZSTD | DOCKER_LAYER_ZSTD => {
            Some(Compression::Zstd)
        }
        _ => None,
    }
}

/// A layer that is a tar archive, plain, gzip or zstd, and nothing around it.
pub fn is_tar_layer(media_type: &str) -> bool {
    compression(media_type).is_some() || matches!(media_type, DOCKER_LAYER | DOCKER_LAYER_FOREIGN)
}

/// The OCI type for a Docker type; any other type is returned as it is.
pub fn to_oci(media_type: &str) -> &str {
    PAIRS.iter().find(|(docker, _)| *docker == media_type).map_or(media_type, |(_, oci)| oci)
}

/// The Docker type for an OCI type; a type that Docker has no name for is returned as it is.
pub fn to_docker(media_type: &str) -> &str {
    PAIRS.iter().find(|(_, oci)| *oci == media_type).map_or(media_type, |(docker, _)| docker)
}

/// A `Content-Type` header without its parameters and surrounding space.
pub fn essence(header: &str) -> &str {
    header.split(';').next().unwrap_or_default().trim()
}

/// Docker's types beside OCI's. Zstandard has no foreign form at Docker.
const PAIRS: [(&str, &str); 8] = [
    (DOCKER_INDEX, OCI_INDEX),
    (DOCKER_MANIFEST, OCI_MANIFEST),
    (DOCKER_CONFIG, OCI_CONFIG),
    (DOCKER_LAYER, OCI_LAYER),
    (DOCKER_LAYER_GZIP, OCI_LAYER_GZIP),
    (DOCKER_LAYER_ZSTD, OCI_LAYER_ZSTD),
    (DOCKER_LAYER_FOREIGN, OCI_LAYER_NONDISTRIBUTABLE),
    (DOCKER_LAYER_FOREIGN_GZIP, OCI_LAYER_NONDISTRIBUTABLE_GZIP),
];

fn base(media_type: &str) -> &str {
    media_type.split('+').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, class letter (index, manifest, config, layer, other), nondistributable, compression.
    const TABLE: &[(&str, char, bool, Option<Compression>)] = &[
        (OCI_INDEX, 'i', false, None),
        (DOCKER_INDEX, 'i', false, None),
        (OCI_MANIFEST, 'm', false, None),
        (DOCKER_MANIFEST, 'm', false, None),
        (DOCKER_MANIFEST_V1, '1', false, None),
        (DOCKER_MANIFEST_V1_SIGNED, '1', false, None),
        (OCI_CONFIG, 'c', false, None),
        (DOCKER_CONFIG, 'c', false, None),
        (CHECKPOINT_CONFIG, '-', false, None),
        (OCI_EMPTY, '-', false, None),
        (IN_TOTO, '-', false, None),
        (OCI_LAYER, 'l', false, Some(Compression::None)),
        (OCI_LAYER_GZIP, 'l', false, Some(Compression::Gzip)),
        (OCI_LAYER_ZSTD, 'l', false, Some(Compression::Zstd)),
        (OCI_LAYER_NONDISTRIBUTABLE, 'l', true, Some(Compression::None)),
        (OCI_LAYER_NONDISTRIBUTABLE_GZIP, 'l', true, Some(Compression::Gzip)),
        (OCI_LAYER_NONDISTRIBUTABLE_ZSTD, 'l', true, Some(Compression::Zstd)),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", 'l', false, None),
        (DOCKER_LAYER, 'l', false, None),
        (DOCKER_LAYER_GZIP, 'l', false, Some(Compression::Gzip)),
        (DOCKER_LAYER_ZSTD, 'l', false, Some(Compression::Zstd)),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted", 'l', false, None),
        (DOCKER_LAYER_FOREIGN, 'l', true, None),
        (DOCKER_LAYER_FOREIGN_GZIP, 'l', true, Some(Compression::Gzip)),
        (EROFS_LAYER, 'l', false, None),
        ("application/vnd.erofs.layer.v1+zstd", 'l', false, None),
        ("application/json", '-', false, None),
        ("", '-', false, None),
    ];

    #[test]
    fn every_type_has_one_class() {
        for &(media_type, class, nondistributable, hint) in TABLE {
            let classes = [
                ('i', is_index(media_type)),
                ('m', is_manifest(media_type)),
                ('1', is_schema1(media_type)),
                ('c', is_config(media_type)),
                ('l', is_layer(media_type)),
            ];
            for (letter, is) in classes {
                assert_eq!(is, letter == class, "{media_type:?} {letter}");
            }
            assert_eq!(is_nondistributable(media_type), nondistributable, "{media_type:?}");
            assert_eq!(compression(media_type), hint, "{media_type:?}");
            let wrapped = media_type.ends_with("+encrypted") || media_type.contains(".erofs.");
            assert_eq!(is_tar_layer(media_type), class == 'l' && !wrapped, "{media_type:?}");
        }
    }

    #[test]
    fn docker_and_oci_types_map_both_ways() {
        for (docker, oci) in PAIRS {
            assert!(is_docker(docker) && !is_docker(oci));
            assert_eq!((to_oci(docker), to_docker(oci)), (oci, docker));
            assert_eq!((to_oci(oci), to_docker(docker)), (oci, docker));
        }
        assert_eq!(to_docker(OCI_LAYER_NONDISTRIBUTABLE_ZSTD), OCI_LAYER_NONDISTRIBUTABLE_ZSTD);
    }

    #[test]
    fn parameters_of_a_header_are_cut() {
        assert_eq!(essence(" application/json; charset=utf-8"), "application/json");
        assert_eq!(essence(OCI_INDEX), OCI_INDEX);
        assert_eq!(essence(""), "");
    }
}
