//! The way to the store: the daemon that was named, the daemon on the default socket, or the store
//! itself under its lock.
//!
//! The lock is held for one command. A command waits a moment for another one to end, but does not
//! queue behind a daemon.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lamina_client::Client;
use lamina_core::introspection::Introspection;
use lamina_core::labels::GC_EXPIRE;
use lamina_core::{Error, Host, Kind, Labels, Result, Scope, TaskService};
use lamina_server::plugin::{Local, Site};
use lamina_store::fsck::{FsckOptions, Report};
use lamina_store::{Collected, Store};

use super::Settings;
use super::settings::Durability;

/// How long a command waits for another to let go of the lock: most take far less.
const PATIENCE: Duration = Duration::from_secs(2);

/// The stores of a host, for as long as one command runs.
#[derive(Debug)]
pub(crate) enum Session {
    /// They are a daemon's.
    Daemon(Daemon),
    /// They are opened by this process.
    Store(Store),
}

/// A daemon that answers.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) client: Client,
    pub(crate) socket: PathBuf,
}

impl Session {
    /// Finds the store.
    ///
    /// # Errors
    /// Those of connecting to a daemon that was named; Unavailable when another process holds the
    /// lock, and those of opening the store.
    pub(super) async fn connect(settings: &Settings) -> Result<Session> {
        match Daemon::find(settings).await? {
            Some(daemon) => Ok(Session::Daemon(daemon)),
            None => Session::open(settings, settings.config.durability),
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Unavailable when another process holds the lock, and those of opening the store.
    pub(super) fn open(settings: &Settings, durability: Durability) -> Result<Session> {
        let options = settings.store(durability, PATIENCE);
        Store::open(options).map(Session::Store).map_err(naming("open", settings))
    }

    /// The stores, for work that keeps them. They are put away with the session.
    pub(crate) fn host(&self) -> Arc<dyn Host> {
        match self {
            Session::Daemon(daemon) => Arc::new(daemon.client.clone()),
            Session::Store(store) => Arc::new(store.clone()),
        }
    }

    /// What the host is made of, and how it fares.
    pub(crate) fn introspection(&self, settings: &Settings) -> Arc<dyn Introspection> {
        match self {
            Session::Daemon(daemon) => daemon.client.introspection(),
            Session::Store(store) => {
                let config = Arc::new(settings.config.clone());
                Arc::new(Local(Site {
                    store: store.clone(),
                    config,
                    services: None,
                    runtime: None,
                }))
            }
        }
    }

    /// Frees what nothing refers to, in all namespaces. A daemon does not tell what that was.
    ///
    /// # Errors
    /// Those of the database; what cannot be freed now is reported in the answer.
    pub(crate) async fn collect(&self) -> Result<Option<Collected>> {
        if let Session::Store(store) = self {
            return store.collect().map(Some);
        }
        // There is no call for it, but the end of a lease can be waited for until it is collected.
        // A lease makes its namespace; without one there is nothing to collect.
        if let Some((namespace, _)) = self.namespaces().list().await?.into_iter().next() {
            let leases = self.leases(&Scope::new(namespace));
            let until = (Timestamp::now() + Duration::from_secs(3600)).to_string();
            let lease = leases.create("", Labels::from([(GC_EXPIRE.to_owned(), until)])).await?;
            leases.delete(&lease.id, true).await?;
        }
        Ok(None)
    }
}

impl Daemon {
    /// The daemon that was named, or the one that answers on the default socket.
    ///
    /// # Errors
    /// Those of connecting to one that was named; PermissionDenied for a socket of another user;
    /// FailedPrecondition for the daemon of another store than the one that was named.
    pub(crate) async fn find(settings: &Settings) -> Result<Option<Daemon>> {
        if let Some(named) = &settings.address {
            let socket = super::settings::absolute(named.clone())?;
            let client = Client::connect(&socket).await?;
            return Ok(Some(Daemon { client, socket }));
        }
        let socket = settings.default_socket();
        let client = match Client::connect(&socket).await {
            Ok(client) => client,
            // A socket file may be left over from a daemon that is gone; only one that answers counts.
            Err(error) if is_absence(error.kind()) => return Ok(None),
            Err(error) => return Err(error),
        };
        let daemon = Daemon { client, socket };
        if settings.root_is_typed {
            daemon.check_root(&settings.config.root).await?;
        }
        Ok(Some(daemon))
    }

    /// Its containers that run.
    pub(crate) fn tasks(&self, scope: &Scope) -> Arc<dyn TaskService> {
        self.client.tasks(scope)
    }

    /// What is done to one store must not happen to another.
    async fn check_root(&self, typed: &Path) -> Result<()> {
        let Some(root) = root_of(&*self.client.introspection()).await? else { return Ok(()) };
        let same = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if same(&root) == same(typed) {
            return Ok(());
        }
        Err(Error::failed_precondition(format!(
            "the daemon at {} has the store {}, not {}: name another --state DIR too, or leave out \
             --root",
            self.socket.display(),
            root.display(),
            typed.display()
        )))
    }

    /// What only the owner of the store can do.
    pub(crate) fn has_the_store(&self, what: &str) -> Error {
        Error::failed_precondition(format!(
            "{what} is for the owner of the store, which is the daemon at {}",
            self.socket.display()
        ))
    }
}

/// The store's folder, as plugins tell it.
///
/// # Errors
/// Those of asking.
pub(crate) async fn root_of(introspection: &dyn Introspection) -> Result<Option<PathBuf>> {
    let filters = lamina_core::Filters::parse_all(&["type==io.containerd.content.v1"])?;
    let plugins = introspection.plugins(filters).await?;
    let root = plugins.iter().find_map(|plugin| plugin.exports.get("root"));
    Ok(root.and_then(|root| Path::new(root).parent()).map(Path::to_owned))
}

/// Nobody listens there, or nobody could: the path is too long.
fn is_absence(kind: Kind) -> bool {
    matches!(kind, Kind::NotFound | Kind::Unavailable | Kind::InvalidArgument)
}

impl Drop for Session {
    fn drop(&mut self) {
        let Session::Store(store) = self else { return };
        // The verb's answer stands: what cannot be put away now is put in order at the next start.
        if let Err(error) = store.close() {
            tracing::warn!(error = %error.chain(), "closing the store");
        }
    }
}

impl Deref for Session {
    type Target = dyn Host;

    fn deref(&self) -> &Self::Target {
        match self {
            Session::Daemon(daemon) => &daemon.client,
            Session::Store(store) => store,
        }
    }
}

/// Checks the store as it lies there, before opening it puts it in order.
///
/// # Errors
/// FailedPrecondition when a daemon has the store; as [`Session::connect`], and those of the check.
pub(super) async fn examine(settings: &Settings, look: FsckOptions) -> Result<Report> {
    if let Some(daemon) = Daemon::find(settings).await? {
        return Err(daemon.has_the_store("fsck"));
    }
    let options = settings.store(settings.config.durability, PATIENCE);
    Store::examine(options, look).map_err(naming("check", settings))
}

fn naming(what: &str, settings: &Settings) -> impl FnOnce(Error) -> Error {
    let what = format!("{what} the store {}", settings.config.root.display());
    move |error| error.context(what)
}
