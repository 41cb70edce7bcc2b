//! Readers that do not read: the daemon's memory has a bound, and others go on.

use content::content_client::ContentClient;
use events::events_client::EventsClient;
use futures_util::future::join_all;
use lamina_api::proto::containerd::services::content::v1 as content;
use lamina_api::proto::containerd::services::events::v1 as events;
use prost_types::Any;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::client::{call, connect};
use crate::daemon::Site;
use crate::process::{back_to, held};
use crate::work;

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

/// Each costs what its connection takes unread, however much it asked for.
#[tokio::test(flavor = "multi_thread")]
async fn readers_of_content_that_do_not_read_cost_little() {
    let site = Site::new();
    let daemon = site.start();
    let channel = connect(&site).await;
    let lease = work::lease(&channel, "keep").await.unwrap();
    let mut blobs = Vec::new();
    for n in 0..4 {
        let reference = format!("r{n}");
        blobs.push(work::write(&channel, &lease, &reference, &vec![n; 15 << 20]).await.unwrap());
    }
    let before = held(&daemon);
    let readers = (0..40).map(async |n: usize| {
        // As one that wants everything at once; nobody looks into its stream.
        let target = format!("unix://{}", site.socket().display());
        let endpoint = Endpoint::from_shared(target).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let mut streams = Vec::new();
        for digest in &blobs {
            let request =
                content::ReadContentRequest { digest: digest.clone(), ..Default::default() };
            let mut client = ContentClient::new(channel.clone());
            streams.push(client.read(call(request)).await.unwrap().into_inner());
        }
        (n, channel, streams)
    });
    let readers = join_all(readers).await;
    // 160 streams of 15 MiB.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let most = held(&daemon).resident;
    assert!(most < before.resident + 640 * MIB, "{before:?}, {most}");
    // Others are served, by connections of their own.
    assert_eq!(work::read(&channel, &blobs[0]).await.unwrap().len(), 15 << 20);
    drop(readers);
    back_to(&daemon, before, 48 * MIB);
    daemon.stop();
}
