//! The index: images for several platforms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Limits, SchemaVersion, check_entries, envelope, from_json};
use crate::{Descriptor, Result, json, media_type};

/// An OCI index or a Docker manifest list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default)]
    pub schema_version: SchemaVersion,
    /// What it says it is. OCI allows to leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact, when it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Manifests, or further indexes; the first that fits a platform is meant.
    #[serde(default, deserialize_with = "json::or_default")]
    pub manifests: Vec<Descriptor>,
    /// What this index is about (OCI 1.1 referrers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

json::object!(Index);

impl Index {
    /// A new OCI index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Index {
            schema_version: SchemaVersion,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads an index.
    ///
    /// # Errors
    /// InvalidArgument if it is malformed or could be read as a manifest, Unimplemented for Docker's
    /// schema 1, ResourceExhausted beyond `limits`.
    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self> {
        envelope::read(bytes, limits, "index")?.must_be_index()?;
        let index: Index = from_json(bytes, "index")?;
        check_entries(index.manifests.len(), limits, "manifests in an index")?;
        Ok(index)
    }
}
