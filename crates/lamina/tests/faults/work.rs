//! What clients do all day: each is one call, or a few, and makes one thing.

use content::content_client::ContentClient;
use images::images_client::ImagesClient;
use lamina_api::proto::containerd::services::content::v1 as content;
use lamina_api::proto::containerd::services::images::v1 as images;
use lamina_api::proto::containerd::services::leases::v1 as leases;
use lamina_api::proto::containerd::services::snapshots::v1 as snapshots;
use lamina_api::proto::containerd::types::Descriptor;
use lamina_core::Digest;
use leases::leases_client::LeasesClient;
use snapshots::snapshots_client::SnapshotsClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::client::{call, leased};

pub(crate) fn digest(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

/// Makes a lease. Answers its id.
pub(crate) async fn lease(channel: &Channel, id: &str) -> Result<String, Status> {
    let request = leases::CreateRequest { id: id.to_owned(), ..Default::default() };
    LeasesClient::new(channel.clone()).create(call(request)).await?;
    Ok(id.to_owned())
}

/// Writes and commits content. Answers its digest.
pub(crate) async fn write(
    channel: &Channel,
    lease: &str,
    reference: &str,
    bytes: &[u8],
) -> Result<String, Status> {
    let message = content::WriteContentRequest {
        action: content::WriteAction::Commit.into(),
        r#ref: reference.to_owned(),
        total: bytes.len() as i64,
        expected: digest(bytes),
        data: bytes.to_vec().into(),
        ..Default::default()
    };
    let messages = futures_util::stream::iter([message]);
    let mut answers =
        ContentClient::new(channel.clone()).write(leased(lease, messages)).await?.into_inner();
    match answers.message().await? {
        Some(answer) => Ok(answer.digest),
        None => Err(Status::data_loss("no answer")),
    }
}

/// Makes a committed snapshot of this name.
pub(crate) async fn snapshot(channel: &Channel, lease: &str, name: &str) -> Result<(), Status> {
    let mut client = SnapshotsClient::new(channel.clone());
    let key = format!("{name}-active");
    let prepare = snapshots::PrepareSnapshotRequest {
        snapshotter: "native".to_owned(),
        key: key.clone(),
        ..Default::default()
    };
    client.prepare(leased(lease, prepare)).await?;
    let commit = snapshots::CommitSnapshotRequest {
        snapshotter: "native".to_owned(),
        name: name.to_owned(),
        key,
        ..Default::default()
    };
    client.commit(leased(lease, commit)).await.map(drop)
}

pub(crate) async fn image(channel: &Channel, name: &str, target: &str) -> Result<(), Status> {
    let target = Descriptor {
        media_type: "application/octet-stream".to_owned(),
        digest: target.to_owned(),
        size: 1,
        ..Default::default()
    };
    let image = images::Image { name: name.to_owned(), target: Some(target), ..Default::default() };
    let request = images::CreateImageRequest { image: Some(image), ..Default::default() };
    ImagesClient::new(channel.clone()).create(call(request)).await.map(drop)
}

/// Whether such an image is there.
pub(crate) async fn image_is_there(channel: &Channel, name: &str) -> Result<(), Status> {
    let request = images::GetImageRequest { name: name.to_owned() };
    ImagesClient::new(channel.clone()).get(call(request)).await.map(drop)
}

/// Whether such a snapshot is there.
pub(crate) async fn snapshot_is_there(channel: &Channel, name: &str) -> Result<(), Status> {
    let request =
        snapshots::StatSnapshotRequest { snapshotter: "native".to_owned(), key: name.to_owned() };
    SnapshotsClient::new(channel.clone()).stat(call(request)).await.map(drop)
}

/// Reads content whole.
pub(crate) async fn read(channel: &Channel, digest: &str) -> Result<Vec<u8>, Status> {
    let request = content::ReadContentRequest { digest: digest.to_owned(), ..Default::default() };
    let mut answers = ContentClient::new(channel.clone()).read(call(request)).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = answers.message().await? {
        bytes.extend_from_slice(&chunk.data);
    }
    Ok(bytes)
}

/// The ids of all leases.
pub(crate) async fn leases(channel: &Channel) -> Result<Vec<String>, Status> {
    let request = leases::ListRequest::default();
    let listed = LeasesClient::new(channel.clone()).list(call(request)).await?.into_inner();
    Ok(listed.leases.into_iter().map(|lease| lease.id).collect())
}
