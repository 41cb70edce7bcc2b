//! What is meant: flags, then variables, then the configuration file, then defaults.

use std::path::PathBuf;
use std::time::Duration;

use lamina_core::{Namespace, Result};
use lamina_server::config::{self, Config};
pub(crate) use lamina_store::Durability;

use super::chosen::Chosen;
use super::globals::Globals;

pub(crate) use lamina_server::config::DEFAULT_ROOT;
const DEFAULT_NAMESPACE: &str = "default";

/// What every verb goes by, resolved and checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What the configuration file says, with what was typed in its place.
    pub(crate) config: Config,
    /// A daemon's socket that was asked for by name.
    pub(crate) address: Option<PathBuf>,
    /// The root was named on the command line or by its variable.
    pub(crate) root_is_typed: bool,
    pub(crate) namespace: Namespace,
    pub(crate) snapshotter: Chosen,
    /// What the configuration file says that has no effect here.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// # Errors
    /// InvalidArgument for a bad namespace, relative directories that cannot be resolved, and what
    /// the configuration file has wrong; NotFound for a configuration file that was named.
    pub(super) fn resolve(typed: &Globals) -> Result<Settings> {
        let config::Loaded { mut config, warnings } = config::load(typed.config.as_deref())?;
        config.root = absolute(typed.root.clone().unwrap_or(config.root))?;
        config.state = absolute(typed.state.clone().unwrap_or(config.state))?;
        let namespace = typed.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let namespace = Namespace::new(namespace)?;
        // A variable that is empty says nothing.
        let snapshotter = typed.snapshotter.as_deref().filter(|name| !name.is_empty());
        let snapshotter = Chosen::new(snapshotter, config.snapshotter(&namespace));
        let (address, root_is_typed) =
            (typed.before.as_ref().or(typed.address.as_ref()).cloned(), typed.root.is_some());
        Ok(Settings { config, address, root_is_typed, namespace, snapshotter, warnings })
    }

    /// How to open the store, waiting for at most `wait` while another process has it.
    pub(crate) fn store(&self, durability: Durability, wait: Duration) -> lamina_store::Options {
        let mut options = self.config.store();
        options.durability = durability;
        options.wait = wait;
        options
    }

    /// The socket on which a daemon of this configuration listens.
    pub(crate) fn default_socket(&self) -> PathBuf {
        self.config.grpc_address()
    }
}

/// Mounts name directories of the store, so their paths must not depend on where a command ran.
pub(crate) fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|error| {
        let message = format!("{:?} is not a directory's path", path.display().to_string());
        lamina_core::Error::invalid_argument(message).with_source(error)
    })
}
