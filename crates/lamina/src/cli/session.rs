//! The way to the store: the daemon that was named, the daemon on the default socket, or the store
//! itself under its lock.
//!
//! The lock is held for one command. A command waits a moment for another one to end, but does not
//! queue behind a daemon.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::introspection::Introspection;
use lamina_core::{Error, Host, Result};
use lamina_server::plugin::{Local, Site};
use lamina_store::Store;
use lamina_store::fsck::{FsckOptions, Report};

use super::Settings;
use super::settings::Durability;

/// How long a command waits for another to let go of the lock: most take far less.
const PATIENCE: Duration = Duration::from_secs(2);

/// The stores of a host, for as long as one command runs.
#[derive(Debug)]
pub(crate) struct Session {
    store: Store,
}

impl Session {
    /// Finds the store.
    ///
    /// # Errors
    /// Unimplemented for a daemon's socket, Unavailable when another process holds the lock, and
    /// those of opening the store.
    pub(super) fn connect(settings: &Settings, durability: Durability) -> Result<Session> {
        let store =
            Store::open(options(settings, durability)?).map_err(naming("open", settings))?;
        Ok(Session { store })
    }

    /// What the host is made of, and how it fares.
    pub(crate) fn introspection(&self, settings: &Settings) -> Arc<dyn Introspection> {
        let config = Arc::new(settings.config.clone());
        Arc::new(Local(Site { store: self.store.clone(), config, services: None }))
    }

    /// The store itself, for what only its owner can do.
    pub(crate) fn local(&self) -> &Store {
        &self.store
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The verb's answer stands: what cannot be put away now is put in order at the next start.
        if let Err(error) = self.store.close() {
            tracing::warn!(error = %error.chain(), "closing the store");
        }
    }
}

impl Deref for Session {
    type Target = dyn Host;

    fn deref(&self) -> &Self::Target {
        &self.store
    }
}

/// Checks the store as it lies there, before opening it puts it in order.
///
/// # Errors
/// As [`Session::connect`], and those of the check.
pub(super) fn examine(settings: &Settings, look: FsckOptions) -> Result<Report> {
    Store::examine(options(settings, settings.config.durability)?, look)
        .map_err(naming("check", settings))
}

/// How to open the store, unless a daemon has it.
fn options(settings: &Settings, durability: Durability) -> Result<lamina_store::Options> {
    if let Some(address) = &settings.address {
        return Err(no_client(address));
    }
    let socket = settings.default_socket();
    if answers(&socket) {
        return Err(no_client(&socket));
    }
    Ok(settings.store(durability, PATIENCE))
}

fn naming(what: &str, settings: &Settings) -> impl FnOnce(Error) -> Error {
    let what = format!("{what} the store {}", settings.config.root.display());
    move |error| error.context(what)
}

/// A socket file may be left over from a daemon that is gone; only one that answers counts.
fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

fn no_client(address: &Path) -> Error {
    Error::unimplemented(format!(
        "this lamina cannot ask a daemon (socket {}), it can only open the store itself",
        address.display()
    ))
}
