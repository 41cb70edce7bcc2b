//! Introspection: what a daemon is made of, and how its parts fare.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::container::Any;
use crate::filter::{Fields, Filters};
use crate::{Error, Kind, Platform, Result};

/// One plugin, as listings show it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginInfo {
    /// Its type (`io.containerd.snapshotter.v1`, …).
    pub kind: String,
    /// Its id, unique within the type.
    pub id: String,
    /// The types it needs; `*` for all.
    pub requires: Vec<String>,
    /// The platforms it serves; none says nothing.
    pub platforms: Vec<Platform>,
    /// What it tells clients, such as the `root` of a snapshotter.
    pub exports: BTreeMap<String, String>,
    /// What it can do (`rebase`, `remap-ids`, …).
    pub capabilities: Vec<String>,
    /// Why it does not run; none when it does.
    pub init_error: Option<InitError>,
}

impl PluginInfo {
    /// How it fares.
    pub fn status(&self) -> PluginStatus {
        match &self.init_error {
            None => PluginStatus::Ok,
            Some(error) if error.is_skip() => PluginStatus::Skip,
            Some(_) => PluginStatus::Error,
        }
    }
}

/// Only type and id: containerd answers "absent" for all else, and clients' filters expect it.
impl Fields for PluginInfo {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["type"] => Some(self.kind.as_str().into()),
            ["id"] => Some(self.id.as_str().into()),
            _ => None,
        }
    }
}

/// How a plugin fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PluginStatus {
    /// It runs.
    Ok,
    /// It has nothing to do here: not set up, or not for this host.
    Skip,
    /// It should run and cannot.
    Error,
}

impl fmt::Display for PluginStatus {
    /// The words of `ctr plugins ls`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PluginStatus::Ok => "ok",
            PluginStatus::Skip => "skip",
            PluginStatus::Error => "error",
        })
    }
}

/// Why a plugin does not run. On the wire a skip differs from a fault by its text alone, so the text
/// is the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitError {
    /// The class.
    pub kind: Kind,
    /// The whole chain on one line.
    pub message: String,
}

impl InitError {
    /// A plugin that has nothing to do, and why.
    pub fn skip(reason: impl fmt::Display) -> Self {
        InitError { kind: Kind::Unknown, message: format!("{reason}: {SKIP}") }
    }

    /// Whether it only has nothing to do.
    pub fn is_skip(&self) -> bool {
        self.message.contains(SKIP)
    }
}

impl From<&Error> for InitError {
    fn from(error: &Error) -> Self {
        InitError { kind: error.kind(), message: error.chain() }
    }
}

/// What clients look for in the message (`ctr plugins ls`).
const SKIP: &str = "skip plugin";

/// A plugin with what it tells about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginDetails {
    /// The plugin.
    pub plugin: PluginInfo,
    /// More, of a type the plugin chooses.
    pub extra: Option<Any>,
}

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Names this installation: made once, kept across restarts and upgrades.
    pub uuid: String,
    /// Its process id, as it sees itself.
    pub pid: u64,
    /// The inode of its process-id namespace, by which clients tell whether `pid` is one of theirs.
    pub pid_namespace: u64,
    /// What it was asked to do in a way that will go.
    pub deprecations: Vec<Deprecation>,
}

/// A use of something that will go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// Names the feature (`io.containerd.deprecation/…`).
    pub id: String,
    /// What to do instead.
    pub message: String,
    /// When it was last used.
    pub last_occurrence: Timestamp,
}

/// Tells about a daemon. Needs no namespace.
#[async_trait]
pub trait Introspection: Send + Sync + fmt::Debug {
    /// Every plugin that `filters` match, those that do not run among them, in order of start.
    async fn plugins(&self, filters: Filters) -> Result<Vec<PluginInfo>>;

    /// One plugin and what it tells about itself when asked with `options`; for a runtime that means
    /// running its shim.
    ///
    /// # Errors
    /// NotFound for no such plugin; InvalidArgument or Unimplemented for options that the plugin does
    /// not know.
    async fn plugin(&self, kind: &str, id: &str, options: Option<Any>) -> Result<PluginDetails>;

    /// The daemon itself.
    async fn server(&self) -> Result<Server>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(init_error: Option<InitError>) -> PluginInfo {
        PluginInfo {
            kind: "io.containerd.snapshotter.v1".into(),
            id: "zfs".into(),
            requires: vec![],
            platforms: vec![Platform::host()],
            exports: BTreeMap::new(),
            capabilities: vec!["rebase".into()],
            init_error,
        }
    }

    #[test]
    fn a_skip_is_told_from_a_fault() {
        let fault = Error::not_found("open /x").context("zfs");
        for (error, status, text) in [
            (None, PluginStatus::Ok, "ok"),
            (Some(InitError::skip("no zfs here")), PluginStatus::Skip, "skip"),
            (Some(InitError::from(&fault)), PluginStatus::Error, "error"),
            // As a containerd proxy plugin words it.
            (
                Some(InitError {
                    kind: Kind::Unknown,
                    message: "path /x must be btrfs: skip plugin".into(),
                }),
                PluginStatus::Skip,
                "skip",
            ),
        ] {
            let plugin = plugin(error);
            assert_eq!(plugin.status(), status, "{plugin:?}");
            assert_eq!(status.to_string(), text);
        }
        assert_eq!(InitError::from(&fault).message, "zfs: open /x");
        assert_eq!(InitError::from(&fault).kind, Kind::NotFound);
    }

    #[test]
    fn filters_see_type_and_id_only() {
        for (filter, found) in [
            ("type==io.containerd.snapshotter.v1,id==zfs", true),
            ("id==btrfs", false),
            ("capabilities", false),
            ("platforms", false),
        ] {
            let filters = Filters::parse_all(&[filter]).unwrap();
            assert_eq!(filters.matches(&plugin(None)), found, "{filter}");
        }
    }
}
