//! What is meant: flags, then variables, then the configuration file, then defaults.

use std::path::PathBuf;
use std::time::Duration;

use lamina_core::{Namespace, Result};
use lamina_store::snapshot::drivers;

use super::config;
use super::globals::Globals;

pub(crate) use super::config::{Durability, Limits, Sharing};

/// Where the store lies when nobody says otherwise.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/lamina";
const DEFAULT_STATE: &str = "/run/lamina";
const DEFAULT_NAMESPACE: &str = "default";
const DEFAULT_SNAPSHOTTER: &str = "overlayfs";

/// What every verb goes by, resolved and checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    /// A daemon's socket that was asked for by name.
    pub(crate) address: Option<PathBuf>,
    pub(crate) namespace: Namespace,
    pub(crate) snapshotter: String,
    pub(crate) durability: Durability,
    pub(crate) sharing: Sharing,
    pub(crate) drivers: drivers::Config,
    /// How much of anything input may have.
    pub(crate) limits: Limits,
    /// What the configuration file says that has no effect here.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// # Errors
    /// InvalidArgument for a bad namespace, relative directories that cannot be resolved, and what
    /// the configuration file has wrong; NotFound for a configuration file that was named.
    pub(super) fn resolve(typed: &Globals) -> Result<Settings> {
        let file = config::load(typed.config.as_deref())?;
        let namespace = typed.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        Ok(Settings {
            root: absolute(typed.root.clone().or(file.root), DEFAULT_ROOT)?,
            state: absolute(typed.state.clone().or(file.state), DEFAULT_STATE)?,
            address: typed.address.clone(),
            namespace: Namespace::new(namespace)?,
            snapshotter: typed.snapshotter.clone().unwrap_or_else(|| DEFAULT_SNAPSHOTTER.into()),
            durability: file.durability,
            sharing: file.sharing,
            drivers: file.drivers,
            limits: file.limits,
            warnings: file.warnings,
        })
    }

    /// How to open the store, waiting for at most `wait` while another process has it.
    pub(crate) fn store(&self, durability: Durability, wait: Duration) -> lamina_store::Options {
        let mut options = lamina_store::Options::new(&self.root, &self.state);
        options.durability = durability;
        options.sharing = self.sharing;
        options.snapshotters = drivers::all(&self.drivers);
        options.reserve = self.limits.reserve;
        options.limits = self.limits.layer.clone();
        options.wait = wait;
        options
    }

    /// The socket on which a daemon of this state directory listens.
    pub(crate) fn default_socket(&self) -> PathBuf {
        self.state.join("lamina.sock")
    }
}

/// Mounts name directories of the store, so their paths must not depend on where a command ran.
fn absolute(path: Option<PathBuf>, default: &str) -> Result<PathBuf> {
    let path = path.unwrap_or_else(|| default.into());
    std::path::absolute(&path).map_err(|error| {
        let message = format!("{:?} is not a directory's path", path.display().to_string());
        lamina_core::Error::invalid_argument(message).with_source(error)
    })
}
