//! The image config: what the layers are and how a container of them is started.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Limits, Manifest, check_bytes, check_entries, from_json};
use crate::{Digest, Error, Platform, Result, digest, json};

/// An image config, OCI's or Docker's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct ImageConfig {
    /// When it was made: RFC 3339 as written. Shown only, so nothing hangs on its form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The processor it runs on.
    #[serde(deserialize_with = "json::or_default")]
    pub architecture: String,
    /// The level of the processor.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The operating system it runs on.
    #[serde(deserialize_with = "json::or_default")]
    pub os: String,
    /// The version of the operating system.
    #[serde(
        rename = "os.version",
        deserialize_with = "json::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// What it needs of the operating system.
    #[serde(
        rename = "os.features",
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// How to start a container.
    #[serde(deserialize_with = "json::or_default")]
    pub config: ExecConfig,
    /// The layers.
    #[serde(deserialize_with = "json::or_default")]
    pub rootfs: RootFs,
    /// How it was built, oldest first.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

json::object!(ImageConfig);

impl ImageConfig {
    /// Reads an image config.
    ///
    /// # Errors
    /// InvalidArgument if it is malformed or its root filesystem is not made of layers,
    /// ResourceExhausted beyond `limits`.
    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self> {
        check_bytes(bytes, limits, "image config")?;
        let config: ImageConfig = from_json(bytes, "image config")?;
        if !matches!(config.rootfs.kind.as_str(), "" | RootFs::LAYERS) {
            return Err(Error::invalid_argument(format!(
                "image config has a root filesystem of type {:?}, not {:?}",
                digest::clip(&config.rootfs.kind),
                RootFs::LAYERS
            )));
        }
        check_entries(config.rootfs.diff_ids.len(), limits, "diff IDs in an image config")?;
        Ok(config)
    }

    /// What it runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
    }

    /// Checks that it describes as many layers as `manifest` has.
    ///
    /// # Errors
    /// InvalidArgument with both counts.
    pub fn check_layers(&self, manifest: &Manifest) -> Result<()> {
        let (diff_ids, layers) = (self.rootfs.diff_ids.len(), manifest.layers.len());
        if diff_ids != layers {
            return Err(Error::invalid_argument(format!(
                "image config has {diff_ids} diff IDs, but the manifest has {layers} layers"
            )));
        }
        Ok(())
    }

    /// The chain IDs of the layers, lowest first; the last one names the whole root filesystem.
    pub fn chain_ids(&self) -> Vec<Digest> {
        digest::chain_ids(&self.rootfs.diff_ids)
    }
}

/// How to start a container of an image. Empty = not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", default, rename_all = "PascalCase")]
pub struct ExecConfig {
    /// `user[:group]`, each a name or a number.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `port[/protocol]`.
    #[serde(with = "json::set", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Further arguments, or the whole command if there is no entry point.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Directories whose content is data, not image.
    #[serde(with = "json::set", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Where the program starts.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end, by name or number.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

json::object!(ExecConfig);

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct RootFs {
    /// [`RootFs::LAYERS`], the only type there is; some tools leave it out.
    #[serde(rename = "type", default, deserialize_with = "json::or_default")]
    pub kind: String,
    /// The digests of the layers' uncompressed tars, lowest first.
    #[serde(default, deserialize_with = "json::or_default")]
    pub diff_ids: Vec<Digest>,
}

json::object!(RootFs);

impl RootFs {
    /// The type of all root filesystems.
    pub const LAYERS: &str = "layers";
}

/// No layers.
impl Default for RootFs {
    fn default() -> Self {
        RootFs { kind: RootFs::LAYERS.to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct History {
    /// When: RFC 3339 as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A remark.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether this step made no layer.
    #[serde(deserialize_with = "json::or_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

json::object!(History);
