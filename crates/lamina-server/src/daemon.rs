//! A daemon's life: configuration → build → spawn → drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::introspection::PluginStatus;
use lamina_core::{Error, Result};
use lamina_store::Store;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::config::Config;
use crate::differs::Differs;
use crate::events::{Bounds, Dispatcher, Hub};
use crate::gc;
use crate::metrics::{self, Metrics};
use crate::notify::notify;
use crate::parts::Parts;
use crate::plugin::{self, Site};
use crate::proxy;
use crate::restart;
use crate::runtime;
use crate::service;
use crate::socket::{self, Owner};
use crate::streams::Streams;
use crate::transfer;
use crate::ttrpc::Ttrpc;
use crate::upkeep;

/// What a daemon is made from.
#[derive(Debug)]
pub struct Options {
    /// The store it owns, as [`Config::store`] says or otherwise.
    pub store: lamina_store::Options,
    /// Everything else.
    pub config: Config,
}

/// How long calls in progress may go on once the daemon is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Large messages in few frames, and no waiting for a window to open.
const FRAME: u32 = 1 << 20;
const WINDOW: u32 = 8 << 20;

/// A daemon that has its store and its socket, and does not serve yet.
#[derive(Debug)]
pub struct Daemon {
    parts: Parts,
    dispatcher: Dispatcher,
    listener: UnixListener,
    address: PathBuf,
    /// The socket for shims.
    shims: Ttrpc,
    shims_address: PathBuf,
    metrics: Metrics,
    metrics_listener: Option<TcpListener>,
}

/// A daemon that serves.
#[derive(Debug)]
pub struct Running {
    parts: Parts,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    collecting: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    restarting: Option<JoinHandle<()>>,
    address: PathBuf,
    shims: Ttrpc,
    shims_address: PathBuf,
    metrics: Metrics,
    metrics_address: Option<SocketAddr>,
    serving_metrics: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Opens the store, waiting for a command that has it, and the socket. Proxies are connected to when
    /// they are first used.
    ///
    /// # Errors
    /// Those of opening the store; AlreadyExists when a daemon answers at the address;
    /// FailedPrecondition for a required plugin that does not work.
    pub async fn build(options: Options) -> Result<Daemon> {
        let Options { mut store, config } = options;
        let address = config.grpc_address();
        let owner = Owner { uid: config.grpc.uid, gid: config.grpc.gid };
        let shims_owner = match (config.ttrpc.uid, config.ttrpc.gid) {
            (0, 0) => owner,
            (uid, gid) => Owner { uid, gid },
        };
        // The lock is a daemon's for as long as it lives: no use in waiting for it.
        socket::check_free(&address)?;
        let differs = Differs::new(&config)?;
        let transfer = transfer::Shared::new(&config)?;
        let (events, dispatcher) = Hub::new(Bounds::default());
        store.events = events.clone();
        store.remotes = proxy::snapshotters(&config, &store.snapshotters)?;
        let open = tokio::task::spawn_blocking(move || Store::open(store)).await;
        let store =
            open.map_err(|error| Error::internal("open the store").with_source(error))??;
        let config = Arc::new(config);
        let runtime = match runtime::open(&config, &store, &events) {
            Ok(runtime) => runtime,
            Err(error) => {
                close(store).await;
                return Err(error);
            }
        };
        let services = Some(service::names(&config));
        let runs = Some(runtime.clone());
        let site =
            Site { store: store.clone(), config: Arc::clone(&config), services, runtime: runs };
        let shims_address = runtime::ttrpc_address(&config);
        let open = async {
            plugins(&site).await?;
            // Before shims are reached again: what they tell then is to arrive.
            let shims = socket::listen(&shims_address, shims_owner)?;
            let shims = Ttrpc::start(shims, events.clone()).await?;
            runtime::load(&runtime).await?;
            let metrics = Metrics::new(&store, &events)?;
            let asked_at = match &config.metrics {
                Some(address) => Some(metrics::listen(address).await?),
                None => None,
            };
            Ok((metrics, asked_at, shims, socket::listen(&address, owner)?))
        };
        let (metrics, metrics_listener, shims, listener) = match open.await {
            Ok(open) => open,
            Err(error) => {
                drop(site);
                runtime.close().await;
                drop(runtime);
                close(store).await;
                return Err(error);
            }
        };
        let parts = Parts {
            config,
            introspection: Arc::new(plugin::Local(site)),
            store,
            runtime,
            differs,
            events,
            streams: Streams::default(),
            transfer,
            stopping: CancellationToken::new(),
        };
        Ok(Daemon {
            parts,
            dispatcher,
            listener,
            address,
            shims,
            shims_address,
            metrics,
            metrics_listener,
        })
    }

