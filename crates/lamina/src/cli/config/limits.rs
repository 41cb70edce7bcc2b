//! `[limits]`: caps on what registries and images may send.
//!
//! ```toml
//! [limits]
//! free_bytes = 67108864             # stays free on the store's file system; 0 for none
//! manifest_bytes = 8388608          # a manifest or index
//! document_bytes = 16777216         # a manifest, index or config
//! document_entries = 10000          # manifests of an index, layers of a manifest
//! layer_entries = 50000000
//! layer_bytes = 17592186044416      # without its compression
//! layer_ratio = 1000                # to its compressed size, from 64 MiB; no cap by default
//! layer_xattrs = 1000               # of one entry
//! layer_metadata_bytes = 1048576    # PAX records and long names of one entry
//! layer_path_bytes = 4095
//! layer_sparse_regions = 100000     # of one sparse file
//! ```

use lamina_core::{Error, Result, oci};
use lamina_image::registry;
use lamina_store::content;
use lamina_store::diff::apply;

use super::Section;

/// How much of anything input may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes that stay free on the store's file system.
    pub(crate) reserve: u64,
    pub(crate) layer: apply::Limits,
    pub(crate) documents: oci::Limits,
    pub(crate) registry: registry::Limits,
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

impl Limits {
    /// Takes what `section` sets. What reads documents from the store later goes by the standard
    /// limits, so those of documents can only be lowered.
    pub(super) fn read(section: &mut Section) -> Result<Limits> {
        let mut limits = Limits::default();
        let standard = oci::Limits::STANDARD;
        let Limits { reserve, layer, documents, registry } = &mut limits;
        set(section, "free_bytes", 0, u64::MAX, reserve)?;
        set(section, "manifest_bytes", 1, standard.bytes as u64, &mut registry.manifest)?;
        set(section, "document_bytes", 1, standard.bytes, &mut documents.bytes)?;
        set(section, "document_entries", 1, standard.entries, &mut documents.entries)?;
        set(section, "layer_entries", 1, u64::MAX, &mut layer.entries)?;
        set(section, "layer_bytes", 1, u64::MAX, &mut layer.stream_bytes)?;
        let mut ratio = 0;
        set(section, "layer_ratio", 1, u32::MAX, &mut ratio)?;
        layer.ratio = (ratio > 0).then_some(ratio);
        set(section, "layer_xattrs", 0, usize::MAX, &mut layer.xattrs)?;
        // An entry's records are held in memory.
        set(section, "layer_metadata_bytes", 1024, 1 << 30, &mut layer.metadata_bytes)?;
        // Linux takes no longer ones.
        set(section, "layer_path_bytes", 1, 4095, &mut layer.path_bytes)?;
        set(section, "layer_sparse_regions", 1, 100_000_000, &mut layer.sparse_regions)?;
        Ok(limits)
    }
}

/// Sets a number that must be in bounds.
fn set<T>(section: &mut Section, key: &str, least: T, most: T, to: &mut T) -> Result<()>
where
    T: Copy + TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let Some(number) = section.take(key, toml::Value::as_integer, "a whole number")? else {
        return Ok(());
    };
    match T::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => *to = number,
        _ => {
            let name = section.name(key);
            return Err(Error::invalid_argument(format!(
                "setting {name} is {number}, and must be {least} to {most}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn every_limit_can_be_set() {
        let numbers = "free_bytes = 0\nmanifest_bytes = 2\ndocument_bytes = 3\n\
            document_entries = 4\nlayer_entries = 5\nlayer_bytes = 6\nlayer_ratio = 7\n\
            layer_xattrs = 8\nlayer_metadata_bytes = 9000\nlayer_path_bytes = 10\n\
            layer_sparse_regions = 11\n";
        let config = parse(&format!("[limits]\n{numbers}")).unwrap();
        assert_eq!(config.warnings, [""; 0]);
        let layer = apply::Limits {
            entries: 5,
            stream_bytes: 6,
            ratio: Some(7),
            xattrs: 8,
            metadata_bytes: 9000,
            path_bytes: 10,
            sparse_regions: 11,
            free_bytes: 0,
        };
        let documents = oci::Limits { bytes: 3, entries: 4 };
        let registry = registry::Limits { manifest: 2, ..registry::Limits::default() };
        assert_eq!(config.limits, Limits { reserve: 0, layer, documents, registry });
        assert_eq!(parse("").unwrap().limits, Limits::default());
    }

    #[test]
    fn limits_that_are_none_are_refused() {
        for (setting, says) in [
            ("layer_bytes = \"1 GiB\"", "setting limits.layer_bytes must be a whole number"),
            ("layer_bytes = 0", "setting limits.layer_bytes is 0, and must be 1 to"),
            ("free_bytes = -1", "setting limits.free_bytes is -1"),
            ("document_bytes = 16777217", "must be 1 to 16777216"),
        ] {
            let error = parse(&format!("[limits]\n{setting}\n")).unwrap_err();
            assert!(error.chain().contains(says), "{setting}: {}", error.chain());
        }
        assert_eq!(parse("[limits]\nlayers = 1").unwrap().warnings.len(), 1);
    }
}
