//! The service Snapshots.

use futures_util::TryStreamExt as _;
use lamina_api::proto::containerd::services::snapshots::v1 as proto;
use prost_types::FieldMask;
use proto::Kind;
use proto::snapshots_client::SnapshotsClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::support::{Server, refused};
use crate::{call, call_in, map, start};

type Client = SnapshotsClient<Channel>;

/// Needs no privileges.
const NATIVE: &str = "native";

fn native() -> String {
    NATIVE.to_owned()
}

fn prepare(key: &str, parent: &str) -> Request<proto::PrepareSnapshotRequest> {
    let (key, parent) = (key.to_owned(), parent.to_owned());
    let labels = map(&[("a", "1")]);
    call(proto::PrepareSnapshotRequest { snapshotter: native(), key, parent, labels })
}

fn view(key: &str, parent: &str) -> Request<proto::ViewSnapshotRequest> {
    let (key, parent) = (key.to_owned(), parent.to_owned());
    let snapshotter = native();
    call(proto::ViewSnapshotRequest { snapshotter, key, parent, ..Default::default() })
}

fn commit(name: &str, key: &str) -> Request<proto::CommitSnapshotRequest> {
    let (name, key) = (name.to_owned(), key.to_owned());
    let snapshotter = native();
    call(proto::CommitSnapshotRequest { snapshotter, name, key, ..Default::default() })
}

fn remove(key: &str) -> Request<proto::RemoveSnapshotRequest> {
    call(proto::RemoveSnapshotRequest { snapshotter: native(), key: key.to_owned() })
}

fn mounts(key: &str) -> Request<proto::MountsRequest> {
    call(proto::MountsRequest { snapshotter: native(), key: key.to_owned() })
}

fn stat(key: &str) -> proto::StatSnapshotRequest {
    proto::StatSnapshotRequest { snapshotter: native(), key: key.to_owned() }
}

/// A client with the committed `base` and the active `top` on it.
async fn filled(server: &Server) -> Client {
    let mut client = SnapshotsClient::new(server.channel());
    client.prepare(prepare("first", "")).await.unwrap();
    client.commit(commit("base", "first")).await.unwrap();
    client.prepare(prepare("top", "base")).await.unwrap();
    client
}

