//! The service Store of sandboxes.

use lamina_api::proto::containerd::services::sandbox::v1 as proto;
use lamina_api::proto::containerd::types::{Sandbox, sandbox::Runtime};
use proto::store_client::StoreClient;
use tonic::{Code, Request};

use crate::support::{Server, call, call_in, refused};
use crate::{map, texts};

fn sandbox(id: &str) -> Sandbox {
    Sandbox {
        sandbox_id: id.to_owned(),
        runtime: Some(Runtime { name: "io.containerd.runc.v2".to_owned(), options: None }),
        labels: map(&[("a", "1")]),
        sandboxer: "shim".to_owned(),
        ..Default::default()
    }
}

fn create(sandbox: Sandbox) -> Request<proto::StoreCreateRequest> {
    call(proto::StoreCreateRequest { sandbox: Some(sandbox) })
}

fn get(id: &str) -> Request<proto::StoreGetRequest> {
    call(proto::StoreGetRequest { sandbox_id: id.to_owned() })
}

#[tokio::test]
async fn sandboxes_are_kept_over_a_restart() {
    let server = Server::start().await;
    let mut client = StoreClient::new(server.channel());
    let made = client.create(create(sandbox("pod"))).await.unwrap().into_inner().sandbox.unwrap();
    let (created_at, updated_at) = (made.created_at, made.updated_at);
    assert!(created_at.unwrap().seconds > 1_700_000_000, "{made:?}");
    assert_eq!(made, Sandbox { created_at, updated_at, ..sandbox("pod") });

    let server = server.restart().await;
    let mut client = StoreClient::new(server.channel());
    assert_eq!(client.get(get("pod")).await.unwrap().into_inner().sandbox.unwrap(), made);
    let new = Sandbox { labels: map(&[("a", "2"), ("b", "3")]), ..sandbox("pod") };
    let update = proto::StoreUpdateRequest { sandbox: Some(new), fields: texts(&["labels.b"]) };
    let changed = client.update(call(update)).await.unwrap().into_inner().sandbox.unwrap();
    assert_eq!(changed.labels, map(&[("a", "1"), ("b", "3")]));

    let list = |filters| proto::StoreListRequest { filters: texts(filters) };
    let found = client.list(call(list(&["id==x", "labels.b==3"]))).await.unwrap().into_inner();
    assert_eq!(found.list, [changed]);
    let found = client.list(call_in("other", list(&[]))).await.unwrap().into_inner();
    assert!(found.list.is_empty());
    let delete = || call(proto::StoreDeleteRequest { sandbox_id: "pod".to_owned() });
    client.delete(delete()).await.unwrap();
    refused("deleted twice", client.delete(delete()).await, Code::NotFound, "pod");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut client = StoreClient::new(server.channel());
    client.create(create(sandbox("pod"))).await.unwrap();
    refused("in use", client.create(create(sandbox("pod"))).await, Code::AlreadyExists, "pod");
    refused("a path", client.create(create(sandbox("a/b"))).await, Code::InvalidArgument, "a/b");
    let nothing = call(proto::StoreCreateRequest::default());
    refused("none", client.create(nothing).await, Code::InvalidArgument, "sandbox");
    refused("get", client.get(get("new")).await, Code::NotFound, "new");
    for (what, id, field, code, text) in [
        ("absent", "new", "labels", Code::NotFound, "new"),
        ("a fixed field", "pod", "sandboxer", Code::InvalidArgument, "sandboxer"),
    ] {
        let update =
            proto::StoreUpdateRequest { sandbox: Some(sandbox(id)), fields: texts(&[field]) };
        refused(what, client.update(call(update)).await, code, text);
    }
    let bad = call(proto::StoreListRequest { filters: texts(&["id=pod"]) });
    refused("a filter", client.list(bad).await, Code::InvalidArgument, "filters: ");
    let nowhere = Request::new(proto::StoreListRequest::default());
    refused("no namespace", client.list(nowhere).await, Code::FailedPrecondition, "namespace");
    server.stop().await;
}
