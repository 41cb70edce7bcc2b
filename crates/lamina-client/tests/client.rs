//! The connection itself, and what has no suite.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are tests.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use lamina_client::Client;
use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::layer::{Layer, Receive};
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::{Any, Descriptor, Digest, Event, Filters, Host as _, Kind, Labels, Namespace};
use support::{Server, scope, serve, socket};

async fn refused(path: &Path, kind: Kind) {
    let error = Client::connect(path).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{}", error.chain());
    assert!(error.chain().contains(path.to_str().unwrap()), "{}", error.chain());
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_named() {
    let dir = tempfile::tempdir().unwrap();
    refused(&dir.path().join("none.sock"), Kind::NotFound).await;
    let dead = dir.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    refused(&dead, Kind::Unavailable).await;
    refused(Path::new("s.sock"), Kind::InvalidArgument).await;
    refused(&dir.path().join("x".repeat(200)), Kind::InvalidArgument).await;
}

#[tokio::test]
async fn who_accepts_and_never_answers_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silent.sock");
    // The kernel accepts for it.
    let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let connecting = refused(&path, Kind::DeadlineExceeded);
    tokio::time::timeout(std::time::Duration::from_secs(60), connecting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_connects_again_to_a_daemon_that_was_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let first = serve(dir.path()).await;
    let client = Client::connect(socket(dir.path())).await.unwrap();
    client.health().await.unwrap();
    assert!(client.version().await.unwrap().version.contains("+lamina."));
    let name = Namespace::new("kept").unwrap();
    client.namespaces().create(&name, Labels::new()).await.unwrap();

    first.drain().await.unwrap();
    let error = client.health().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    let path = socket(dir.path()).display().to_string();
    assert!(error.chain().contains(&path), "{}", error.chain());

    let second = serve(dir.path()).await;
    let found = client.namespaces().list().await.unwrap();
    assert_eq!(found, [(name, Labels::new())]);
    drop(client);
    second.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_and_leases() {
    let server = Server::start().await;
    let namespaces = server.client.namespaces();
    let name = Namespace::new("a").unwrap();
    let labels = Labels::from([("x".to_owned(), "1".to_owned())]);
    namespaces.create(&name, labels.clone()).await.unwrap();
    let again = namespaces.create(&name, Labels::new()).await.unwrap_err();
    assert_eq!(again.kind(), Kind::AlreadyExists);
    assert_eq!(namespaces.labels(&name).await.unwrap(), labels);
    let changed = Labels::from([("y".to_owned(), "2".to_owned())]);
    let after = namespaces.update(&name, changed, &["labels.y".to_owned()]).await.unwrap();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["x", "y"]);

    let leases = server.client.leases(&scope("a"));
    let lease = leases.create("l", Labels::new()).await.unwrap();
    assert_eq!(leases.create("l", Labels::new()).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(leases.list(Filters::default()).await.unwrap(), [lease]);
    let held = Resource { kind: ResourceType::Snapshot("native".to_owned()), id: "k".to_owned() };
    leases.add("l", held.clone()).await.unwrap();
    assert_eq!(leases.resources("l").await.unwrap(), std::slice::from_ref(&held));
    leases.remove("l", held).await.unwrap();

    // What is made under a lease is held by it.
    let content = server.client.content(&scope("a").with_lease("l"));
    let mut writer = content.writer("r", WriteOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    let digest = writer.commit(CommitOptions::default()).await.unwrap();
    let held = Resource { kind: ResourceType::Content, id: digest.to_string() };
    assert!(leases.resources("l").await.unwrap().contains(&held));
    leases.delete("l", true).await.unwrap();
    assert_eq!(content_kind(&server.client, &digest).await, Some(Kind::NotFound));
    assert_eq!(leases.delete("l", false).await.unwrap_err().kind(), Kind::NotFound);
    server.stop().await;
}

async fn content_kind(client: &Client, digest: &Digest) -> Option<Kind> {
    client.content(&scope("a")).info(digest).await.err().map(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_no_header_carries_is_refused() {
    let server = Server::start().await;
    let content = server.client.content(&scope("a").with_lease("l\n"));
    let error = content.info(&Digest::sha256(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert!(error.chain().contains("lease"), "{}", error.chain());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blobs_and_long_listings_come_whole() {
    let server = Server::start().await;
    let content = server.client.content(&scope("big"));
    let bytes: Bytes = (0..40u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut writer = content.writer("big", WriteOptions::default()).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    let digest = writer.commit(CommitOptions::default()).await.unwrap();
    let reader = content.reader(&digest).await.unwrap();
    assert!(reader.read_at(0, usize::MAX).await.unwrap() == bytes);
    assert_eq!(reader.read_at(bytes.len() as u64, 1).await.unwrap(), "");

    let snapshots = server.client.snapshotter(&scope("big"), "native").unwrap();
    for n in 0..250 {
        snapshots.prepare(&format!("k{n}"), "", Labels::new()).await.unwrap();
    }
    let pages: Vec<_> = snapshots.walk(Filters::default()).try_collect().await.unwrap();
    assert!(pages.len() > 1 && pages.iter().all(|page| page.len() <= 100));
    let names: BTreeSet<_> = pages.iter().flatten().map(|info| info.name.clone()).collect();
    assert_eq!(names.len(), 250);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen() {
    let server = Server::start().await;
    let wanted = Filters::parse_all(&["topic==\"/namespaces/create\""]).unwrap();
    let mut events = server.client.events(&wanted).await.unwrap();
    let snapshots = server.client.snapshotter(&scope("quiet"), "native").unwrap();
    snapshots.prepare("k", "", Labels::new()).await.unwrap();
    let name = Namespace::new("loud").unwrap();
    server.client.namespaces().create(&name, Labels::new()).await.unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(event.namespace, name);
    assert_eq!(
        event.event,
        Event::NamespaceCreate { name: "loud".to_owned(), labels: Labels::new() }
    );
    drop(events);

    let mut events = server.client.events(&Filters::default()).await.unwrap();
    let payload = Any { type_url: "x.Y".to_owned(), value: vec![1] };
    let loud = scope("loud");
    server.client.publish(&loud, "/x/y", payload.clone()).await.unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(event.event, Event::Other { topic: "/x/y".to_owned(), payload: payload.clone() });
    let refused = server.client.publish(&loud, "x", payload).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidArgument);
    drop(events);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_cannot_do_is_said() {
    let server = Server::start().await;
    let scope = scope("a");
    let blob = Descriptor::of("application/vnd.oci.image.layer.v1.tar", b"");
    let digest = blob.digest.clone();
    let layer = Layer {
        blob,
        diff_id: digest.clone(),
        chain_id: digest,
        parent: None,
        blob_labels: Labels::new(),
        snapshot_labels: Labels::new(),
    };
    let layers = server.client.layers(&scope, "native").unwrap();
    let received = layers.receive(&layer, Receive::Blob).await.unwrap_err();
    assert_eq!(received.kind(), Kind::Unimplemented);
    assert_eq!(layers.stage(&layer).await.unwrap_err().kind(), Kind::NotFound);
    let snapshots = server.client.snapshotter(&scope, "native").unwrap();
    let left: Vec<_> = snapshots.walk(Filters::default()).try_concat().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(server.client.snapshotter(&scope, "").unwrap_err().kind(), Kind::InvalidArgument);
    let none = server.client.snapshotter(&scope, "no-such").unwrap();
    assert_eq!(none.stat("k").await.unwrap_err().kind(), Kind::InvalidArgument);
    server.stop().await;
}
