//! The service Content, apart from Write.

use futures_util::TryStreamExt as _;
use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_core::Digest;
use prost_types::FieldMask;
use proto::content_client::ContentClient;
use tonic::{Code, Status};

use crate::support::refused;
use crate::{call, call_in, map, start};

use crate::write::{Client, put};

const MIB: usize = 1 << 20;

async fn read(
    client: &mut Client,
    digest: &str,
    offset: i64,
    size: i64,
) -> Result<Vec<proto::ReadContentResponse>, Status> {
    let digest = digest.to_owned();
    let chunks = client.read(call(proto::ReadContentRequest { digest, offset, size })).await?;
    chunks.into_inner().try_collect().await
}

async fn list(client: &mut Client, filters: &[&str]) -> Vec<Vec<proto::Info>> {
    let filters = filters.iter().map(|text| (*text).to_owned()).collect();
    let pages = client.list(call(proto::ListContentRequest { filters })).await.unwrap();
    pages.into_inner().map_ok(|page| page.info).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_part_of_a_blob_comes_in_chunks() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let data: Vec<u8> = (0..2 * MIB + 5).map(|at| (at % 251) as u8).collect();
    let digest = put(&mut client, "test", &data).await;
    let len = data.len();
    for (offset, size, end) in [
        (0, 0, len),
        (0, -1, len),
        (0, 10, 10),
        (3, MIB as i64, MIB + 3),
        (3, MIB as i64 + 1, MIB + 4),
        (len - 2, 100, len),
        (len, 0, len),
        (1, i64::MAX, len),
    ] {
        let chunks = read(&mut client, &digest, offset as i64, size).await.unwrap();
        let mut at = offset;
        for chunk in chunks {
            assert_eq!(chunk.offset, at as i64, "{offset} {size}");
            assert!((1..=MIB).contains(&chunk.data.len()));
            assert!(chunk.data == data[at..at + chunk.data.len()]);
            at += chunk.data.len();
        }
        assert_eq!(at, end, "{offset} {size}");
    }
    let empty = put(&mut client, "test", b"").await;
    assert_eq!(read(&mut client, &empty, 0, 0).await.unwrap(), []);

    let absent = Digest::sha256(b"absent").to_string();
    for (digest, offset, code) in [
        (digest.as_str(), len as i64 + 1, Code::OutOfRange),
        (&digest, -1, Code::InvalidArgument),
        (&absent, 0, Code::NotFound),
        ("x", 0, Code::InvalidArgument),
    ] {
        let status = read(&mut client, digest, offset, 0).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
    server.stop().await;
}

#[tokio::test]
async fn slow_readers_make_the_daemon_wait() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let digest = put(&mut client, "test", &vec![1; 12 * MIB]).await;
    let before = resident();
    // As many as would be 768 MiB, if the daemon read ahead of those who read.
    let mut readers = Vec::new();
    for _ in 0..64 {
        let mut client = ContentClient::new(server.connect().await);
        let asked = proto::ReadContentRequest { digest: digest.clone(), ..Default::default() };
        readers.push((client.read(call(asked)).await.unwrap().into_inner(), client));
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 400 * MIB, "{} MiB are held for readers that wait", grown / MIB);
    let (mut first, _client) = readers.swap_remove(0);
    let mut got = 0;
    while let Some(chunk) = first.message().await.unwrap() {
        got += chunk.data.len();
    }
    assert_eq!(got, 12 * MIB);
    drop(readers);
    server.stop().await;
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}

#[tokio::test]
async fn listings_are_of_the_namespace_and_in_batches() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    assert_eq!(list(&mut client, &[]).await, Vec::<Vec<proto::Info>>::new());
    let mut wanted = Vec::new();
    for number in 0..250_u32 {
        wanted.push(put(&mut client, "test", &number.to_le_bytes()).await);
    }
    put(&mut client, "other", b"other").await;
    let pages = list(&mut client, &[]).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    let digests: Vec<_> = pages.into_iter().flatten().map(|info| info.digest).collect();
    wanted.sort();
    assert_eq!(digests, wanted);
    let filter = format!("digest=={}", wanted[200]);
    let found: Vec<_> = list(&mut client, &[&filter]).await.concat();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].digest, found[0].size), (&wanted[200], 4));
    // Who stops listening stops the listing.
    let pages = client.list(call(proto::ListContentRequest::default())).await.unwrap();
    drop(pages);
    let bad = proto::ListContentRequest { filters: vec!["digest=x".to_owned()] };
    refused("filter", client.list(call(bad)).await, Code::InvalidArgument, "filters");
    server.stop().await;
}

#[tokio::test]
async fn labels_change_by_mask() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let digest = put(&mut client, "test", b"x").await;
    let update = |labels: &[(&str, &str)], paths: &[&str]| {
        let info =
            proto::Info { digest: digest.clone(), labels: map(labels), ..Default::default() };
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(FieldMask { paths });
        call(proto::UpdateRequest { info: Some(info), update_mask })
    };
    for (labels, paths, left) in [
        (&[("a", "1"), ("b", "2")][..], &[][..], &[("a", "1"), ("b", "2")][..]),
        (&[("a", "3"), ("c", "4")], &["labels.a"], &[("a", "3"), ("b", "2")]),
        (&[], &["labels.a"], &[("b", "2")]),
        (&[("d.e", "5")], &["labels"], &[("d.e", "5")]),
    ] {
        let info = client.update(update(labels, paths)).await.unwrap().into_inner().info.unwrap();
        assert_eq!(info.labels, map(left), "{paths:?}");
        let asked = proto::InfoRequest { digest: digest.clone() };
        let again = client.info(call(asked)).await.unwrap().into_inner().info.unwrap();
        assert_eq!(again.labels, map(left), "{paths:?}");
    }
    let size = client.update(update(&[], &["size"])).await;
    refused("size", size, Code::InvalidArgument, "size");
    let none = call(proto::UpdateRequest::default());
    refused("no info", client.update(none).await, Code::InvalidArgument, "info is required");
    server.stop().await;
}

#[tokio::test]
async fn deletion_is_of_the_namespace() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let digest = put(&mut client, "test", b"x").await;
    put(&mut client, "other", b"x").await;
    let delete = || proto::DeleteContentRequest { digest: digest.clone() };
    client.delete(call(delete())).await.unwrap();
    refused("again", client.delete(call(delete())).await, Code::NotFound, &digest);
    let info = || proto::InfoRequest { digest: digest.clone() };
    refused("gone", client.info(call(info())).await, Code::NotFound, "not found");
    client.info(call_in("other", info())).await.unwrap();
    let bad = || "sha256:../x".to_owned();
    let asked = call(proto::DeleteContentRequest { digest: bad() });
    refused("delete", client.delete(asked).await, Code::InvalidArgument, "digest");
    let asked = call(proto::InfoRequest { digest: bad() });
    refused("info", client.info(asked).await, Code::InvalidArgument, "digest");
    let unscoped = tonic::Request::new(info());
    refused(
        "scope",
        client.info(unscoped).await,
        Code::FailedPrecondition,
        "namespace is required",
    );
    let asked = call(proto::AbortRequest { r#ref: "r".to_owned() });
    refused("abort", client.abort(asked).await, Code::NotFound, "\"r\"");
    server.stop().await;
}
