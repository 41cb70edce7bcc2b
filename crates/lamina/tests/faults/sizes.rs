//! Messages over 16 MiB, in both directions.

use std::collections::BTreeMap;

use containers::containers_client::ContainersClient;
use content::content_client::ContentClient;
use futures_util::TryStreamExt as _;
use images::images_client::ImagesClient;
use lamina_api::convert::any;
use lamina_api::proto::containerd::services::containers::v1 as containers;
use lamina_api::proto::containerd::services::content::v1 as content;
use lamina_api::proto::containerd::services::images::v1 as images;
use lamina_api::proto::containerd::services::leases::v1 as leases;
use lamina_api::proto::containerd::types::Descriptor;
use leases::leases_client::LeasesClient;
use tonic::{Code, Response, Status};

use crate::client::{call, connect};
use crate::daemon::Site;
use crate::work::{digest, write};

/// As containerd's clients have it.
const MAX: usize = 16 << 20;

/// Labels of about so many MiB; each is as long as one may be.
fn labels(mebibytes: usize) -> BTreeMap<String, String> {
    let label = |n: usize| (format!("{n:06}"), "v".repeat(4090));
    (0..mebibytes * 256).map(label).collect()
}

fn image(name: &str, labels: BTreeMap<String, String>) -> images::CreateImageRequest {
    let target = Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: digest(b"nothing"),
        size: 7,
        ..Default::default()
    };
    let image =
        images::Image { name: name.to_owned(), labels, target: Some(target), ..Default::default() };
    images::CreateImageRequest { image: Some(image), ..Default::default() }
}

#[track_caller]
fn too_large<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, what: &str) {
    let status = answer.map(|_| ()).unwrap_err();
    let code = status.code();
    assert!(matches!(code, Code::ResourceExhausted | Code::OutOfRange), "{status:?}");
    assert!(status.message().contains(what), "{status:?}");
    assert!(status.message().contains("16777216"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let site = Site::new();
    let daemon = site.start();
    let mut client = ImagesClient::new(connect(&site).await).max_encoding_message_size(64 << 20);
    too_large(client.create(call(image("big", labels(17)))).await, "message length too large");
    client.create(call(image("small", labels(1)))).await.unwrap();
    // Also in a stream, whose ingest is then free.
    let channel = connect(&site).await;
    let mut client = ContentClient::new(channel.clone()).max_encoding_message_size(64 << 20);
    let message = content::WriteContentRequest {
        action: content::WriteAction::Write.into(),
        r#ref: "big".to_owned(),
        data: vec![1; MAX + 1].into(),
        ..Default::default()
    };
    let answers = client.write(call(futures_util::stream::iter([message]))).await;
    let mut answers = answers.unwrap();
    too_large(answers.get_mut().message().await.map(Response::new), "message length too large");
    write(&channel, "", "big", b"small").await.unwrap();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_large_is_refused_by_name_and_comes_in_parts() {
    let site = Site::new();
    let daemon = site.start();
    let channel = connect(&site).await;
    let mut images = ImagesClient::new(channel.clone()).max_decoding_message_size(MAX);
    let mut records = ContainersClient::new(channel.clone()).max_decoding_message_size(MAX);
    let mut leases = LeasesClient::new(channel.clone()).max_decoding_message_size(MAX);
    for n in 0..3 {
        let name = format!("n{n}");
        images.create(call(image(&name, labels(6)))).await.unwrap();
        let runtime =
            containers::container::Runtime { name: "none".to_owned(), ..Default::default() };
        let container = containers::Container {
            id: name.clone(),
            labels: labels(6),
            runtime: Some(runtime),
            spec: Some(any::pack(&())),
            ..Default::default()
        };
        let request = containers::CreateContainerRequest { container: Some(container) };
        records.create(call(request)).await.unwrap();
        let request = lamina_api::proto::containerd::services::leases::v1::CreateRequest {
            id: name,
            labels: labels(6),
        };
        leases.create(call(request)).await.unwrap();
    }
    too_large(images.list(call(images::ListImagesRequest::default())).await, "list of images");
    too_large(leases.list(call(leases::ListRequest::default())).await, "list of leases");
    let all = containers::ListContainersRequest::default;
    too_large(records.list(call(all())).await, "list of containers");
    let streamed = records.list_stream(call(all())).await.unwrap().into_inner();
    let streamed: Vec<_> = streamed.try_collect().await.unwrap();
    assert_eq!(streamed.len(), 3);
    // Fewer can be had.
    let one = images::ListImagesRequest { filters: vec!["name==n1".to_owned()] };
    assert_eq!(images.list(call(one)).await.unwrap().into_inner().images.len(), 1);
    daemon.stop();
}

/// Batches of a stream are as many as fit.
#[tokio::test(flavor = "multi_thread")]
async fn batches_of_large_rows_fit_into_messages() {
    let site = Site::new();
    let daemon = site.start();
    let channel = connect(&site).await;
    let lease = crate::work::lease(&channel, "keep").await.unwrap();
    let mut client = ContentClient::new(channel.clone()).max_decoding_message_size(MAX);
    for n in 0..3 {
        let digest = write(&channel, &lease, &format!("r{n}"), &[n]).await.unwrap();
        let info = content::Info { digest, labels: labels(6), ..Default::default() };
        let request = content::UpdateRequest { info: Some(info), update_mask: None };
        client.update(call(request)).await.unwrap();
    }
    let listed = client.list(call(content::ListContentRequest::default())).await.unwrap();
    let pages: Vec<_> = listed.into_inner().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.info.len()).sum::<usize>(), 3);
    daemon.stop();
}
