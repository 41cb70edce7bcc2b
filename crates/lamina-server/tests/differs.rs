//! A daemon whose differs are those of another process and its own, in the order that is configured.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lamina_api::convert::descriptor;
use lamina_api::proto::containerd::services::diff::v1 as proto;
use lamina_client::Client;
use lamina_core::diff::{ApplyOptions, CompareOptions};
use lamina_core::introspection::PluginStatus;
use lamina_core::{Descriptor, Digest, Filters, Host as _, Kind, Namespace, Scope};
use lamina_server::config::{Gc, Proxy, ProxyKind};
use lamina_server::{Config, Daemon, Running, daemon};
use proto::diff_server::{Diff, DiffServer};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Knows layers of one type, and writes what it is asked for; notes for which namespace.
#[derive(Clone, Default)]
struct Odd(Arc<Mutex<Vec<String>>>);

const ODD: &str = "application/vnd.odd.layer";

fn layer(media_type: &str) -> Descriptor {
    Descriptor::new(media_type, Digest::sha256(b"layer"), 5)
}

impl Odd {
    fn note<T>(&self, what: &str, request: &Request<T>) {
        let namespace = request.metadata().get("containerd-namespace").unwrap();
        self.0.lock().unwrap().push(format!("{what} for {}", namespace.to_str().unwrap()));
    }
}

#[tonic::async_trait]
impl Diff for Odd {
    async fn apply(
        &self,
        request: Request<proto::ApplyRequest>,
    ) -> Result<Response<proto::ApplyResponse>, Status> {
        self.note("apply", &request);
        let asked = request.into_inner();
        if asked.diff.unwrap().media_type != ODD {
            return Err(Status::unimplemented("no layer of mine"));
        }
        let applied = Some(descriptor::encode(layer("applied")));
        Ok(Response::new(proto::ApplyResponse { applied }))
    }

    async fn diff(
        &self,
        request: Request<proto::DiffRequest>,
    ) -> Result<Response<proto::DiffResponse>, Status> {
        self.note("diff", &request);
        match request.into_inner().media_type.as_str() {
            ODD => {
                let diff = Some(descriptor::encode(layer("made")));
                Ok(Response::new(proto::DiffResponse { diff }))
            }
            _ => Err(Status::unimplemented("no layer of mine")),
        }
    }
}

async fn serve(top: &Path, differs: &[&str]) -> (Running, Client) {
    let mut config = Config {
        root: top.join("root"),
        state: top.join("state"),
        durability: lamina_store::Durability::None,
        gc: Gc { startup_delay: std::time::Duration::from_secs(3600), ..Gc::default() },
        differs: differs.iter().map(|&name| name.to_owned()).collect(),
        ..Config::default()
    };
    config.grpc.uid = rustix::process::geteuid().as_raw();
    config.grpc.gid = rustix::process::getegid().as_raw();
    let proxy = Proxy {
        kind: ProxyKind::Differ,
        address: top.join("odd.sock"),
        platform: None,
        capabilities: Vec::new(),
        exports: BTreeMap::new(),
    };
    config.proxies = BTreeMap::from([("odd".to_owned(), proxy)]);
    let options = daemon::Options { store: config.store(), config };
    let running = Daemon::build(options).await.unwrap().spawn();
    let client = Client::connect(top.join("state/lamina.sock")).await.unwrap();
    (running, client)
}

async fn status(client: &Client, id: &str) -> PluginStatus {
    let filter = format!("type==io.containerd.differ.v1,id=={id}");
    let filters = Filters::parse_all(&[filter]).unwrap();
    client.introspection().plugins(filters).await.unwrap()[0].status()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_know_a_layer_passes_to_the_next() {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let odd = Odd::default();
    let incoming =
        UnixListenerStream::new(UnixListener::bind(dir.path().join("odd.sock")).unwrap());
    let server = Server::builder().add_service(DiffServer::new(odd.clone()));
    let serving = tokio::spawn(async move { server.serve_with_incoming(incoming).await });
    let (running, client) = serve(dir.path(), &["odd", "walking"]).await;
    assert_eq!(status(&client, "odd").await, PluginStatus::Ok);
    let differ = client.differ(&Scope::new(Namespace::new("mine").unwrap()));
    let apply = async |media_type: &str| {
        differ.apply(&layer(media_type), &[], ApplyOptions::default()).await
    };
    assert_eq!(apply(ODD).await.unwrap().media_type, "applied");
    // Our own looks for the blob.
    let own = apply("application/vnd.oci.image.layer.v1.tar").await.unwrap_err();
    assert_eq!(own.kind(), Kind::NotFound, "{}", own.chain());
    let nobody = apply("application/vnd.nobody.layer").await.unwrap_err();
    assert_eq!(nobody.kind(), Kind::Unimplemented, "{}", nobody.chain());
    let compare = CompareOptions { media_type: ODD.to_owned(), ..Default::default() };
    assert_eq!(differ.compare(&[], &[], compare).await.unwrap().media_type, "made");
    let heard = odd.0.lock().unwrap().clone();
    assert_eq!(heard, ["apply for mine", "apply for mine", "apply for mine", "diff for mine"]);
    drop((differ, client));
    running.drain().await.unwrap();
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_named_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (running, client) = serve(dir.path(), &["walking"]).await;
    assert_eq!(status(&client, "odd").await, PluginStatus::Skip);
    let differ = client.differ(&Scope::new(Namespace::new("mine").unwrap()));
    let error = differ.apply(&layer(ODD), &[], ApplyOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unimplemented, "{}", error.chain());
    drop((differ, client));
    running.drain().await.unwrap();
}
