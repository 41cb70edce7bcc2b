//! `[limits]`: caps on what registries and images may send.

use lamina_core::oci;
use lamina_image::registry;
use lamina_store::content;
use lamina_store::diff::apply;

use super::settings::{Group, Setting};
use super::value::{integer, number};

/// How much of anything input may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that stay free on the store's file system.
    pub reserve: u64,
    /// Of one layer.
    pub layer: apply::Limits,
    /// Of manifests, indexes and configs.
    pub documents: oci::Limits,
    /// Of what a registry answers.
    pub registry: registry::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            reserve: content::RESERVE,
            layer: apply::Limits::default(),
            documents: oci::Limits::STANDARD,
            registry: registry::Limits::default(),
        }
    }
}

macro_rules! limit {
    ($key:literal, $about:literal, $($field:ident).+, $least:literal ..= $most:expr) => {
        Setting {
            key: $key,
            about: $about,
            set: |config, value| {
                config.limits.$($field).+ = number(value, $least, $most)?;
                Ok(())
            },
            get: |config| Some(integer(config.limits.$($field).+)),
        }
    };
}

/// A document is held in memory, with all that it lists.
const DOCUMENTS: oci::Limits = oci::Limits { bytes: 1 << 30, entries: 10_000_000 };

pub(super) const GROUP: Group = Group {
    about: "Caps on what registries and images may send. Ours.",
    path: &["limits"],
    older: &[],
    used: true,
    settings: &[
        limit!(
            "free_bytes",
            "Bytes that stay free on the store's file system.",
            reserve,
            0..=u64::MAX
        ),
        limit!(
            "manifest_bytes",
            "A manifest or index from a registry.",
            registry.manifest,
            1..=DOCUMENTS.bytes as u64
        ),
        limit!(
            "document_bytes",
            "A manifest, index or config.",
            documents.bytes,
            1..=DOCUMENTS.bytes
        ),
        limit!(
            "document_entries",
            "Manifests of an index, layers of a manifest.",
            documents.entries,
            1..=DOCUMENTS.entries
        ),
        limit!("layer_entries", "Files of a layer.", layer.entries, 1..=u64::MAX),
        limit!("layer_bytes", "A layer without its compression.", layer.stream_bytes, 1..=u64::MAX),
        Setting {
            key: "layer_ratio",
            about: "A layer to its compressed size, from 64 MiB. 0: no cap.",
            set: |config, value| {
                let ratio = number(value, 0, u32::MAX)?;
                config.limits.layer.ratio = (ratio > 0).then_some(ratio);
                Ok(())
            },
            get: |config| Some(integer(config.limits.layer.ratio.unwrap_or_default())),
        },
        limit!("layer_xattrs", "Extended attributes of an entry.", layer.xattrs, 0..=usize::MAX),
        // An entry's records are held in memory.
        limit!(
            "layer_metadata_bytes",
            "PAX records and long names of an entry.",
            layer.metadata_bytes,
            1024..=1 << 30
        ),
        // Linux takes no longer ones.
        limit!("layer_path_bytes", "The path of an entry.", layer.path_bytes, 1..=4095),
        limit!(
            "layer_sparse_regions",
            "Regions of a sparse file.",
            layer.sparse_regions,
            1..=100_000_000
        ),
    ],
};
