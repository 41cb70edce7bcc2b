//! Whether all of an image is here, and into which snapshotters it is unpacked.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{ContentStore, Descriptor, Digest, Result, Snapshotter};

use crate::contents::{Contents, Part};

/// Snapshotters by name.
pub type Snapshotters = BTreeMap<String, Arc<dyn Snapshotter>>;

/// What was found of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How much of it is here.
    pub status: Status,
    /// Blobs of it that are here.
    pub present: Blobs,
    /// Blobs it consists of, as far as that is known.
    pub required: Blobs,
    /// What is known to be missing.
    pub missing: Vec<Descriptor>,
    /// For each snapshotter, whether every platform is unpacked into it. Empty for what cannot be
    /// unpacked, or is not known.
    pub unpacked: BTreeMap<String, bool>,
}

/// How much of an image is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All of it.
    Complete,
    /// Known parts are missing.
    Incomplete,
    /// No manifest is here, so it is not known what it consists of.
    Unavailable,
}

/// Some blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blobs {
    /// How many.
    pub count: usize,
    /// Their bytes in all.
    pub size: u64,
}

/// Checks what `target` consists of: itself, and for each platform the manifest, the config and the
/// layers, a blob counted once.
///
/// Without a `platform` these are the platforms whose manifest is here: of an index, a pull gets some,
/// and that the others are absent is no fault.
///
/// # Errors
/// Those of the stores; InvalidArgument for documents that cannot be read.
pub async fn check(
    content: &dyn ContentStore,
    snapshotters: &Snapshotters,
    target: &Descriptor,
    platform: Option<&Matcher>,
    limits: Limits,
) -> Result<Checked> {
    let contents = Contents::of(content, target, limits).await?;
    let parts = contents.chosen(platform);
    let mut required: BTreeMap<Digest, &Descriptor> = BTreeMap::new();
    let of_parts = parts.iter().flat_map(|part| part.blobs());
    for blob in [target].into_iter().chain(of_parts) {
        required.entry(blob.digest.clone()).or_insert(blob);
    }
    let (here, missing): (Vec<&Descriptor>, Vec<&Descriptor>) =
        required.values().copied().partition(|blob| contents.here.contains_key(&blob.digest));
    let status = match (parts.is_empty(), missing.is_empty()) {
        (true, _) => Status::Unavailable,
        (false, true) => Status::Complete,
        (false, false) => Status::Incomplete,
    };
    Ok(Checked {
        status,
        present: Blobs::of(&here),
        required: Blobs::of(&required.into_values().collect::<Vec<_>>()),
        unpacked: unpacked(snapshotters, &parts).await?,
        missing: missing.into_iter().cloned().collect(),
    })
}

impl Blobs {
    fn of(blobs: &[&Descriptor]) -> Blobs {
        Blobs { count: blobs.len(), size: blobs.iter().map(|blob| blob.size).sum() }
    }
}

async fn unpacked(snapshotters: &Snapshotters, parts: &[&Part]) -> Result<BTreeMap<String, bool>> {
    let configs = parts.iter().filter_map(|part| part.config.as_ref());
    let tops: Vec<Digest> = configs.filter_map(|config| config.chain_ids().pop()).collect();
    let mut unpacked = BTreeMap::new();
    if tops.is_empty() {
        return Ok(unpacked);
    }
    for (name, snapshotter) in snapshotters {
        let mut all = true;
        for top in &tops {
            match snapshotter.stat(top.as_str()).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => all = false,
                Err(error) => return Err(error),
            }
        }
        unpacked.insert(name.clone(), all);
    }
    Ok(unpacked)
}
