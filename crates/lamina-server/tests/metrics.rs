//! What Prometheus reads after calls, streams and writes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)] // Helpers of tests are tests.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lamina_api::proto::containerd::services::events::v1 as events;
use lamina_api::proto::containerd::services::images::v1 as images;
use lamina_api::proto::containerd::services::namespaces::v1 as namespaces;
use support::{Server, call, refused};
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;

/// The whole answer to a request.
async fn ask(address: SocketAddr, request: &'static str) -> String {
    let asked = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    tokio::task::spawn_blocking(asked).await.unwrap()
}

async fn metrics(server: &Server) -> String {
    let request = "GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = ask(server.metrics_address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    assert!(answer.contains("# EOF"), "{answer}");
    answer
}

/// The value of a line.
#[track_caller]
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
}

async fn until(server: &Server, what: &str, holds: impl Fn(&str) -> bool) -> String {
    let began = std::time::Instant::now();
    loop {
        let text = metrics(server).await;
        if holds(&text) {
            return text;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn labels(kind: &str, service: &str, method: &str) -> String {
    format!("grpc_type=\"{kind}\",grpc_service=\"{service}\",grpc_method=\"{method}\"")
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let server = Server::start().await;
    let mut client = images::images_client::ImagesClient::new(server.channel());
    for _ in 0..3 {
        client.list(call(images::ListImagesRequest::default())).await.unwrap();
    }
    let missing = images::GetImageRequest { name: "none".to_owned() };
    refused("get", client.get(call(missing)).await, Code::NotFound, "none");

    let list = labels("unary", "containerd.services.images.v1.Images", "List");
    let get = labels("unary", "containerd.services.images.v1.Images", "Get");
    let ok = format!("grpc_server_handled_total{{{list},grpc_code=\"OK\"}}");
    let text = until(&server, "three calls", |text| text.contains(&format!("{ok} 3"))).await;
    let not_found = format!("grpc_server_handled_total{{{get},grpc_code=\"NotFound\"}}");
    assert_eq!(value(&text, &not_found), 1.0);
    assert_eq!(value(&text, &format!("grpc_server_started_total{{{list}}}")), 3.0);
    assert_eq!(value(&text, &format!("grpc_server_handling_seconds_count{{{list}}}")), 3.0);
    server.stop().await;
}

/// Clients cannot fill the memory with names.
#[tokio::test]
async fn methods_that_nobody_knows_are_counted_as_one() {
    let server = Server::start().await;
    for n in 0..20 {
        let path: PathAndQuery = format!("/made.up.v{n}/Call{n}").parse().unwrap();
        let mut client = Grpc::new(server.channel());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let answer = client.unary(call(()), path, codec).await;
        refused("made up", answer, Code::Unimplemented, "");
    }
    let labels = labels("unary", "unknown", "unknown");
    let line = format!("grpc_server_handled_total{{{labels},grpc_code=\"Unimplemented\"}} 20");
    let text = until(&server, "calls", |text| text.contains(&line)).await;
    assert!(!text.contains("made"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn streams_writes_and_the_process_are_seen() {
    let server = Server::start().await;
    let mut client = events::events_client::EventsClient::new(server.channel());
    let stream = client.subscribe(call(events::SubscribeRequest::default())).await.unwrap();
    let open = |text: &str| {
        value(text, "lamina_grpc_open_calls") == 1.0
            && value(text, "lamina_events_subscribers") == 1.0
    };
    let before = until(&server, "a subscriber", open).await;
    assert!(value(&before, "process_open_fds") > 3.0);
    assert!(value(&before, "process_resident_memory_bytes") > 1e6);

    let mut client = namespaces::namespaces_client::NamespacesClient::new(server.channel());
    let namespace = namespaces::Namespace { name: "new".to_owned(), ..Default::default() };
    let create = namespaces::CreateNamespaceRequest { namespace: Some(namespace) };
    client.create(call(create)).await.unwrap();
    let published = |text: &str| value(text, "lamina_events_published_total") >= 1.0;
    let text = until(&server, "an event", published).await;
    let writes = "lamina_database_requests_total";
    assert!(value(&text, writes) > value(&before, writes), "{text}");

    // A subscriber that goes has cancelled its call.
    drop(stream);
    let subscribe = labels("server_stream", "containerd.services.events.v1.Events", "Subscribe");
    let gone = format!("grpc_server_handled_total{{{subscribe},grpc_code=\"Canceled\"}} 1");
    let none = |text: &str| text.contains(&gone) && value(text, "lamina_grpc_open_calls") == 0.0;
    let text = until(&server, "the end of the stream", none).await;
    assert_eq!(value(&text, "lamina_events_subscribers"), 0.0);
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_question_is_refused_and_holds_nothing_up() {
    let server = Server::start().await;
    let address = server.metrics_address();
    let elsewhere = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(ask(address, elsewhere).await.starts_with("HTTP/1.1 404"));
    let post = "POST /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(ask(address, post).await.starts_with("HTTP/1.1 405"));
    ask(address, "\0\x01garbage\r\n\r\n").await;
    let _silent = TcpStream::connect(address).unwrap();
    metrics(&server).await;
    let stopped = tokio::time::timeout(Duration::from_secs(8), server.stop());
    stopped.await.expect("a silent connection holds the end up");
}
