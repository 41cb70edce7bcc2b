//! A connection to a daemon.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lamina_api::proto::containerd::services::version::v1::version_client::VersionClient;
use lamina_api::proto::grpc::health::v1::HealthCheckRequest;
use lamina_api::proto::grpc::health::v1::health_check_response::ServingStatus;
use lamina_api::proto::grpc::health::v1::health_client::HealthClient;
use lamina_core::layer::LayerStore;
use lamina_core::{
    ContainerStore, ContentStore, Differ, Error, Host, ImageStore, Introspection, LeaseStore,
    MountManager, NamespaceStore, Result, SandboxStore, Scope, Snapshotter, TaskService, Transfer,
};
use tonic::transport::Endpoint;

use crate::content::{Closing, Content};
use crate::link::Link;

/// How long a daemon may take to accept a connection, and then to answer on it for the first time.
const CONNECT: Duration = Duration::from_secs(10);

/// Large messages without waiting for a window to open.
const WINDOW: u32 = 8 << 20;

/// A connection to a daemon. Clones share it. When the daemon is restarted, calls in progress fail with
/// Unavailable, and the next call connects again.
#[derive(Clone, Debug)]
pub struct Client {
    link: Link,
    closing: Closing,
}

/// What a daemon says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The version of containerd's API that it serves, and its own.
    pub version: String,
    /// The revision it was built from; may be empty.
    pub revision: String,
}

impl Client {
    /// Connects to the daemon that listens on the unix socket `path`, which is absolute.
    ///
    /// # Errors
    /// All name the socket. NotFound when there is none, Unavailable when nobody listens on it,
    /// PermissionDenied when the caller may not use it, InvalidArgument for a path that no socket has,
    /// DeadlineExceeded when whoever listens does not answer within 10 seconds.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Client> {
        let path = path.as_ref();
        let endpoint = endpoint(path)?;
        // Asked first by itself, because the system's own answer says what is wrong.
        let first = tokio::net::UnixStream::connect(path).await;
        drop(first.map_err(|error| refused(path, error))?);
        let channel = endpoint.connect().await.map_err(|error| {
            let message = format!("connect to the daemon at {}", path.display());
            Error::unavailable(message).with_source(error)
        })?;
        let client = Client { link: Link::new(channel, path), closing: Closing::default() };
        client.answers().await?;
        Ok(client)
    }

    /// [`connect`](Self::connect), once the first call is made: whether somebody listens is that call's
    /// to find out. To be called where a runtime of tokio's is entered.
    ///
    /// # Errors
    /// InvalidArgument for a path that no socket has.
    pub fn connect_lazily(path: impl AsRef<Path>) -> Result<Client> {
        let path = path.as_ref();
        let channel = endpoint(path)?.connect_lazy();
        Ok(Client { link: Link::new(channel, path), closing: Closing::default() })
    }

    /// Asks something small. The kernel accepts connections for a process that hangs, and later calls
    /// may take as long as they need, so this is when silence is noticed.
    async fn answers(&self) -> Result<()> {
        let asked = tokio::time::timeout(CONNECT, self.health()).await;
        // Any answer counts: what does not serve says why to the call that needs it.
        asked.map(drop).map_err(|_| {
            let seconds = CONNECT.as_secs();
            self.link.silent(&format!("accepts connections but gave no answer in {seconds} s"))
        })
    }

    /// What the daemon says it is.
    ///
    /// # Errors
    /// Unavailable when it has gone.
    pub async fn version(&self) -> Result<Version> {
        let answer = ask!(self.link, VersionClient.version(()))?;
        Ok(Version { version: answer.version, revision: answer.revision })
    }

    /// Whether the daemon serves.
    ///
    /// # Errors
    /// Unavailable when it has gone or does not serve.
    pub async fn health(&self) -> Result<()> {
        let whole = HealthCheckRequest { service: String::new() };
        let answer = ask!(self.link, HealthClient.check(whole))?;
        match answer.status() {
            ServingStatus::Serving => Ok(()),
            other => Err(self.link.gone(&format!("it is {}", other.as_str_name()))),
        }
    }

    /// What the daemon is made of.
    pub fn introspection(&self) -> Arc<dyn Introspection> {
        Arc::new(crate::introspection::Daemon(self.link.clone()))
    }

    /// Pulls and other transfers, from and to the namespace of `scope`. What a transfer makes is held
    /// by the lease of `scope`, if it has one.
    pub fn transfer(&self, scope: &Scope) -> Arc<dyn Transfer> {
        Arc::new(crate::transfer::Transfers(self.link.scoped(scope)))
    }

    /// The tasks of the namespace of `scope`: containers that run. Its lease holds the blobs of checkpoints.
    pub fn tasks(&self, scope: &Scope) -> Arc<dyn TaskService> {
        Arc::new(crate::tasks::Tasks(self.link.scoped(scope)))
    }

    /// The connection.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

