//! A daemon with `[proxy_plugins]`, before the other process is there, while it is, and after it left.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use lamina_api::convert::{field, snapshot as convert};
use lamina_api::proto::containerd::services::snapshots::v1 as proto;
use lamina_client::Client;
use lamina_core::introspection::PluginStatus;
use lamina_core::labels::SNAPSHOT_REF;
use lamina_core::snapshot::{CommitOptions, Info, Kind};
use lamina_core::{Error, Filters, Host as _, Labels, Namespace, Scope};
use lamina_server::config::{Gc, Proxy, ProxyKind};
use lamina_server::{Config, Daemon, Running, daemon};
use proto::snapshots_server::{Snapshots, SnapshotsServer};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// A snapshotter that keeps no files, and has every layer that is named.
#[derive(Clone, Default)]
struct Lazy(Arc<Mutex<HashMap<String, Info>>>);

fn status(error: Error) -> Status {
    lamina_api::status::to_status(&error)
}

impl Lazy {
    fn make(&self, kind: Kind, key: String, parent: String, labels: Labels) -> Result<(), Status> {
        let mut all = self.0.lock().unwrap();
        let target = labels.get(SNAPSHOT_REF).cloned();
        let has = target.is_some();
        let (name, kind) = target.map_or((key, kind), |target| (target, Kind::Committed));
        let now = jiff::Timestamp::now();
        let info = Info { kind, name: name.clone(), parent, labels, created: now, updated: now };
        all.insert(name, info);
        if has { Err(status(Error::already_exists("it is here"))) } else { Ok(()) }
    }

    fn find(&self, key: &str) -> Result<Info, Status> {
        let found = self.0.lock().unwrap().get(key).cloned();
        found.ok_or_else(|| status(Error::not_found(format!("snapshot {key}"))))
    }
}

#[tonic::async_trait]
impl Snapshots for Lazy {
    async fn prepare(
        &self,
        request: Request<proto::PrepareSnapshotRequest>,
    ) -> Answer<proto::PrepareSnapshotResponse> {
        assert_eq!(request.metadata().get("containerd-namespace").unwrap(), "test");
        let asked = request.into_inner();
        assert_eq!(asked.snapshotter, "lazy");
        self.make(Kind::Active, asked.key, asked.parent, asked.labels)?;
        Ok(Response::new(proto::PrepareSnapshotResponse::default()))
    }

    async fn view(
        &self,
        request: Request<proto::ViewSnapshotRequest>,
    ) -> Answer<proto::ViewSnapshotResponse> {
        let asked = request.into_inner();
        self.make(Kind::View, asked.key, asked.parent, asked.labels)?;
        Ok(Response::new(proto::ViewSnapshotResponse::default()))
    }

    async fn mounts(
        &self,
        request: Request<proto::MountsRequest>,
    ) -> Answer<proto::MountsResponse> {
        self.find(&request.get_ref().key)?;
        Ok(Response::new(proto::MountsResponse::default()))
    }

    async fn commit(&self, request: Request<proto::CommitSnapshotRequest>) -> Answer<()> {
        let asked = request.into_inner();
        let mut info = self.find(&asked.key)?;
        let mut all = self.0.lock().unwrap();
        all.remove(&asked.key);
        (info.kind, info.name, info.labels) = (Kind::Committed, asked.name.clone(), asked.labels);
        all.insert(asked.name, info);
        Ok(Response::new(()))
    }

    async fn remove(&self, request: Request<proto::RemoveSnapshotRequest>) -> Answer<()> {
        let key = &request.get_ref().key;
        self.find(key)?;
        self.0.lock().unwrap().remove(key);
        Ok(Response::new(()))
    }

    async fn stat(
        &self,
        request: Request<proto::StatSnapshotRequest>,
    ) -> Answer<proto::StatSnapshotResponse> {
        let info = Some(convert::encode_info(self.find(&request.get_ref().key)?));
        Ok(Response::new(proto::StatSnapshotResponse { info }))
    }

    async fn update(
        &self,
        _: Request<proto::UpdateSnapshotRequest>,
    ) -> Answer<proto::UpdateSnapshotResponse> {
        Err(Status::unimplemented("update"))
    }

    type ListStream = Pin<
        Box<dyn tokio_stream::Stream<Item = Result<proto::ListSnapshotsResponse, Status>> + Send>,
    >;

    async fn list(
        &self,
        request: Request<proto::ListSnapshotsRequest>,
    ) -> Answer<Self::ListStream> {
        let filters = field::decode_filters(&request.get_ref().filters).map_err(status)?;
        let all: Vec<Info> = self.0.lock().unwrap().values().cloned().collect();
        let info = all.into_iter().filter(|info| filters.matches(info));
        let info = info.map(convert::encode_info).collect();
        let page = Ok(proto::ListSnapshotsResponse { info });
        Ok(Response::new(Box::pin(tokio_stream::once(page))))
    }

    async fn usage(&self, request: Request<proto::UsageRequest>) -> Answer<proto::UsageResponse> {
        self.find(&request.get_ref().key)?;
        Ok(Response::new(proto::UsageResponse { size: 42, inodes: 7 }))
    }

    async fn cleanup(&self, _: Request<proto::CleanupRequest>) -> Answer<()> {
        Err(Status::unimplemented("cleanup"))
    }
}

