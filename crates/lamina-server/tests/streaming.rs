//! The service Streaming, over its socket.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests are tests.

mod support;

use lamina_api::convert::any;
use lamina_api::proto::containerd::services::streaming::v1 as proto;
use prost_types::Any;
use proto::streaming_client::StreamingClient;
use support::{Server, call, call_in, refused};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

/// Opens a stream in a namespace; it lasts as long as the sender.
async fn open(
    server: &Server,
    namespace: &str,
    first: Any,
) -> (mpsc::Sender<Any>, Result<Response<Streaming<Any>>, Status>) {
    let (sender, messages) = mpsc::channel(4);
    sender.send(first).await.unwrap();
    let request = call_in(namespace, ReceiverStream::new(messages));
    (sender, StreamingClient::new(server.channel()).stream(request).await)
}

fn init(id: &str) -> Any {
    any::pack(&proto::StreamInit { id: id.to_owned() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_and_its_id_taken_until_its_client_goes() {
    let server = Server::start().await;
    let (sender, answer) = open(&server, "test", init("progress-1")).await;
    let mut answer = answer.unwrap().into_inner();
    let first = answer.message().await.unwrap().unwrap();
    // Go clients compare the name, which has no host part.
    assert_eq!((first.type_url.as_str(), first.value.len()), ("google.protobuf.Empty", 0));

    let (_sender, again) = open(&server, "test", init("progress-1")).await;
    refused("an id in use", again, Code::AlreadyExists, "progress-1");
    let (_other, elsewhere) = open(&server, "other", init("progress-1")).await;
    let elsewhere = elsewhere.unwrap().into_inner();

    drop((answer, sender));
    let mut free = false;
    for _ in 0..200 {
        let (_sender, again) = open(&server, "test", init("progress-1")).await;
        free = again.is_ok();
        if free {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(free, "the id is free when its client has gone");
    drop(elsewhere);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_otherwise_is_no_stream() {
    let server = Server::start().await;
    let (_sender, answer) = open(&server, "test", any::pack(&())).await;
    refused("no init", answer, Code::InvalidArgument, "StreamInit");
    let (_sender, answer) = open(&server, "test", init("")).await;
    refused("no id", answer, Code::InvalidArgument, "id");
    let nothing = call(tokio_stream::empty::<Any>());
    let answer = StreamingClient::new(server.channel()).stream(nothing).await;
    refused("no message", answer, Code::InvalidArgument, "StreamInit");
    let bare = tonic::Request::new(tokio_stream::once(init("a")));
    let answer = StreamingClient::new(server.channel()).stream(bare).await;
    refused("no namespace", answer, Code::FailedPrecondition, "namespace");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_daemon_stops() {
    let server = Server::start().await;
    let (_sender, answer) = open(&server, "test", init("s")).await;
    let mut answer = answer.unwrap().into_inner();
    answer.message().await.unwrap().unwrap();
    let ((), ended) = tokio::join!(server.stop(), answer.message());
    assert_eq!(ended.unwrap(), None);
}
