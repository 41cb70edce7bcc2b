use std::sync::Arc;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use jiff::Timestamp;
use lamina_api::proto::containerd::types::Envelope;
use lamina_core::{Event, EventSink as _, Filters, Kind, Namespace, Result};

use super::{Bounds, Hub};

fn ours(name: &str) -> lamina_core::Envelope {
    lamina_core::Envelope {
        timestamp: Timestamp::UNIX_EPOCH,
        namespace: Namespace::new("default").unwrap(),
        event: Event::ImageDelete { name: name.to_owned() },
    }
}

fn theirs(topic: &str, bytes: usize) -> Envelope {
    let event = prost_types::Any { type_url: "x.Y".to_owned(), value: vec![0; bytes] };
    let event = Some(event);
    Envelope { timestamp: None, namespace: "default".to_owned(), topic: topic.to_owned(), event }
}

fn filters(texts: &[&str]) -> Filters {
    Filters::parse_all(texts).unwrap()
}

/// A hub at work.
fn hub(bounds: Bounds) -> Arc<Hub> {
    let (hub, dispatcher) = Hub::new(bounds);
    // joined: it ends with the hub, at the latest with the test's runtime.
    tokio::spawn(dispatcher.run());
    hub
}

/// Topics read so far; the stream stays open unless there is an error behind them.
async fn read(
    stream: &mut (impl Stream<Item = Result<Arc<Envelope>>> + Unpin),
) -> (Vec<String>, Option<Kind>) {
    tokio::task::yield_now().await;
    let mut topics = Vec::new();
    loop {
        match stream.next().now_or_never().flatten() {
            Some(Ok(envelope)) => topics.push(envelope.topic.clone()),
            Some(Err(error)) => return (topics, Some(error.kind())),
            None => return (topics, None),
        }
    }
}

#[tokio::test]
async fn events_come_in_order_to_those_who_asked_from_when_they_asked() {
    let hub = hub(Bounds::default());
    hub.send(ours("before"));
    let mut all = Box::pin(hub.subscribe(filters(&[])));
    let mut some = Box::pin(hub.subscribe(filters(&["event.name==b", "topic~=|^/tasks/|"])));
    for name in ["a", "b"] {
        hub.send(ours(name));
    }
    hub.publish(theirs("/tasks/exit", 0));
    hub.send(ours("c"));
    let image = "/images/delete";
    assert_eq!(read(&mut all).await.0, [image, image, "/tasks/exit", image]);
    assert_eq!(read(&mut some).await.0, [image, "/tasks/exit"]);
    drop(hub);
    assert!(all.next().await.is_none());
}

#[tokio::test]
async fn a_slow_subscriber_gets_what_is_queued_and_then_an_error() {
    let hub = hub(Bounds { tasks: 5, others: 2, bytes: 100 });
    let mut slow = Box::pin(hub.subscribe(filters(&[])));
    let mut quick = Box::pin(hub.subscribe(filters(&[])));
    for _ in 0..5 {
        hub.publish(theirs("/tasks/exit", 1));
    }
    for _ in 0..2 {
        hub.send(ours("a"));
    }
    assert_eq!(read(&mut quick).await.0.len(), 7);
    hub.send(ours("one too many"));
    hub.send(ours("never seen by the slow one"));
    assert_eq!(read(&mut quick).await, (vec!["/images/delete".to_owned(); 2], None));
    let (topics, error) = read(&mut slow).await;
    assert_eq!((topics.len(), error), (7, Some(Kind::Unavailable)));
    assert!(slow.next().await.is_none());
    // What was read counts no more, but what is large counts by its size.
    hub.publish(theirs("/tasks/exit", 90));
    assert_eq!(read(&mut quick).await.0.len(), 1);
    hub.publish(theirs("/a", 90));
    hub.publish(theirs("/b", 90));
    let (topics, error) = read(&mut quick).await;
    assert_eq!((topics, error), (vec!["/a".to_owned()], Some(Kind::Unavailable)));
}
