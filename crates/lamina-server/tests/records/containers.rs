//! The service Containers.

use std::collections::BTreeMap;

use lamina_api::proto::containerd::services::containers::v1 as proto;
use prost_types::{Any, FieldMask};
use proto::containers_client::ContainersClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::{Server, call, call_in, refused};
use crate::{map, texts};

type Client = ContainersClient<Channel>;

fn any(type_url: &str, value: &[u8]) -> Any {
    Any { type_url: type_url.to_owned(), value: value.to_vec() }
}

fn extensions(pairs: &[(&str, &[u8])]) -> BTreeMap<String, Any> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), any("x.Y", value))).collect()
}

pub(crate) fn runtime(name: &str) -> Option<proto::container::Runtime> {
    let options = Some(any("containerd.runc.v1.Options", &[8, 1]));
    Some(proto::container::Runtime { name: name.to_owned(), options })
}

pub(crate) fn container(id: &str) -> proto::Container {
    proto::Container {
        id: id.to_owned(),
        labels: map(&[("a", "1"), ("nerdctl/name", "web")]),
        image: "docker.io/library/redis:7".to_owned(),
        runtime: runtime("io.containerd.runc.v2"),
        spec: Some(any("types.containerd.io/opencontainers/runtime-spec/1/Spec", b"{}")),
        snapshotter: "overlayfs".to_owned(),
        snapshot_key: id.to_owned(),
        extensions: extensions(&[("e", &[0, 255])]),
        sandbox: "pod".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn create(container: proto::Container) -> Request<proto::CreateContainerRequest> {
    call(proto::CreateContainerRequest { container: Some(container) })
}

fn update(container: proto::Container, paths: &[&str]) -> Request<proto::UpdateContainerRequest> {
    let update_mask = Some(FieldMask { paths: texts(paths) });
    call(proto::UpdateContainerRequest { container: Some(container), update_mask })
}

fn get(id: &str) -> Request<proto::GetContainerRequest> {
    call(proto::GetContainerRequest { id: id.to_owned() })
}

fn delete(id: &str) -> Request<proto::DeleteContainerRequest> {
    call(proto::DeleteContainerRequest { id: id.to_owned() })
}

/// The ids that match, which both kinds of listing agree on.
async fn ids(client: &mut Client, filters: &[&str]) -> Vec<String> {
    let asked = proto::ListContainersRequest { filters: texts(filters) };
    let whole = client.list(call(asked.clone())).await.unwrap().into_inner().containers;
    let mut stream = client.list_stream(call(asked)).await.unwrap().into_inner();
    let mut streamed = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        streamed.push(message.container.unwrap());
    }
    assert_eq!(whole, streamed);
    whole.into_iter().map(|container| container.id).collect()
}

#[tokio::test]
async fn records_are_made_listed_and_deleted() {
    let server = Server::start().await;
    let mut client = ContainersClient::new(server.channel());
    let made = client.create(create(container("c1"))).await.unwrap().into_inner();
    let made = made.container.unwrap();
    assert!(made.created_at.unwrap().seconds > 1_700_000_000, "{made:?}");
    let (created_at, updated_at) = (made.created_at, made.updated_at);
    assert_eq!(made, proto::Container { created_at, updated_at, ..container("c1") });
    let found = client.get(get("c1")).await.unwrap().into_inner().container.unwrap();
    assert_eq!(found, made);

    let plain = proto::Container { image: String::new(), labels: map(&[]), ..container("c2") };
    client.create(create(plain)).await.unwrap();
    for (filters, want) in [
        (&[][..], &["c1", "c2"][..]),
        (&["id==c2"], &["c2"]),
        (&["id==c2", "labels.\"nerdctl/name\"==web"], &["c1", "c2"]),
        (&["id~=^c.*$,image"], &["c1"]),
        (&["runtime.name==io.containerd.runc.v2"], &["c1", "c2"]),
        (&["labels.a!=1"], &["c2"]),
        (&["nothing==x"], &[]),
    ] {
        assert_eq!(ids(&mut client, filters).await, want, "{filters:?}");
    }
    let elsewhere = call_in("other", proto::ListContainersRequest::default());
    assert!(client.list(elsewhere).await.unwrap().into_inner().containers.is_empty());

    client.delete(delete("c1")).await.unwrap();
    refused("deleted twice", client.delete(delete("c1")).await, Code::NotFound, "c1");
    let server = server.restart().await;
    assert_eq!(ids(&mut ContainersClient::new(server.channel()), &[]).await, ["c2"]);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut client = ContainersClient::new(server.channel());
    client.create(create(container("c"))).await.unwrap();
    let (long_id, long) = ("x".repeat(77), "v".repeat(4096));
    let with = |change: fn(&mut proto::Container)| {
        let mut container = container("new");
        change(&mut container);
        container
    };
    let invalid = Code::InvalidArgument;
    for (what, asked, code, text) in [
        ("an id in use", container("c"), Code::AlreadyExists, "\"c\""),
        ("no id", container(""), invalid, "empty"),
        ("a path", container("a/b"), invalid, "a/b"),
        ("a long id", container(&long_id), invalid, "76"),
        ("no runtime", with(|c| c.runtime = None), invalid, "runtime"),
        ("no runtime name", with(|c| c.runtime = runtime("")), invalid, "runtime"),
        ("no spec", with(|c| c.spec = None), invalid, "spec"),
        ("a key alone", with(|c| c.snapshotter.clear()), invalid, "snapshotter"),
        ("a nameless value", with(|c| c.extensions = extensions(&[("", &[])])), invalid, "name"),
        (
            "a long label",
            proto::Container { labels: map(&[("k", &long)]), ..container("new") },
            invalid,
            "4096",
        ),
    ] {
        refused(what, client.create(create(asked)).await, code, text);
    }
    let nothing = call(proto::CreateContainerRequest::default());
    refused("no container", client.create(nothing).await, invalid, "container");
    refused("get", client.get(get("new")).await, Code::NotFound, "new");
    let bad = || call(proto::ListContainersRequest { filters: texts(&["id=c"]) });
    refused("a filter", client.list(bad()).await, invalid, "filters: ");
    refused("a streamed filter", client.list_stream(bad()).await, invalid, "filters: ");
    let nowhere = Request::new(proto::ListContainersRequest::default());
    refused("no namespace", client.list(nowhere).await, Code::FailedPrecondition, "namespace");

    for (what, asked, paths, code, text) in [
        ("absent", container("new"), &[][..], Code::NotFound, "new"),
        ("no id", container(""), &["labels"], invalid, "empty"),
        ("a fixed field", container("c"), &["snapshotter"], invalid, "snapshotter"),
        (
            "another runtime",
            proto::Container { runtime: runtime("x"), ..container("c") },
            &[],
            invalid,
            "runtime",
        ),
        (
            "another snapshotter",
            proto::Container { snapshotter: "native".to_owned(), ..container("c") },
            &[],
            invalid,
            "snapshotter",
        ),
        ("no spec", proto::Container { spec: None, ..container("c") }, &["spec"], invalid, "spec"),
    ] {
        refused(what, client.update(update(asked, paths)).await, code, text);
    }
    let found = client.get(get("c")).await.unwrap().into_inner().container.unwrap();
    assert_eq!(found.created_at, found.updated_at);
    server.stop().await;
}

#[tokio::test]
async fn masks_say_what_is_changed() {
    let server = Server::start().await;
    let mut client = ContainersClient::new(server.channel());
    let new = proto::Container {
        labels: map(&[("a", "9"), ("b", "2")]),
        image: "other".to_owned(),
        spec: Some(any("x.Spec", b"2")),
        snapshot_key: "key".to_owned(),
        extensions: extensions(&[("f", &[7])]),
        ..container("c")
    };
    // What no path names is not looked at.
    let odd = proto::Container { runtime: None, snapshotter: String::new(), ..new.clone() };
    let old = container("c");
    type Change = fn(&mut proto::Container, &proto::Container);
    let changes: [(&[&str], &proto::Container, Change); 10] = [
        (&[], &new, |to, new| new.clone_into(to)),
        (&["labels"], &odd, |to, new| to.labels.clone_from(&new.labels)),
        (&["labels.a"], &odd, |to, _| {
            to.labels.insert("a".to_owned(), "9".to_owned());
        }),
        (&["labels.nerdctl/name"], &odd, |to, _| {
            to.labels.remove("nerdctl/name");
        }),
        (&["image"], &odd, |to, new| to.image.clone_from(&new.image)),
        (&["spec"], &odd, |to, new| to.spec.clone_from(&new.spec)),
        (&["snapshotkey"], &odd, |to, new| to.snapshot_key.clone_from(&new.snapshot_key)),
        (&["extensions"], &odd, |to, new| to.extensions.clone_from(&new.extensions)),
        (&["extensions.f"], &odd, |to, new| to.extensions.extend(new.extensions.clone())),
        (&["extensions.e", "image"], &odd, |to, new| {
            to.extensions.clear();
            to.image.clone_from(&new.image);
        }),
    ];
    for (paths, new, change) in changes {
        client.create(create(old.clone())).await.unwrap();
        let answer = client.update(update(new.clone(), paths)).await.unwrap().into_inner();
        let found = client.get(get("c")).await.unwrap().into_inner().container.unwrap();
        assert_eq!(answer.container.unwrap(), found, "{paths:?}");
        let mut want = old.clone();
        change(&mut want, new);
        (want.created_at, want.updated_at) = (found.created_at, found.updated_at);
        assert_eq!(found, want, "{paths:?}");
        assert_ne!(found.created_at, found.updated_at, "{paths:?}");
        client.delete(delete("c")).await.unwrap();
    }
    server.stop().await;
}
