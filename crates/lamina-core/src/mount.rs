//! Mounts as data: what a snapshotter answers and a shim carries out.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::filter::Fields;
use crate::labels::Labels;

/// One mount: type, source, a place below the mount point, options.
///
/// Clients parse the options, so their text and order are part of the contract
/// (`docs/on-disk.md`). The type may carry transformer prefixes (`format/overlay`), which only the
/// mount manager understands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// File system type (`overlay`, `bind`, `btrfs`, …).
    #[serde(rename = "type")]
    pub kind: String,
    /// Device, directory, or a word the type wants.
    pub source: String,
    /// Where below the mount point it goes; empty is the mount point itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Options in order.
    #[serde(default)]
    pub options: Vec<String>,
}

impl Mount {
    /// A mount at the mount point itself.
    pub fn new(
        kind: impl Into<String>,
        source: impl Into<String>,
        options: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Mount {
            kind: kind.into(),
            source: source.into(),
            target: String::new(),
            options: options.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether nothing can be written through it: erofs always; overlay by `ro` or for want of an
    /// upper directory; others by `ro`.
    pub fn is_read_only(&self) -> bool {
        let has = |word: &str| self.options.iter().flat_map(|o| o.split(',')).any(|o| o == word);
        match self.kind.rsplit('/').next().unwrap_or_default() {
            "erofs" => true,
            "overlay" => {
                has("ro")
                    || !self
                        .options
                        .iter()
                        .flat_map(|o| o.split(','))
                        .any(|o| o.starts_with("upperdir="))
            }
            _ => has("ro"),
        }
    }
}

impl fmt::Display for Mount {
    /// As arguments of mount(8), without the target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-t {} {}", self.kind, self.source)?;
        if !self.options.is_empty() {
            write!(f, " -o {}", self.options.join(","))?;
        }
        Ok(())
    }
}

/// A mount that the mount manager made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveMount {
    /// What was asked for.
    pub mount: Mount,
    /// Where it is mounted.
    pub mount_point: String,
    /// When.
    pub mounted_at: Timestamp,
    /// What its handler tells of it, for the mounts behind it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

/// An activation: what the manager mounted, and what is left for the system to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Its name within the namespace.
    pub name: String,
    /// What the manager mounted, in order.
    pub active: Vec<ActiveMount>,
    /// What the caller mounts, in order.
    pub system: Vec<Mount>,
    /// Its labels.
    pub labels: Labels,
}

impl Fields for Activation {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["name"] => Some(self.name.as_str().into()),
            ["labels", key @ ..] => crate::filter::label(&self.labels, key),
            _ => None,
        }
    }
}

/// How to activate.
#[derive(Clone, Debug, Default)]
pub struct ActivateOptions {
    /// Labels of the activation, among them the back references that keep it.
    pub labels: Labels,
    /// Mount everything here and answer with one bind mount of it.
    pub temporary: bool,
    /// Types (`erofs`, `mkfs/*`) that the caller can mount itself.
    pub allow: Vec<String>,
}

/// Turns mount lists into what a shim can mount.
#[async_trait]
pub trait MountManager: Send + Sync + fmt::Debug {
    /// Activates `mounts` under `name`.
    ///
    /// # Errors
    /// Unimplemented when no mount needs the manager: the caller then mounts them as they are.
    /// AlreadyExists for a name in use.
    async fn activate(
        &self,
        name: &str,
        mounts: &[Mount],
        options: ActivateOptions,
    ) -> Result<Activation>;

    /// Unmounts in reverse order and forgets. NotFound for an unknown name.
    async fn deactivate(&self, name: &str) -> Result<()>;

    /// One activation. NotFound for an unknown name.
    async fn info(&self, name: &str) -> Result<Activation>;

    /// All activations of the namespace, by name.
    async fn list(&self) -> Result<Vec<Activation>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only() {
        let cases = [
            ("bind", vec!["rbind", "ro"], true),
            ("bind", vec!["rbind", "rw"], false),
            ("overlay", vec!["lowerdir=/a:/b"], true),
            ("overlay", vec!["workdir=/w,upperdir=/u,lowerdir=/a"], false),
            ("format/overlay", vec!["upperdir=/u", "ro"], true),
            ("erofs", vec![], true),
            ("ext4", vec![], false),
        ];
        for (kind, options, want) in cases {
            assert_eq!(
                Mount::new(kind, "x", options.clone()).is_read_only(),
                want,
                "{kind} {options:?}"
            );
        }
    }
}
