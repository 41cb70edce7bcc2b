//! A daemon in this process, on a root of its own, and a connection to its socket.

use lamina_server::config::{Gc, Socket};
use lamina_server::daemon::Options;
use lamina_server::{Config, Daemon, Running};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// A daemon that serves.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    channel: Channel,
    dir: TempDir,
}

impl Server {
    /// Starts one with an empty store.
    pub(crate) async fn start() -> Server {
        Server::start_in(tempfile::tempdir().unwrap(), |_| ()).await
    }

    /// Starts one with an empty store, whose configuration `change` has changed.
    #[allow(dead_code, reason = "most tests take the configuration as it is")]
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Server {
        Server::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// Stops it and starts another over the same store.
    #[allow(dead_code, reason = "not every test file restarts")]
    pub(crate) async fn restart(self) -> Server {
        self.running.drain().await.unwrap();
        Server::start_in(self.dir, |_| ()).await
    }

    async fn start_in(dir: TempDir, change: impl FnOnce(&mut Config)) -> Server {
        let address = dir.path().join("s");
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let mut config = Config {
            root: dir.path().join("root"),
            state: dir.path().join("state"),
            durability: lamina_store::Durability::None,
            // Tests keep things that nothing refers to.
            gc: Gc { startup_delay: std::time::Duration::from_secs(3600), ..Gc::default() },
            grpc: Socket { address: Some(address.clone()), uid: uid.as_raw(), gid: gid.as_raw() },
            metrics: Some("127.0.0.1:0".to_owned()),
            ..Config::default()
        };
        change(&mut config);
        let options = Options { store: config.store(), config };
        let running = Daemon::build(options).await.unwrap().spawn();
        let target = format!("unix://{}", address.display());
        let channel = Endpoint::from_shared(target).unwrap().connect().await.unwrap();
        Server { running, channel, dir }
    }

    /// The connection.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A connection of its own.
    #[allow(dead_code, reason = "most tests share one")]
    pub(crate) async fn connect(&self) -> Channel {
        let target = format!("unix://{}", self.dir.path().join("s").display());
        Endpoint::from_shared(target).unwrap().connect().await.unwrap()
    }

    /// Where metrics are.
    #[allow(dead_code, reason = "not every test file asks")]
    pub(crate) fn metrics_address(&self) -> std::net::SocketAddr {
        self.running.metrics_address().unwrap()
    }

    /// Stops it; calls in progress end.
    pub(crate) async fn stop(self) {
        drop(self.channel);
        self.running.drain().await.unwrap();
    }
}

/// A call in the namespace `test`.
#[allow(dead_code, reason = "some have a call of their own")]
pub(crate) fn call<T>(message: T) -> Request<T> {
    call_in("test", message)
}

/// A call in a namespace.
pub(crate) fn call_in<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", namespace.parse().unwrap());
    request
}

/// Checks that a call was refused with this code, and that the message has `text` in it.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(
    what: &str,
    answer: Result<Response<T>, Status>,
    code: Code,
    text: &str,
) {
    let status = answer.expect_err(what);
    assert_eq!(status.code(), code, "{what}: {}", status.message());
    assert!(status.message().contains(text), "{what}: {:?} lacks {text:?}", status.message());
}
