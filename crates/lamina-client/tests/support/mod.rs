//! A daemon in this process, on a root of its own, and a client of it.

use std::path::{Path, PathBuf};

use lamina_client::Client;
use lamina_core::{Namespace, Scope};
use lamina_server::config::{Gc, Proxy, ProxyKind, Socket};
use lamina_server::{Config, Daemon, Running, daemon};
use tempfile::TempDir;

/// A daemon that serves.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    pub(crate) client: Client,
    _dir: Option<TempDir>,
}

/// Where a daemon that lives in `top` listens.
pub(crate) fn socket(top: &Path) -> PathBuf {
    top.join("s")
}

/// Starts a daemon in `top`.
pub(crate) async fn serve(top: &Path) -> Running {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let config = Config {
        root: top.join("root"),
        state: top.join("state"),
        durability: lamina_store::Durability::None,
        // Tests keep things that nothing refers to.
        gc: Gc { startup_delay: std::time::Duration::from_secs(3600), ..Gc::default() },
        grpc: Socket { address: Some(socket(top)), uid: uid.as_raw(), gid: gid.as_raw() },
        proxies: [("served".to_owned(), proxy(top))].into(),
        ..Config::default()
    };
    let options = daemon::Options { store: config.store(), config };
    Daemon::build(options).await.unwrap().spawn()
}

/// Where a daemon that lives in `top` looks for the proxy snapshotter `served`.
pub(crate) fn served(top: &Path) -> PathBuf {
    top.join("served")
}

fn proxy(top: &Path) -> Proxy {
    Proxy {
        kind: ProxyKind::Snapshotter,
        address: served(top),
        platform: None,
        capabilities: vec!["rebase".to_owned()],
        exports: Default::default(),
    }
}

impl Server {
    /// One with an empty store.
    #[allow(dead_code, reason = "not every test file has its daemon in a directory of its own")]
    pub(crate) async fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        Server::start_in(dir.path()).await.keeping(dir)
    }

    /// One with an empty store in `top`.
    pub(crate) async fn start_in(top: &Path) -> Server {
        let running = serve(top).await;
        let client = Client::connect(socket(top)).await.unwrap();
        Server { running, client, _dir: None }
    }

    fn keeping(mut self, dir: TempDir) -> Server {
        self._dir = Some(dir);
        self
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        drop(self.client);
        self.running.drain().await.unwrap();
    }
}

/// The scope of a namespace.
#[allow(dead_code, reason = "not every test file makes scopes")]
pub(crate) fn scope(namespace: &str) -> Scope {
    Scope::new(Namespace::new(namespace).unwrap())
}
