//! Readers that do not read: the daemon's memory has a bound, and others go on.

use events::events_client::EventsClient;
use lamina_api::proto::containerd::services::events::v1 as events;
use prost_types::Any;
use tonic::Code;

use crate::client::{call, connect};
use crate::daemon::Site;
use crate::process::{back_to, held};

const MIB: u64 = 1 << 20;

/// The bound of what one leaves unread is 64 MiB, and who goes over it is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_costs_its_bound_and_no_more() {
    let site = Site::new();
    let daemon = site.start();
    let channel = connect(&site).await;
    let mut client = EventsClient::new(channel.clone());
    client.publish(call(publish(1))).await.unwrap();
    let before = held(&daemon);
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut client = EventsClient::new(connect(&site).await).max_decoding_message_size(1 << 24);
        let request = call(events::SubscribeRequest::default());
        silent.push(client.subscribe(request).await.unwrap().into_inner());
    }
    for _ in 0..200 {
        client.publish(call(publish(MIB as usize))).await.unwrap();
    }
    let most = held(&daemon).resident;
    // They share what is in their queues.
    assert!(most < before.resident + 224 * MIB, "{before:?}, {most}");
    for mut stream in silent {
        let mut read = 0;
        let end = loop {
            match stream.message().await {
                Ok(Some(_)) => read += 1,
                Ok(None) => panic!("it ended without a word after {read}"),
                Err(status) => break status,
            }
        };
        assert_eq!(end.code(), Code::Unavailable, "{end:?}");
        assert!(end.message().contains("too slowly"), "{end:?}");
        assert!((32..200).contains(&read), "{read}");
    }
    back_to(&daemon, before, 160 * MIB);
    daemon.stop();
}

fn publish(size: usize) -> events::PublishRequest {
    let event = Any { type_url: "made.up".to_owned(), value: vec![5; size] };
    events::PublishRequest { topic: "/made/up".to_owned(), event: Some(event) }
}
