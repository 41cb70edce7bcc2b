//! The manifest: one image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Limits, SchemaVersion, check_entries, envelope, from_json};
use crate::{Descriptor, Result, json, media_type};

/// An OCI image manifest or a Docker manifest of schema 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default)]
    pub schema_version: SchemaVersion,
    /// What it says it is. OCI allows to leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact, when it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config; an image's only if [`Descriptor::is_config`].
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "json::or_default")]
    pub layers: Vec<Descriptor>,
    /// What this manifest is about (OCI 1.1 referrers).
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

json::object!(Manifest);

impl Manifest {
    /// A new OCI manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Manifest {
            schema_version: SchemaVersion,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// InvalidArgument if it is malformed or could be read as an index, Unimplemented for Docker's
    /// schema 1, ResourceExhausted beyond `limits`.
    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self> {
        envelope::read(bytes, limits, "manifest")?.must_be_manifest()?;
        let manifest: Manifest = from_json(bytes, "manifest")?;
        check_entries(manifest.layers.len(), limits, "layers in a manifest")?;
        Ok(manifest)
    }
}