#[tokio::test]
async fn a_snapshot_lives_as_clients_expect() {
    let server = start().await;
    let mut client = filled(&server).await;
    let info = client.stat(call(stat("top"))).await.unwrap().into_inner().info.unwrap();
    assert_eq!((info.name.as_str(), info.parent.as_str()), ("top", "base"));
    assert_eq!((info.kind, info.labels), (Kind::Active.into(), map(&[("a", "1")])));
    assert!(info.created_at.is_some() && info.updated_at.is_some());
    let info = client.stat(call(stat("base"))).await.unwrap().into_inner().info.unwrap();
    assert_eq!((info.kind, info.labels), (Kind::Committed.into(), map(&[])));

    let prepared = client.mounts(mounts("top")).await.unwrap().into_inner().mounts;
    assert_eq!(prepared.len(), 1);
    assert_eq!((prepared[0].r#type.as_str(), prepared[0].options.len()), ("bind", 2));
    std::fs::write(format!("{}/file", prepared[0].source), [0; 10_000]).unwrap();
    let asked = proto::UsageRequest { snapshotter: native(), key: "top".to_owned() };
    let usage = client.usage(call(asked)).await.unwrap().into_inner();
    assert!(usage.size >= 10_000 && usage.inodes >= 2, "{usage:?}");

    let seen = client.view(view("look", "base")).await.unwrap().into_inner().mounts;
    assert!(seen[0].options.contains(&"ro".to_owned()));
    client.remove(remove("look")).await.unwrap();
    client.commit(commit("done", "top")).await.unwrap();
    let labels = map(&[("b", "2")]);
    let info =
        proto::Info { name: "done".to_owned(), labels: labels.clone(), ..Default::default() };
    let update_mask = Some(FieldMask { paths: vec!["labels.b".to_owned()] });
    let asked =
        proto::UpdateSnapshotRequest { snapshotter: native(), info: Some(info), update_mask };
    let after = client.update(call(asked)).await.unwrap().into_inner().info.unwrap();
    assert_eq!((after.labels, after.parent.as_str()), (labels, "base"));
    client.cleanup(call(proto::CleanupRequest { snapshotter: native() })).await.unwrap();
    client.remove(remove("done")).await.unwrap();
    client.remove(remove("base")).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn each_mistake_has_its_status() {
    let server = start().await;
    let mut c = filled(&server).await;
    let (exists, absent) = (Code::AlreadyExists, Code::NotFound);
    let (invalid, state) = (Code::InvalidArgument, Code::FailedPrecondition);
    refused("prepare, taken", c.prepare(prepare("top", "")).await, exists, "\"top\"");
    refused("prepare, parent", c.prepare(prepare("x", "none")).await, absent, "\"none\"");
    refused("prepare on active", c.prepare(prepare("x", "top")).await, invalid, "\"top\"");
    refused("prepare, no key", c.prepare(prepare("", "")).await, invalid, "key");
    refused("view, taken", c.view(view("top", "base")).await, exists, "\"top\"");
    refused("mounts, committed", c.mounts(mounts("base")).await, state, "base");
    refused("mounts, absent", c.mounts(mounts("none")).await, absent, "\"none\"");
    refused("commit, taken", c.commit(commit("base", "top")).await, exists, "\"base\"");
    refused("commit, absent", c.commit(commit("x", "none")).await, absent, "\"none\"");
    refused("commit, committed", c.commit(commit("x", "base")).await, state, "\"base\"");
    let mut other = commit("x", "top");
    other.get_mut().parent = "other".to_owned();
    refused("commit, other parent", c.commit(other).await, invalid, "\"other\"");
    refused("remove, children", c.remove(remove("base")).await, state, "base");
    refused("remove, absent", c.remove(remove("none")).await, absent, "\"none\"");
    refused("stat, absent", c.stat(call(stat("none"))).await, absent, "not found");
    refused("elsewhere", c.stat(call_in("other", stat("top"))).await, absent, "not found");
    let asked = proto::UpdateSnapshotRequest { snapshotter: native(), ..Default::default() };
    refused("update, no info", c.update(call(asked)).await, invalid, "info is required");
    server.stop().await;
}

#[tokio::test]
async fn every_call_names_a_snapshotter_that_is_there() {
    let server = start().await;
    let client = SnapshotsClient::new(server.channel());
    for (name, text) in [
        ("", "snapshotter argument missing: invalid argument"),
        ("none", "snapshotter not loaded: none: invalid argument"),
    ] {
        let snapshotter = name.to_owned();
        let mut codes = Vec::new();
        macro_rules! ask {
            ($($method:ident $message:ident),* $(,)?) => {$(
                let mut message = proto::$message::default();
                message.snapshotter.clone_from(&snapshotter);
                codes.push(told(client.clone().$method(call(message)).await));
            )*};
        }
        ask!(
            prepare PrepareSnapshotRequest, view ViewSnapshotRequest, mounts MountsRequest,
            commit CommitSnapshotRequest, remove RemoveSnapshotRequest, stat StatSnapshotRequest,
            update UpdateSnapshotRequest, list ListSnapshotsRequest, usage UsageRequest,
            cleanup CleanupRequest,
        );
        assert_eq!(codes, vec![(Code::InvalidArgument, text.to_owned()); 10]);
    }
    server.stop().await;
}

fn told<T>(answer: Result<Response<T>, Status>) -> (Code, String) {
    answer.map(|_| ()).map_err(|status| (status.code(), status.message().to_owned())).unwrap_err()
}

#[tokio::test]
async fn listings_are_filtered_and_in_batches() {
    let server = start().await;
    let mut client = filled(&server).await;
    for number in 0..210 {
        client.prepare(prepare(&format!("many-{number:03}"), "")).await.unwrap();
    }
    let mut pages = Vec::new();
    for filters in [&[][..], &["kind==committed", "name==top"]] {
        let filters = filters.iter().map(|text| (*text).to_owned()).collect();
        let asked = proto::ListSnapshotsRequest { snapshotter: native(), filters };
        let answer = client.list(call(asked)).await.unwrap().into_inner();
        let found: Vec<Vec<proto::Info>> =
            answer.map_ok(|page| page.info).try_collect().await.unwrap();
        pages.push(found);
    }
    assert!(pages[0].iter().all(|page| (1..=100).contains(&page.len())));
    assert_eq!(pages[0].concat().len(), 212);
    let names: Vec<_> = pages[1].concat().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["base", "top"]);
    server.stop().await;
}