/// Serves on a runtime of its own: connections end with it, as with a process.
fn listen(lazy: &Lazy, socket: &Path) -> Runtime {
    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    let server = Server::builder().add_service(SnapshotsServer::new(lazy.clone()));
    runtime.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
    drop(entered);
    runtime
}

/// A daemon in `dir` whose proxies are `lazy`, one with a name that is taken, and one of another type.
async fn serve(dir: &TempDir) -> (Running, Client) {
    let top = dir.path();
    let mut config = Config {
        root: top.join("root"),
        state: top.join("state"),
        durability: lamina_store::Durability::None,
        gc: Gc { startup_delay: std::time::Duration::from_secs(3600), ..Gc::default() },
        ..Config::default()
    };
    config.grpc.uid = rustix::process::geteuid().as_raw();
    config.grpc.gid = rustix::process::getegid().as_raw();
    let proxy = |kind| Proxy {
        kind,
        address: top.join("lazy.sock"),
        platform: None,
        capabilities: vec!["rebase".to_owned()],
        exports: BTreeMap::from([("root".to_owned(), "/lazy".to_owned())]),
    };
    config.proxies = BTreeMap::from([
        ("lazy".to_owned(), proxy(ProxyKind::Snapshotter)),
        ("native".to_owned(), proxy(ProxyKind::Snapshotter)),
        ("blobs".to_owned(), proxy(ProxyKind::Content)),
    ]);
    let options = daemon::Options { store: config.store(), config };
    let running = Daemon::build(options).await.unwrap().spawn();
    let client = Client::connect(top.join("state/lamina.sock")).await.unwrap();
    (running, client)
}

fn scope() -> Scope {
    Scope::new(Namespace::new("test").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_nobody_serves_is_named_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (running, client) = serve(&dir).await;
    let remote = client.snapshotter(&scope(), "lazy").unwrap();
    let error = remote.prepare("k", "", Labels::new()).await.unwrap_err();
    assert_eq!(error.kind(), lamina_core::Kind::Unavailable, "{}", error.chain());
    let socket = dir.path().join("lazy.sock");
    assert!(error.chain().contains(socket.to_str().unwrap()), "{}", error.chain());
    let native = client.snapshotter(&scope(), "native").unwrap();
    native.prepare("k", "", Labels::new()).await.unwrap();

    let plugins = client.introspection().plugins(Filters::default()).await.unwrap();
    let find = |kind: &str, id: &str| {
        let all = plugins.iter().filter(|plugin| plugin.kind == kind && plugin.id == id);
        all.cloned().collect::<Vec<_>>()
    };
    let snapshotters = "io.containerd.snapshotter.v1";
    let [row] = find(snapshotters, "lazy").try_into().unwrap();
    assert_eq!(
        (row.status(), row.capabilities.as_slice()),
        (PluginStatus::Ok, &["rebase".into()][..])
    );
    assert_eq!(row.exports["root"], "/lazy");
    assert_eq!(row.exports["address"], socket.to_str().unwrap());
    let native: Vec<_> = find(snapshotters, "native").iter().map(|row| row.status()).collect();
    assert_eq!(native, [PluginStatus::Ok, PluginStatus::Skip]);
    let [blobs] = find("io.containerd.content.v1", "blobs").try_into().unwrap();
    assert_eq!(blobs.status(), PluginStatus::Skip);
    assert!(blobs.init_error.unwrap().message.contains("cannot take the place"));
    drop(client);
    running.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_comes_goes_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (running, client) = serve(&dir).await;
    let remote = client.snapshotter(&scope(), "lazy").unwrap();
    remote.prepare("early", "", Labels::new()).await.unwrap_err();

    let (lazy, socket) = (Lazy::default(), dir.path().join("lazy.sock"));
    let serving = listen(&lazy, &socket);
    let target = Labels::from([(SNAPSHOT_REF.to_owned(), "layer".to_owned())]);
    let answer = remote.prepare("extract", "", target).await.unwrap_err();
    assert!(answer.is_already_exists(), "{}", answer.chain());
    assert_eq!(remote.stat("layer").await.unwrap().kind, Kind::Committed);
    remote.prepare("work", "layer", Labels::new()).await.unwrap();
    assert_eq!(remote.usage("work").await.unwrap().size, 42);
    remote.commit("done", "work", CommitOptions::default()).await.unwrap();
    assert_eq!(remote.stat("done").await.unwrap().parent, "layer");
    {
        let behind = lazy.0.lock().unwrap();
        let keys: Vec<&String> = behind.keys().filter(|key| *key != "layer").collect();
        assert!(
            matches!(keys[..], [key] if key.starts_with("test/") && key.ends_with("/done")),
            "{keys:?}"
        );
    }

    serving.shutdown_background();
    std::fs::remove_file(&socket).unwrap();
    let error = remote.stat("done").await.unwrap_err();
    assert_eq!(error.kind(), lamina_core::Kind::Unavailable, "{}", error.chain());
    remote.remove("done").await.unwrap();

    let serving = listen(&lazy, &socket);
    remote.cleanup().await.unwrap();
    assert_eq!(lazy.0.lock().unwrap().keys().collect::<Vec<_>>(), ["layer"]);
    drop((client, remote));
    running.drain().await.unwrap();
    serving.shutdown_background();
}
