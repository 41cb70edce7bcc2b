//! The service Namespaces.

use std::collections::BTreeMap;

use lamina_api::proto::containerd::services::containers::v1::DeleteContainerRequest;
use lamina_api::proto::containerd::services::containers::v1::containers_client::ContainersClient;
use lamina_api::proto::containerd::services::leases::v1::CreateRequest;
use lamina_api::proto::containerd::services::leases::v1::leases_client::LeasesClient;
use lamina_api::proto::containerd::services::namespaces::v1 as proto;
use prost_types::FieldMask;
use proto::namespaces_client::NamespacesClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::{Server, call, refused};
use crate::{containers, map, texts};

type Client = NamespacesClient<Channel>;

fn namespace(name: &str, labels: &[(&str, &str)]) -> Option<proto::Namespace> {
    Some(proto::Namespace { name: name.to_owned(), labels: map(labels) })
}

fn create(name: &str, labels: &[(&str, &str)]) -> Request<proto::CreateNamespaceRequest> {
    Request::new(proto::CreateNamespaceRequest { namespace: namespace(name, labels) })
}

fn update(
    name: &str,
    labels: &[(&str, &str)],
    paths: &[&str],
) -> Request<proto::UpdateNamespaceRequest> {
    let update_mask = Some(FieldMask { paths: texts(paths) });
    Request::new(proto::UpdateNamespaceRequest { namespace: namespace(name, labels), update_mask })
}

fn delete(name: &str) -> Request<proto::DeleteNamespaceRequest> {
    Request::new(proto::DeleteNamespaceRequest { name: name.to_owned() })
}

async fn labels(client: &mut Client, name: &str) -> BTreeMap<String, String> {
    let asked = Request::new(proto::GetNamespaceRequest { name: name.to_owned() });
    let found = client.get(asked).await.unwrap().into_inner().namespace.unwrap();
    assert_eq!(found.name, name);
    found.labels
}

async fn names(client: &mut Client) -> Vec<String> {
    let asked = Request::new(proto::ListNamespacesRequest::default());
    let found = client.list(asked).await.unwrap().into_inner().namespaces;
    found.into_iter().map(|namespace| namespace.name).collect()
}

#[tokio::test]
async fn namespaces_have_labels_and_need_no_header() {
    let server = Server::start().await;
    let mut client = NamespacesClient::new(server.channel());
    // One that is missing has no labels, and asking does not make it.
    assert_eq!(labels(&mut client, "k8s.io").await, map(&[]));
    assert!(names(&mut client).await.is_empty());

    let start = [("a", "1"), ("b", "2")];
    let made = client.create(create("k8s.io", &start)).await.unwrap().into_inner();
    assert_eq!(made.namespace, namespace("k8s.io", &start));
    assert_eq!(labels(&mut client, "k8s.io").await, map(&start));
    let twice = client.create(create("k8s.io", &[])).await;
    refused("made twice", twice, Code::AlreadyExists, "k8s.io");

    for (new, paths, want) in [
        (&[("a", "3"), ("x", "y")][..], &["labels.a"][..], &[("a", "3"), ("b", "2")][..]),
        (&[("b", "")], &["labels.b"], &[("a", "3")]),
        (&[], &["labels.a"], &[]),
        (&[("c", "4")], &["labels"], &[("c", "4")]),
        (&[("d", "5")], &[], &[("d", "5")]),
        (&[("e.f/g", "6")], &["labels.e.f/g"], &[("d", "5"), ("e.f/g", "6")]),
    ] {
        let answer = client.update(update("k8s.io", new, paths)).await.unwrap().into_inner();
        assert_eq!(answer.namespace, namespace("k8s.io", want), "{paths:?}");
        assert_eq!(labels(&mut client, "k8s.io").await, map(want), "{paths:?}");
    }
    let server = server.restart().await;
    let mut client = NamespacesClient::new(server.channel());
    assert_eq!(names(&mut client).await, ["k8s.io"]);
    client.delete(delete("k8s.io")).await.unwrap();
    refused("deleted twice", client.delete(delete("k8s.io")).await, Code::NotFound, "k8s.io");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut client = NamespacesClient::new(server.channel());
    let (long_name, long) = ("x".repeat(77), "v".repeat(4096));
    let invalid = Code::InvalidArgument;
    for (name, labels, text) in [
        ("", &[][..], "empty"),
        ("a/b", &[], "a/b"),
        ("..", &[], ".."),
        (&long_name, &[], "76"),
        ("new", &[("k", long.as_str())], "4096"),
    ] {
        refused(name, client.create(create(name, labels)).await, invalid, text);
        refused(name, client.update(update(name, labels, &[])).await, invalid, text);
    }
    let nothing = Request::new(proto::CreateNamespaceRequest::default());
    refused("none", client.create(nothing).await, invalid, "namespace");
    refused("a field", client.update(update("new", &[], &["name"])).await, invalid, "\"name\"");
    assert!(names(&mut client).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn only_an_empty_namespace_goes() {
    let server = Server::start().await;
    let mut client = NamespacesClient::new(server.channel());
    let mut containers = ContainersClient::new(server.channel());
    // A namespace is there with the first thing in it.
    containers.create(containers::create(containers::container("c"))).await.unwrap();
    assert_eq!(names(&mut client).await, ["test"]);
    let kept = client.delete(delete("test")).await;
    refused("in use", kept, Code::FailedPrecondition, "must be empty");
    containers.delete(call(DeleteContainerRequest { id: "c".to_owned() })).await.unwrap();

    // Leases are not counted.
    let lease = CreateRequest { id: "l".to_owned(), ..Default::default() };
    LeasesClient::new(server.channel()).create(call(lease)).await.unwrap();
    client.delete(delete("test")).await.unwrap();
    assert!(names(&mut client).await.is_empty());
    server.stop().await;
}