fn endpoint(path: &Path) -> Result<Endpoint> {
    let bad = |why: &str| {
        Error::invalid_argument(format!("{:?} is no path of a socket: {why}", path.display()))
    };
    if !path.is_absolute() {
        return Err(bad("it must be absolute"));
    }
    let text = path.to_str().ok_or_else(|| bad("it is not UTF-8"))?;
    let endpoint = Endpoint::from_shared(format!("unix:{text}"))
        .map_err(|error| bad("it cannot be written as an address").with_source(error))?;
    Ok(endpoint
        .connect_timeout(CONNECT)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW))
}

fn refused(path: &Path, error: std::io::Error) -> Error {
    let socket = path.display();
    match error.kind() {
        ErrorKind::NotFound => Error::not_found(format!("there is no socket {socket}")),
        ErrorKind::ConnectionRefused => {
            Error::unavailable(format!("no daemon listens on the socket {socket}"))
        }
        ErrorKind::PermissionDenied => {
            Error::permission_denied(format!("connect to the socket {socket}"))
        }
        ErrorKind::InvalidInput => {
            Error::invalid_argument(format!("{socket} is no path of a socket"))
        }
        _ => Error::unavailable(format!("connect to the socket {socket}")),
    }
    .with_source(error)
}

impl Host for Client {
    fn namespaces(&self) -> Arc<dyn NamespaceStore> {
        Arc::new(crate::namespaces::Namespaces(self.link.clone()))
    }

    fn content(&self, scope: &Scope) -> Arc<dyn ContentStore> {
        Arc::new(Content { link: self.link.scoped(scope), closing: self.closing.clone() })
    }

    /// Whether it is loaded is the daemon's to say, to each call.
    fn snapshotter(&self, scope: &Scope, name: &str) -> Result<Arc<dyn Snapshotter>> {
        if name.is_empty() {
            return Err(Error::invalid_argument("the name of a snapshotter must not be empty"));
        }
        let (link, name) = (self.link.scoped(scope), name.to_owned());
        Ok(Arc::new(crate::snapshots::Snapshots { link, name }))
    }

    /// Of blobs that the daemon has; receiving them is a transfer's.
    fn layers(&self, scope: &Scope, name: &str) -> Result<Arc<dyn LayerStore>> {
        Ok(Arc::new(crate::layers::Layers {
            name: name.to_owned(),
            scope: scope.clone(),
            snapshots: self.snapshotter(scope, name)?,
            differ: self.differ(scope),
            leases: self.leases(scope),
        }))
    }

    fn images(&self, scope: &Scope) -> Arc<dyn ImageStore> {
        Arc::new(crate::images::Images(self.link.scoped(scope)))
    }

    fn containers(&self, scope: &Scope) -> Arc<dyn ContainerStore> {
        Arc::new(crate::containers::Containers(self.link.scoped(scope)))
    }

    fn leases(&self, scope: &Scope) -> Arc<dyn LeaseStore> {
        Arc::new(crate::leases::Leases(self.link.scoped(scope)))
    }

    fn mounts(&self, scope: &Scope) -> Arc<dyn MountManager> {
        Arc::new(crate::mounts::Mounts(self.link.scoped(scope)))
    }

    fn differ(&self, scope: &Scope) -> Arc<dyn Differ> {
        Arc::new(crate::diff::Diff(self.link.scoped(scope)))
    }

    fn sandboxes(&self, scope: &Scope) -> Arc<dyn SandboxStore> {
        Arc::new(crate::sandboxes::Sandboxes(self.link.scoped(scope)))
    }
}
