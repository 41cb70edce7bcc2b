//! Every method is given what it cannot use.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use lamina_api::proto::containerd::services::snapshots::v1 as snapshots;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::client::{Raw, call, connect, methods};
use crate::daemon::{SOON, Site};
use crate::junk::Junk;

/// Calls a method with messages, whatever its type, and takes the first answer. A stream that has
/// none to give yet is let go.
async fn ask(channel: &Channel, path: &str, messages: Vec<Bytes>) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    let calling = client.streaming(call(stream::iter(messages)), path.clone(), Raw);
    let answer = tokio::time::timeout(SOON, calling).await;
    let mut answers = answer.unwrap_or_else(|_| panic!("{path} hangs"))?.into_inner();
    match tokio::time::timeout(Duration::from_millis(20), answers.next()).await {
        Ok(Some(Err(status))) => Err(status),
        _ => Ok(()),
    }
}

/// Asks each method many times at once, and gathers what was said.
async fn storm(
    site: &Site,
    times: u64,
    message: fn(&mut Junk, &str) -> Vec<u8>,
) -> BTreeMap<String, Vec<Status>> {
    let asked = stream::iter(methods()).map(async |(path, method)| {
        let channel = connect(site).await;
        let seed = path.bytes().fold(7, |hash: u64, byte| hash * 31 % 1_000_003 + u64::from(byte));
        let mut junk = Junk::new(seed);
        let mut refusals = Vec::new();
        for _ in 0..times {
            let mut messages = vec![message(&mut junk, method.input_type()).into()];
            if method.client_streaming() {
                messages.push(message(&mut junk, method.input_type()).into());
            }
            refusals.extend(ask(&channel, &path, messages).await.err());
        }
        (path, refusals)
    });
    asked.buffer_unordered(8).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_gets_a_status() {
    let site = Site::new();
    let daemon = site.start();
    let refused = storm(&site, 12, |junk, _| junk.bytes(300)).await;
    for (path, statuses) in &refused {
        for status in statuses {
            // A task that panics takes its stream with it.
            assert!(!status.message().contains("h2 protocol"), "{path}: {status:?}");
        }
    }
    assert!(refused.values().map(Vec::len).sum::<usize>() > 500, "{refused:?}");
    daemon.stop();
}

/// Bad names, digests, filters, numbers, times, types: the caller's mistake, and named as one.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_be_are_the_callers_mistake() {
    let site = Site::new();
    let daemon = site.start();
    let refused = storm(&site, 25, Junk::message).await;
    let mut wrong = Vec::new();
    for (path, statuses) in &refused {
        for status in statuses {
            if matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss) {
                wrong.push(format!("{path}: {:?} {}", status.code(), status.message()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), daemon.log());
    let all: usize = refused.values().map(Vec::len).sum();
    assert!(all > 1000, "{all}");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_unimplemented() {
    let site = Site::new();
    let daemon = site.start();
    let channel = connect(&site).await;
    for path in [
        "/",
        "/nothing",
        "/no.such.Service/Get",
        "/containerd.services.images.v1.Images/Nope",
        "/containerd.services.images.v1.Images/",
        "/containerd.services.images.v1.Images/List/more",
        "/containerd.services.images.v9.Images/List",
        "/CONTAINERD.services.images.v1.Images/List",
    ] {
        let status = ask(&channel, path, vec![Bytes::new()]).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }
    daemon.stop();
}

/// What the junk hits by chance only.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshotter_that_is_not_there_is_named() {
    let site = Site::new();
    let daemon = site.start();
    let channel = connect(&site).await;
    let mut client = snapshots::snapshots_client::SnapshotsClient::new(channel);
    for name in ["zfs9", "../overlayfs"] {
        let request = snapshots::PrepareSnapshotRequest {
            snapshotter: name.to_owned(),
            key: "k".to_owned(),
            ..Default::default()
        };
        let status = client.prepare(call(request)).await.unwrap_err();
        let code = status.code();
        assert!(matches!(code, Code::InvalidArgument | Code::NotFound), "{status:?}");
        assert!(status.message().contains(name), "{status:?}");
    }
    daemon.stop();
}