    /// Begins to serve.
    pub fn spawn(self) -> Running {
        let Daemon {
            parts,
            dispatcher,
            listener,
            address,
            shims,
            shims_address,
            metrics,
            metrics_listener,
        } = self;
        // joined: it ends when the store and the services, who hold the hub, are gone.
        tokio::spawn(dispatcher.run());
        let collecting = gc::run(
            parts.store.clone(),
            parts.config.gc,
            metrics.collections.clone(),
            parts.stopping.clone(),
        );
        // joined: by `Running::drain`.
        let collecting = tokio::spawn(collecting);
        // joined: by `Running::drain`.
        let upkeep = tokio::spawn(upkeep::run(
            parts.store.clone(),
            upkeep::INTERVAL,
            parts.stopping.clone(),
        ));
        let restarting = plugin::restarts(&parts.config).then(|| {
            // joined: by `Running::drain`.
            tokio::spawn(restart::run(
                parts.store.clone(),
                parts.runtime.clone(),
                parts.config.restart_interval,
                parts.stopping.clone(),
            ))
        });
        let serving = Server::builder()
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW)
            .max_frame_size(FRAME)
            .layer(metrics.calls.clone())
            .add_routes(service::routes(&parts))
            .serve_with_incoming_shutdown(
                socket::connections(listener),
                parts.stopping.clone().cancelled_owned(),
            );
        // joined: by `Running::drain`.
        let serving = tokio::spawn(serving);
        let metrics_address = metrics_listener.as_ref().and_then(|it| it.local_addr().ok());
        let serving_metrics = metrics_listener.map(|listener| {
            tracing::info!(address = ?metrics_address, "metrics are answered");
            // joined: by `Running::drain`.
            tokio::spawn(metrics::serve(listener, metrics.clone(), parts.stopping.clone()))
        });
        Running {
            parts,
            serving,
            collecting,
            upkeep,
            restarting,
            address,
            shims,
            shims_address,
            metrics,
            metrics_address,
            serving_metrics,
        }
    }
}

impl Running {
    /// Where metrics are asked for, with the port that the kernel chose for 0.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Tells the service manager that the socket answers, serves until SIGTERM or SIGINT, then
    /// [`drain`](Self::drain)s.
    ///
    /// # Errors
    /// Cancelled when a second signal ends the drain: the store is then as a kill leaves it, and the
    /// process is to exit at once. Internal when serving fails by itself; those of `drain`.
    pub async fn until_signalled(mut self, mut signals: Signals) -> Result<()> {
        tracing::info!(address = %self.address.display(), "serving");
        notify("READY=1");
        tokio::select! {
            () = signals.next() => {}
            ended = &mut self.serving => {
                let error = Error::internal("the server ended by itself");
                let error = match ended {
                    Ok(Ok(())) => error,
                    Ok(Err(why)) => error.with_source(why),
                    Err(why) => error.with_source(why),
                };
                self.parts.stopping.cancel();
                self.finish().await;
                return Err(error);
            }
        }
        tokio::select! {
            biased;
            drained = self.drain() => drained,
            () = signals.next() => Err(Error::cancelled("a second signal ended the daemon at once")),
        }
    }

    /// Takes no new calls, lets those in progress end for a while, and closes the store.
    ///
    /// # Errors
    /// Those of closing the store.
    pub async fn drain(mut self) -> Result<()> {
        notify("STOPPING=1");
        tracing::info!("stopping");
        self.parts.stopping.cancel();
        let calls = self.metrics.calls.clone();
        tokio::select! {
            _ = &mut self.serving => {}
            // Connections without a call, and those that never spoke, are nobody's work.
            () = idle(&calls) => {}
            () = tokio::time::sleep(DRAIN) => tracing::warn!("calls in progress are cut off"),
        }
        if !self.serving.is_finished() {
            self.serving.abort();
            let _ = (&mut self.serving).await;
        }
        self.finish().await;
        Ok(())
    }

    /// Waits for what goes on beside calls, and puts socket and store away.
    async fn finish(self) {
        if let Err(error) = self.collecting.await {
            tracing::warn!(%error, "the collector ended early");
        }
        if let Err(error) = self.upkeep.await {
            tracing::warn!(%error, "the upkeep ended early");
        }
        if let Some(restarting) = self.restarting
            && let Err(error) = restarting.await
        {
            tracing::warn!(%error, "starting containers again ended early");
        }
        if let Some(serving) = self.serving_metrics
            && let Err(error) = serving.await
        {
            tracing::warn!(%error, "serving metrics ended early");
        }
        self.shims.stop().await;
        for socket in [&self.address, &self.shims_address] {
            // A daemon that starts meanwhile has put its own socket there.
            if std::os::unix::net::UnixStream::connect(socket).is_err() {
                let _ = std::fs::remove_file(socket);
            }
        }
        // Shims and their containers live on.
        self.parts.runtime.close().await;
        close(self.parts.store).await;
    }
}

/// Waits until there is no call in progress, and a little more for the last answers to get out.
async fn idle(calls: &metrics::Calls) {
    let mut looks = 0;
    while looks < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        looks = if calls.open() == 0 { looks + 1 } else { 0 };
    }
}

/// What asks a daemon to end: SIGTERM and SIGINT. They do not end the process by themselves any more,
/// so whoever makes this heeds it.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches signals from now on; call it before [`Daemon::build`], so that none is missed once the
    /// socket is there.
    ///
    /// # Errors
    /// Internal when signals cannot be had.
    pub fn new() -> Result<Signals> {
        let failed = |error| Error::internal("wait for signals").with_source(error);
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Signals { terminate, interrupt })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the plugins and logs how they fare.
async fn plugins(site: &Site) -> Result<()> {
    let site = site.clone();
    let start = move || {
        for plugin in site.plugins() {
            let (kind, id) = (&plugin.kind, &plugin.id);
            match (plugin.status(), &plugin.init_error) {
                (PluginStatus::Error, Some(why)) => {
                    tracing::warn!(%kind, %id, why = why.message, "plugin does not work");
                }
                (status, _) => tracing::debug!(%kind, %id, %status, "plugin"),
            }
        }
        site.cannot_disable().iter().for_each(|warning| tracing::warn!("{warning}"));
        site.check_required()
    };
    let started = tokio::task::spawn_blocking(start).await;
    started.map_err(|error| Error::internal("start the plugins").with_source(error))?
}

/// What cannot be put away now is put in order at the next start.
async fn close(store: Store) {
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    match closed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = %error.chain(), "closing the store"),
        Err(error) => tracing::warn!(%error, "closing the store"),
    }
}
