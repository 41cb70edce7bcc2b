//! Streams without a socket.

use futures_util::stream;
use lamina_core::Kind;

use super::*;

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn message(text: &str) -> Any {
    Any { type_url: text.to_owned(), value: Vec::new() }
}

fn silence() -> impl FuturesStream<Item = Result<Any>> + Send + 'static {
    stream::pending()
}

#[tokio::test]
async fn messages_go_both_ways_and_the_end_is_told() {
    let (streams, ns) = (Streams::default(), namespace("a"));
    let mut client = streams.open(&ns, "s", stream::iter([Ok(message("up"))])).unwrap();
    let mut daemon = streams.take(&ns, "s").unwrap();
    assert_eq!(daemon.receive().await.unwrap(), Some(message("up")));
    assert_eq!(daemon.receive().await.unwrap(), None);
    daemon.send(message("down")).await.unwrap();
    drop(daemon);
    assert_eq!(client.next().await, Some(message("down")));
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn an_id_is_one_namespaces_and_used_once_and_free_after_its_end() {
    let (streams, ns, other) = (Streams::default(), namespace("a"), namespace("b"));
    let kind = |result: Result<()>| result.unwrap_err().kind();
    let open = |ns: &Namespace| streams.open(ns, "s", silence());
    let client = open(&ns).unwrap();
    let _other = open(&other).unwrap();
    assert_eq!(kind(open(&ns).map(drop)), Kind::AlreadyExists);
    assert_eq!(kind(streams.open(&ns, "", silence()).map(drop)), Kind::InvalidArgument);
    let daemon = streams.take(&ns, "s").unwrap();
    assert_eq!(kind(streams.take(&ns, "s").map(drop)), Kind::FailedPrecondition);
    assert_eq!(kind(open(&ns).map(drop)), Kind::AlreadyExists);
    drop(client);
    assert_eq!(daemon.send(message("x")).await.unwrap_err().kind(), Kind::Cancelled);
    assert_eq!(kind(streams.take(&ns, "s").map(drop)), Kind::NotFound);
    open(&ns).unwrap();
}

#[tokio::test]
async fn unclaimed_streams_are_bounded_and_leave_with_their_client() {
    let (streams, ns) = (Streams::default(), namespace("a"));
    let open = |n: usize| streams.open(&ns, &n.to_string(), silence());
    let mut clients: Vec<_> = (0..WAITING).map(|n| open(n).unwrap()).collect();
    assert_eq!(open(WAITING).map(drop).unwrap_err().kind(), Kind::ResourceExhausted);
    // One that was taken does not wait any more.
    let _taken = streams.take(&ns, "0").unwrap();
    clients.push(open(WAITING).unwrap());
    drop(clients);
    assert_eq!(format!("{streams:?}"), "0 streams");
}
