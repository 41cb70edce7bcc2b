//! Clients that vanish in the middle of each stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use lamina_api::convert::any;
use lamina_api::proto::containerd::services::content::v1 as content;
use lamina_api::proto::containerd::services::snapshots::v1 as snapshots;
use lamina_api::proto::containerd::services::streaming::v1::StreamInit;
use lamina_api::proto::containerd::services::streaming::v1::streaming_client::StreamingClient;
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::client::{Raw, call, connect, methods};
use crate::daemon::{SOON, Site};
use crate::process::{back_to, held};
use crate::work;

const INGEST: &str = "left";

/// What a client says on a stream that then goes on: the daemon waits for it, or it for the daemon.
/// None where a stream needs what is not run here.
fn first_message(path: &str, blob: &str, stream: &str) -> Option<Bytes> {
    let message = match path.trim_start_matches('/').trim_start_matches("containerd.services.") {
        "content.v1.Content/Read" => {
            content::ReadContentRequest { digest: blob.to_owned(), ..Default::default() }
                .encode_to_vec()
        }
        "content.v1.Content/Write" => content::WriteContentRequest {
            action: content::WriteAction::Write.into(),
            r#ref: INGEST.to_owned(),
            data: b"half".as_slice().into(),
            ..Default::default()
        }
        .encode_to_vec(),
        "snapshots.v1.Snapshots/List" => snapshots::ListSnapshotsRequest {
            snapshotter: "native".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "streaming.v1.Streaming/Stream" => {
            any::pack(&StreamInit { id: stream.to_owned() }).encode_to_vec()
        }
        // No words are needed.
        "content.v1.Content/List"
        | "containers.v1.Containers/ListStream"
        | "events.v1.Events/Subscribe"
        | "mounts.v1.Mounts/List"
        | "grpc.health.v1.Health/Watch" => Vec::new(),
        _ => return None,
    };
    Some(message.into())
}

/// Opens one of each stream, with something in it, and takes the first answer of those that have one.
/// The requests of those that take many are never over.
async fn open_all(channel: &Channel, blob: &str, stream: &str) -> Vec<Streaming<Bytes>> {
    let mut held = Vec::new();
    for (path, method) in methods() {
        let Some(first) = first_message(&path, blob, stream) else {
            assert!(!method.client_streaming(), "{path}: say here how a client of it vanishes");
            continue;
        };
        let mut client = Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let messages = futures_util::stream::iter([first]);
        let messages = match method.client_streaming() {
            true => messages.chain(futures_util::stream::pending()).boxed(),
            false => messages.boxed(),
        };
        let opened = client.streaming(call(messages), path.parse().unwrap(), Raw).await;
        let mut answers = opened.unwrap_or_else(|status| panic!("{path}: {status:?}")).into_inner();
        if path.ends_with("Content/Write") {
            answers.message().await.unwrap().unwrap();
        }
        held.push(answers);
    }
    assert!(held.len() >= 9, "{}", held.len());
    held
}

/// Records, and content that is larger than what is sent unasked. Answers its digest.
async fn furnish(channel: &Channel) -> String {
    let lease = work::lease(channel, "keep").await.unwrap();
    work::snapshot(channel, &lease, "base").await.unwrap();
    work::write(channel, &lease, "big", &vec![7; 12 << 20]).await.unwrap()
}

/// What the streams held can be had by others, soon.
async fn check_free(channel: &Channel, stream: &str) {
    let began = Instant::now();
    let written = loop {
        match work::write(channel, "keep", INGEST, stream.as_bytes()).await {
            Err(status) if status.code() == Code::Unavailable && began.elapsed() < SOON => {}
            written => break written,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    written.unwrap();
    let init = any::pack(&StreamInit { id: stream.to_owned() });
    let mut client = StreamingClient::new(channel.clone());
    loop {
        let messages = futures_util::stream::iter([init.clone()]);
        match client.stream(call(messages)).await {
            Err(status) if status.code() == Code::AlreadyExists && began.elapsed() < SOON => {}
            opened => break drop(opened.unwrap()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn what_clients_held_is_free_when_they_vanish() {
    let site = Site::new();
    let daemon = site.start();
    let own = Runtime::new().unwrap();
    let channel = own.block_on(connect(&site));
    let blob = own.block_on(furnish(&channel));
    let before = held(&daemon);
    for round in 0..20 {
        let name = format!("left-{round}");
        let theirs = Runtime::new().unwrap();
        let streams =
            theirs.block_on(async { open_all(&connect(&site).await, &blob, &name).await });
        // Their connection goes in the middle of everything, as of a process that is killed.
        theirs.shutdown_background();
        own.block_on(check_free(&channel, &name));
        drop(streams);
    }
    back_to(&daemon, before, 128 << 20);
    daemon.stop();
}
