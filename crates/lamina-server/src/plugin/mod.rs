//! What the daemon is made of, as one list of values, and how each of them fares.
//!
//! The list ([`builtin`]) is what `plugins ls` shows and what clients decide by: which snapshotters
//! they may use, which services they may call. A plugin that does not work says why, and stops the
//! others only if the configuration requires it.

mod builtin;
mod introspection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lamina_core::introspection::{InitError, PluginInfo};
use lamina_core::{Error, Platform, Result};
use lamina_runtime::Runtime;
use lamina_store::Store;

use crate::config::{self, Config};

pub(crate) use builtin::DIFFER;
pub use builtin::SNAPSHOTTER;
pub use introspection::Local;

/// What plugins are made from.
#[derive(Clone, Debug)]
pub struct Site {
    /// The store of this host.
    pub store: Store,
    /// What the daemon goes by.
    pub config: Arc<Config>,
    /// The gRPC services that are served (`containerd.services.leases.v1.Leases`, …); none without
    /// a daemon.
    pub services: Option<Vec<&'static str>>,
    /// The runtime; none without a daemon.
    pub runtime: Option<Runtime>,
}

/// One plugin: what it is, and what becomes of it at a site.
struct Plugin {
    /// Its type.
    kind: &'static str,
    /// Its id, unique within the type.
    id: String,
    /// The types it needs.
    requires: &'static [&'static str],
    init: Init,
}

/// Tells what became of a plugin.
type Init = Box<dyn Fn(&Site) -> Result<Loaded, Fault>>;

/// A plugin that works.
#[derive(Default)]
struct Loaded {
    platforms: Vec<Platform>,
    capabilities: Vec<String>,
    exports: BTreeMap<String, String>,
}

/// A plugin that does not.
enum Fault {
    /// It has nothing to do here, and why.
    Skip { why: String, about: Loaded },
    /// It should work.
    Failed { error: InitError, about: Loaded },
}

impl Fault {
    fn skip(why: impl fmt::Display) -> Self {
        Fault::Skip { why: why.to_string(), about: Loaded::default() }
    }
}

impl Plugin {
    fn look(self, site: &Site) -> PluginInfo {
        let (about, init_error) = match (self.init)(site) {
            Ok(about) => (about, None),
            Err(Fault::Skip { why, about }) => (about, Some(InitError::skip(why))),
            Err(Fault::Failed { error, about }) => (about, Some(error)),
        };
        PluginInfo {
            kind: self.kind.to_owned(),
            id: self.id,
            requires: self.requires.iter().map(|&kind| kind.to_owned()).collect(),
            platforms: about.platforms,
            exports: about.exports,
            capabilities: about.capabilities,
            init_error,
        }
    }
}

impl Site {
    /// Every plugin that is not left out, with how it fares now. Opens snapshotters that are not
    /// open, so it blocks.
    pub fn plugins(&self) -> Vec<PluginInfo> {
        let all = builtin::all(self).into_iter();
        let kept = all.filter(|plugin| !self.config.disables(plugin.kind, &plugin.id));
        kept.map(|plugin| plugin.look(self)).collect()
    }

    /// # Errors
    /// FailedPrecondition for a required plugin that is not there or does not work, with why.
    pub fn check_required(&self) -> Result<()> {
        if self.config.required_plugins.is_empty() {
            return Ok(());
        }
        let plugins = self.plugins();
        for uri in &self.config.required_plugins {
            let found = plugins.iter().find(|plugin| config::is(uri, &plugin.kind, &plugin.id));
            let why = match found {
                None => "there is none, or it is disabled".to_owned(),
                Some(PluginInfo { init_error: Some(error), .. }) => error.message.clone(),
                Some(_) => continue,
            };
            let message = format!("required plugin {uri} does not work: {why}");
            return Err(Error::failed_precondition(message));
        }
        Ok(())
    }

    /// What of `disabled_plugins` goes on working all the same, one line each: the parts of the store
    /// do not work without each other.
    pub fn cannot_disable(&self) -> Vec<String> {
        let all = builtin::all(self);
        let fixed = |uri: &&String| {
            let plugin = all.iter().find(|plugin| config::is(uri, plugin.kind, &plugin.id));
            let able = [SNAPSHOTTER, builtin::GRPC, builtin::RESTART];
            plugin.is_some_and(|plugin| !able.contains(&plugin.kind))
        };
        let named = self.config.disabled_plugins.iter().filter(fixed);
        named
            .map(|uri| format!("plugin {uri} is only left out of lists, it cannot be disabled"))
            .collect()
    }
}

/// Whether containers are started again.
pub(crate) fn restarts(config: &Config) -> bool {
    let kinds = [builtin::RESTART, "io.containerd.internal.v1"];
    !kinds.iter().any(|kind| config.disables(kind, "restart"))
}

/// Whether the gRPC service `name` is to be served.
pub(crate) fn serves(config: &Config, name: &str) -> bool {
    builtin::grpc_id(name).is_none_or(|id| !config.disables(builtin::GRPC, id))
}
