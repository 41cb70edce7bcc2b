//! One snapshotter on a socket of its own, for another daemon's `[proxy_plugins]`.
//!
//! Whoever calls keeps namespaces, leases and the collection of garbage to itself and asks under keys
//! that are never used twice, so here all keys are in one space and nothing is collected.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::{Error, Host as _, Kind, Namespace, Result, Scope, Snapshotter};
use lamina_store::Store;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::notify::notify;
use crate::service;
use crate::socket::{self, Owner};

/// What is served.
#[derive(Debug)]
pub struct Options {
    /// The store that keeps the snapshots; it must be able to open the snapshotter.
    pub store: lamina_store::Options,
    /// The name of the snapshotter in it.
    pub snapshotter: String,
    /// Where to listen.
    pub address: PathBuf,
    /// The user that owns the socket.
    pub uid: u32,
    /// The group that owns it.
    pub gid: u32,
}

/// How long calls in progress may go on after the first signal.
const DRAIN: Duration = Duration::from_secs(10);

/// The one namespace of the store. Callers do not hear of it.
const NAMESPACE: &str = "proxy";

/// Serves until `stop` answers (SIGTERM, SIGINT); then calls in progress may end, until it answers again.
///
/// # Errors
/// AlreadyExists when somebody answers at the address; those of opening the store and the snapshotter,
/// whose `skip` is a FailedPrecondition; Cancelled when a second signal ends it at once.
pub async fn serve(options: Options, mut stop: impl AsyncFnMut()) -> Result<()> {
    let Options { store, snapshotter, address, uid, gid } = options;
    socket::check_free(&address)?;
    let opening = tokio::task::spawn_blocking(move || open(store, &snapshotter));
    let (store, snapshotter) = tokio::select! {
        opened = opening => {
            opened.map_err(|error| Error::internal("open the snapshotter").with_source(error))??
        }
        () = stop() => return Err(Error::cancelled("a signal came before it was open")),
    };
    let stopping = CancellationToken::new();
    let served = match socket::listen(&address, Owner { uid, gid }) {
        Err(error) => Err(error),
        Ok(listener) => {
            let server = Server::builder()
                .add_routes(service::of_one(snapshotter))
                .serve_with_incoming_shutdown(
                    socket::connections(listener),
                    stopping.clone().cancelled_owned(),
                );
            tracing::info!(address = %address.display(), "serving");
            notify("READY=1");
            until_stopped(server, &stopping, &mut stop).await
        }
    };
    if served.as_ref().is_err_and(|error| error.kind() == Kind::Cancelled) {
        return served;
    }
    // One that started meanwhile has put its own socket there.
    if std::os::unix::net::UnixStream::connect(&address).is_err() {
        let _ = std::fs::remove_file(&address);
    }
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    let closed = closed.map_err(|error| Error::internal("close the store").with_source(error))?;
    served.and(closed)
}

async fn until_stopped(
    server: impl Future<Output = Result<(), tonic::transport::Error>>,
    stopping: &CancellationToken,
    stop: &mut impl AsyncFnMut(),
) -> Result<()> {
    let mut server = std::pin::pin!(server);
    let ended = |error: tonic::transport::Error| {
        Error::internal("the server ended by itself").with_source(error)
    };
    tokio::select! {
        served = &mut server => return served.map_err(ended),
        () = stop() => {}
    }
    notify("STOPPING=1");
    tracing::info!("stopping");
    stopping.cancel();
    tokio::select! {
        _ = &mut server => Ok(()),
        () = stop() => Err(Error::cancelled("a second signal ended it at once")),
        () = tokio::time::sleep(DRAIN) => {
            tracing::warn!("calls in progress are cut off");
            Ok(())
        }
    }
}

fn open(store: lamina_store::Options, name: &str) -> Result<(Store, Arc<dyn Snapshotter>)> {
    let store = Store::open(store)?;
    let scope = Scope::new(Namespace::new(NAMESPACE)?);
    match store.snapshotter(&scope, name) {
        Ok(snapshotter) => Ok((store, snapshotter)),
        Err(error) => {
            store.close()?;
            Err(error)
        }
    }
}
