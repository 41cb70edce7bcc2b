//! The service Leases, and what its leases hold.

use lamina_api::proto::containerd::services::images::v1 as images;
use lamina_api::proto::containerd::services::leases::v1 as proto;
use lamina_api::proto::containerd::types::Descriptor;
use proto::leases_client::LeasesClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::{Server, call, call_in, refused};
use crate::{map, texts};

type Client = LeasesClient<Channel>;

fn create(id: &str, labels: &[(&str, &str)]) -> Request<proto::CreateRequest> {
    call(proto::CreateRequest { id: id.to_owned(), labels: map(labels) })
}

fn delete(id: &str, sync: bool) -> Request<proto::DeleteRequest> {
    call(proto::DeleteRequest { id: id.to_owned(), sync })
}

fn resource(kind: &str, id: &str) -> Option<proto::Resource> {
    Some(proto::Resource { id: id.to_owned(), r#type: kind.to_owned() })
}

fn add(lease: &str, kind: &str, id: &str) -> Request<proto::AddResourceRequest> {
    call(proto::AddResourceRequest { id: lease.to_owned(), resource: resource(kind, id) })
}

fn remove(lease: &str, kind: &str, id: &str) -> Request<proto::DeleteResourceRequest> {
    call(proto::DeleteResourceRequest { id: lease.to_owned(), resource: resource(kind, id) })
}

fn resources(lease: &str) -> Request<proto::ListResourcesRequest> {
    call(proto::ListResourcesRequest { id: lease.to_owned() })
}

async fn ids(client: &mut Client, filters: &[&str]) -> Vec<String> {
    let answer = client.list(call(proto::ListRequest { filters: texts(filters) })).await.unwrap();
    answer.into_inner().leases.into_iter().map(|lease| lease.id).collect()
}

#[tokio::test]
async fn leases_are_made_listed_and_deleted() {
    let server = Server::start().await;
    let mut client = LeasesClient::new(server.channel());
    // A mount point, a container's id, a text of a client.
    for id in ["/mnt/a place", "0f1e", "moby/é \"x\""] {
        let made = client.create(create(id, &[("a", "1")])).await.unwrap().into_inner();
        let made = made.lease.unwrap();
        assert_eq!((made.id.as_str(), &made.labels), (id, &map(&[("a", "1")])));
        assert!(made.created_at.unwrap().seconds > 1_700_000_000, "{made:?}");
    }
    let mut random = Vec::new();
    for _ in 0..2 {
        let made = client.create(create("", &[])).await.unwrap().into_inner().lease.unwrap();
        random.push(made.id);
    }
    assert!(!random[0].is_empty() && random[0] != random[1], "{random:?}");
    for (filters, want) in [
        (&["id==0f1e"][..], &["0f1e"][..]),
        (&["id==\"/mnt/a place\""], &["/mnt/a place"]),
        (&["labels.a"], &["/mnt/a place", "0f1e", "moby/é \"x\""]),
        (&["labels.a==2", "id==0f1e"], &["0f1e"]),
    ] {
        assert_eq!(ids(&mut client, filters).await, want, "{filters:?}");
    }
    assert_eq!(ids(&mut client, &[]).await.len(), 5);
    let elsewhere = call_in("other", proto::ListRequest::default());
    assert!(client.list(elsewhere).await.unwrap().into_inner().leases.is_empty());

    client.delete(delete("/mnt/a place", false)).await.unwrap();
    client.delete(delete("0f1e", true)).await.unwrap();
    refused("deleted twice", client.delete(delete("0f1e", true)).await, Code::NotFound, "0f1e");
    assert_eq!(ids(&mut client, &["labels.a"]).await, ["moby/é \"x\""]);
    server.stop().await;
}

#[tokio::test]
async fn resources_are_named_before_they_exist() {
    let server = Server::start().await;
    let mut client = LeasesClient::new(server.channel());
    client.create(create("l", &[])).await.unwrap();
    let digest = lamina_core::Digest::sha256(b"x").to_string();
    let all = [
        ("content", digest.as_str()),
        ("images", "redis"),
        ("ingests", "layer-1"),
        ("snapshots/overlayfs", "key"),
    ];
    for (kind, id) in all {
        client.add_resource(add("l", kind, id)).await.unwrap();
        client.add_resource(add("l", kind, id)).await.unwrap();
    }
    let held = client.list_resources(resources("l")).await.unwrap().into_inner().resources;
    let held: Vec<_> = held.iter().map(|held| (held.r#type.as_str(), held.id.as_str())).collect();
    assert_eq!(held, all);
    for (kind, id) in all {
        client.delete_resource(remove("l", kind, id)).await.unwrap();
    }
    client.delete_resource(remove("l", "images", "redis")).await.unwrap();
    assert!(client.list_resources(resources("l")).await.unwrap().into_inner().resources.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut client = LeasesClient::new(server.channel());
    client.create(create("l", &[])).await.unwrap();
    let (long_id, long) = ("x".repeat(32_769), "v".repeat(4096));
    let invalid = Code::InvalidArgument;
    for (what, asked, code, text) in [
        ("an id in use", create("l", &[]), Code::AlreadyExists, "\"l\""),
        ("a long id", create(&long_id, &[]), invalid, "32768"),
        ("a long label", create("new", &[("k", &long)]), invalid, "4096"),
        ("a nameless label", create("new", &[("", "v")]), invalid, "key"),
    ] {
        refused(what, client.create(asked).await, code, text);
    }
    refused("delete", client.delete(delete("new", false)).await, Code::NotFound, "new");
    let bad = call(proto::ListRequest { filters: texts(&["id=l"]) });
    refused("a filter", client.list(bad).await, invalid, "filters: ");
    for (lease, kind, id, code, text) in [
        ("new", "images", "redis", Code::NotFound, "new"),
        ("l", "content", "redis", invalid, "resource.id"),
        ("l", "containers", "c", Code::Unimplemented, "containers"),
        ("l", "snapshots", "key", invalid, "snapshots"),
        ("l", "", "key", Code::Unimplemented, "type"),
    ] {
        refused(kind, client.add_resource(add(lease, kind, id)).await, code, text);
        refused(kind, client.delete_resource(remove(lease, kind, id)).await, code, text);
    }
    let nothing = proto::AddResourceRequest { id: "l".to_owned(), resource: None };
    refused("no resource", client.add_resource(call(nothing)).await, invalid, "resource");
    refused("list", client.list_resources(resources("new")).await, Code::NotFound, "new");
    let nowhere = Request::new(proto::ListRequest::default());
    refused("no namespace", client.list(nowhere).await, Code::FailedPrecondition, "namespace");
    server.stop().await;
}

#[tokio::test]
async fn an_image_that_expires_lives_as_long_as_the_lease_of_its_call() {
    let server = Server::start().await;
    let mut leases = LeasesClient::new(server.channel());
    let mut client = images::images_client::ImagesClient::new(server.channel());
    leases.create(create("/mnt/x", &[])).await.unwrap();
    let image = |name: &str| images::Image {
        name: name.to_owned(),
        labels: map(&[("containerd.io/gc.expire", "2020-01-01T00:00:00Z")]),
        target: Some(Descriptor {
            media_type: "x/y".to_owned(),
            digest: lamina_core::Digest::sha256(b"x").to_string(),
            size: 1,
            ..Default::default()
        }),
        ..Default::default()
    };
    let create = |name, lease: &str| {
        let image = Some(image(name));
        let mut request = call(images::CreateImageRequest { image, source_date_epoch: None });
        request.metadata_mut().insert("containerd-lease", lease.parse().unwrap());
        request
    };
    client.create(create("held", "/mnt/x")).await.unwrap();
    let absent = client.create(create("not-made", "none")).await;
    refused("no such lease", absent, Code::NotFound, "none");

    leases.create(self::create("other", &[])).await.unwrap();
    leases.delete(delete("other", true)).await.unwrap();
    let names = |answer: tonic::Response<images::ListImagesResponse>| {
        answer.into_inner().images.into_iter().map(|image| image.name).collect::<Vec<_>>()
    };
    let list = || call(images::ListImagesRequest::default());
    assert_eq!(names(client.list(list()).await.unwrap()), ["held"]);
    leases.delete(delete("/mnt/x", true)).await.unwrap();
    assert!(names(client.list(list()).await.unwrap()).is_empty());
    server.stop().await;
}
