//! Introspection as clients see it, over the socket of a daemon.

#![allow(clippy::unwrap_used)] // Outside of `#[test]` too, this is all tests.

use lamina_api::proto::containerd::services::introspection::v1 as proto;
use lamina_server::{Config, Daemon, Running, daemon};
use proto::introspection_client::IntrospectionClient;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

async fn build(temp: &TempDir, change: impl FnOnce(&mut Config)) -> lamina_core::Result<Daemon> {
    let mut config = Config {
        root: temp.path().join("root"),
        state: temp.path().join("state"),
        ..Config::default()
    };
    config.grpc.uid = rustix::process::geteuid().as_raw();
    config.grpc.gid = rustix::process::getegid().as_raw();
    change(&mut config);
    Daemon::build(daemon::Options { store: config.store(), config }).await
}

async fn serve(temp: &TempDir) -> (Running, IntrospectionClient<Channel>) {
    let running = build(temp, |_| ()).await.unwrap().spawn();
    let address = format!("unix://{}", temp.path().join("state/lamina.sock").display());
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    (running, IntrospectionClient::new(channel))
}

async fn plugins(client: &mut IntrospectionClient<Channel>, filters: &[&str]) -> Vec<String> {
    let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
    let answer = client.plugins(proto::PluginsRequest { filters }).await.unwrap();
    answer.into_inner().plugins.into_iter().map(|plugin| plugin.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_listed_by_type_and_id() {
    let temp = tempfile::tempdir().unwrap();
    let (running, mut client) = serve(&temp).await;
    let all = plugins(&mut client, &[]).await;
    assert!(all.len() > 20, "{all:?}");
    let snapshotters = plugins(&mut client, &["type==io.containerd.snapshotter.v1"]).await;
    assert_eq!(
        snapshotters,
        ["aufs", "blockfile", "btrfs", "devmapper", "erofs", "native", "overlayfs", "zfs"]
    );
    let native = plugins(&mut client, &["type==io.containerd.snapshotter.v1,id==native"]).await;
    assert_eq!(native, ["native"]);
    assert_eq!(plugins(&mut client, &["id==none"]).await, [""; 0]);
    let filters = vec!["type==".to_owned()];
    let error = client.plugins(proto::PluginsRequest { filters }).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    running.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_its_id() {
    let temp = tempfile::tempdir().unwrap();
    let (running, mut client) = serve(&temp).await;
    let first = client.server(()).await.unwrap().into_inner();
    assert_eq!(first.pid, u64::from(std::process::id()));
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(link.to_str().unwrap(), format!("pid:[{}]", first.pidns));
    assert_eq!(first.uuid.len(), 36);
    running.drain().await.unwrap();
    let (running, mut client) = serve(&temp).await;
    assert_eq!(client.server(()).await.unwrap().into_inner().uuid, first.uuid);
    running.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_tells_about_itself() {
    let temp = tempfile::tempdir().unwrap();
    let (running, mut client) = serve(&temp).await;
    let mut ask = async |kind: &str, id: &str, options: bool| {
        let options = options.then(prost_types::Any::default);
        let request = proto::PluginInfoRequest { r#type: kind.into(), id: id.into(), options };
        client.plugin_info(request).await.map(|answer| answer.into_inner().plugin.unwrap().id)
    };
    let content = "io.containerd.content.v1";
    assert_eq!(ask(content, "content", false).await.unwrap(), "content");
    assert_eq!(ask(content, "content", true).await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(ask(content, "none", false).await.unwrap_err().code(), Code::NotFound);
    let runtime = ask("io.containerd.runtime.v2", "task", true).await;
    assert_eq!(runtime.unwrap_err().code(), Code::Unimplemented);
    running.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_required_plugin_there_is_no_daemon() {
    let temp = tempfile::tempdir().unwrap();
    let required = |config: &mut Config| {
        config.required_plugins = vec!["io.containerd.snapshotter.v1.zfs".to_owned()];
    };
    let error = build(&temp, required).await.unwrap_err();
    assert!(error.chain().contains("io.containerd.snapshotter.v1.zfs"), "{}", error.chain());
    // It let go of everything.
    assert!(!temp.path().join("state/lamina.sock").exists());
    build(&temp, |_| ()).await.unwrap().spawn().drain().await.unwrap();
}
