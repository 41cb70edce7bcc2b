//! Blobs as streams: resumed, split, and never delivered wrong without a word.

use std::sync::Arc;
use std::time::Duration;

use lamina_core::{Descriptor, Kind, media_type};
use lamina_image::registry::{Anonymous, Config, Ranges};
use lamina_testkit::registry::{Fault, On, TestRegistry};

use crate::setup::*;

const SIZE: usize = 300_000;

#[tokio::test]
async fn a_blob_comes_whole_or_from_an_offset() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, SIZE);
    let repository = open(&registry, ":1").await;
    for offset in [0, 1, 100_000, SIZE - 1, SIZE] {
        registry.forget();
        let got = read(&repository, &blob, offset as u64).await.unwrap();
        assert_eq!(got, bytes[offset..]);
        assert_eq!(registry.bytes_sent(&blob.digest), (SIZE - offset) as u64, "each byte once");
        let requests = registry.requests();
        match offset {
            0 => assert_eq!(requests[0].header("range"), None),
            SIZE => assert!(requests.is_empty()),
            _ => {
                let range = format!("bytes={offset}-{}", SIZE - 1);
                assert_eq!(requests[0].header("range"), Some(range.as_str()));
            }
        }
    }
    let result = read(&repository, &blob, SIZE as u64 + 1).await;
    assert_error(result, Kind::OutOfRange, &["none at 300001"]);
    let empty = registry.push_blob("a/b", media_type::OCI_LAYER, Vec::new());
    assert!(read(&repository, &empty, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_broken_body_is_taken_up_where_it_broke() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, SIZE);
    for fault in [Fault::DropAfter(100_000), Fault::EndAfter(100_000)] {
        registry.clear_faults();
        registry.forget();
        registry.fault(On::blobs().times(2), fault);
        let got = read(&open(&registry, ":1").await, &blob, 0).await.unwrap();
        assert_eq!(got, bytes);
        let requests = registry.requests();
        let ranges: Vec<_> = requests.iter().map(|r| r.header("range").unwrap_or("")).collect();
        assert_eq!(ranges, ["", "bytes=100000-299999", "bytes=200000-299999"]);
        assert_eq!(registry.bytes_sent(&blob.digest), SIZE as u64, "each byte once");
    }
}

#[tokio::test]
async fn progress_renews_the_attempts_and_none_ends_them() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, 1_000_000);
    // Ten breaks with progress, at three attempts.
    registry.fault(On::blobs(), Fault::DropAfter(100_000));
    assert_eq!(read(&open(&registry, ":1").await, &blob, 0).await.unwrap(), bytes);
    // A server that brings a little each time is given up.
    registry.clear_faults();
    registry.forget();
    registry.fault(On::blobs(), Fault::DropAfter(10));
    let result = read(&open(&registry, ":1").await, &blob, 0).await;
    assert_error(result, Kind::Unavailable, &["broke off", blob.digest.as_str()]);
    assert_eq!(registry.requests().len(), 3);
}

#[tokio::test]
async fn a_silent_body_is_taken_up_too() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, 1000);
    registry.fault(On::blobs().once(), Fault::Slow(600, Duration::from_millis(900)));
    // The first piece does not come in time, nor does anything of that request.
    assert_eq!(read(&open(&registry, ":1").await, &blob, 0).await.unwrap(), bytes);
    assert_eq!(registry.requests().len(), 2);
    // Slow, but never silent for long, is fine.
    registry.fault(On::blobs(), Fault::Slow(100, Duration::from_millis(100)));
    assert_eq!(read(&open(&registry, ":1").await, &blob, 0).await.unwrap(), bytes);
}

#[tokio::test]
async fn empty_short_and_long_blobs_are_told_apart() {
    let registry = TestRegistry::start();
    let (blob, _) = blob(&registry, SIZE);
    for (fault, kind, says) in [
        (Fault::Empty, Kind::FailedPrecondition, "is empty, but 300000 bytes were announced"),
        (Fault::EndAfter(0), Kind::FailedPrecondition, "is empty, but 300000 bytes were announced"),
        (Fault::EndAfter(5), Kind::FailedPrecondition, "ends after 15 of the 300000 bytes"),
        (Fault::Length(7), Kind::FailedPrecondition, "has 300007 bytes, but 300000 were announced"),
        (
            Fault::Length(-7),
            Kind::FailedPrecondition,
            "has 299993 bytes, but 300000 were announced",
        ),
        (Fault::Surplus(9), Kind::FailedPrecondition, "sends more than the 300000 bytes"),
        (Fault::status(404), Kind::NotFound, "TEST: told to say 404"),
        (Fault::status(403), Kind::PermissionDenied, "TEST: told to say 403"),
    ] {
        registry.clear_faults();
        registry.fault(On::blobs(), fault.clone());
        let result = read(&open(&registry, ":1").await, &blob, 0).await;
        let error = assert_error(result, kind, &[says, blob.digest.as_str(), &registry.host()]);
        assert!(!error.chain().contains("sha256:e3b0c442"), "{fault:?}");
    }
}

#[tokio::test]
async fn ranges_are_checked() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, SIZE);
    let repository = open(&registry, ":1").await;
    for (fault, says) in [
        (Fault::ShiftRange(1), "where bytes 1000-299999 were asked for"),
        (Fault::RangeTotal(5), "has 5 bytes, but 300000 were announced"),
    ] {
        registry.clear_faults();
        registry.fault(On::blobs(), fault);
        let result = read(&repository, &blob, 1000).await;
        assert_error(result, Kind::FailedPrecondition, &[says]);
    }
    // Neither of these is a fault: the beginning is skipped.
    for (fault, requests) in [(Fault::IgnoreRange, 1), (Fault::RefuseRange, 2)] {
        registry.clear_faults();
        registry.forget();
        registry.fault(On::blobs(), fault.clone());
        let got = read(&repository, &blob, 1000).await.unwrap();
        assert_eq!(got, bytes[1000..], "{fault:?}");
        assert_eq!(registry.requests().len(), requests, "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_without_ranges_still_gets_a_broken_body_done() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, SIZE);
    registry.fault(On::blobs().once(), Fault::DropAfter(100_000));
    registry.fault(On::blobs().after(0), Fault::IgnoreRange);
    assert_eq!(read(&open(&registry, ":1").await, &blob, 0).await.unwrap(), bytes);
    assert_eq!(registry.requests().len(), 2);
}

async fn split(registry: &TestRegistry) -> lamina_image::registry::Repository {
    let config = Config { ranges: Some(Ranges { size: 50_000, parallel: 3 }), ..config() };
    open_with(config, registry, ":1", Arc::new(Anonymous)).await
}

#[tokio::test]
async fn large_blobs_come_in_ranges_in_order() {
    let registry = TestRegistry::start();
    let (large, bytes) = blob(&registry, SIZE + 1);
    let repository = split(&registry).await;
    for offset in [0, 12_345] {
        registry.forget();
        assert_eq!(read(&repository, &large, offset).await.unwrap(), bytes[offset as usize..]);
        assert_eq!(registry.bytes_sent(&large.digest), large.size - offset, "each byte once");
        assert!(registry.requests().len() >= 6);
    }
    let (small, bytes) = blob(&registry, 99_999);
    registry.forget();
    assert_eq!(read(&repository, &small, 0).await.unwrap(), bytes);
    assert_eq!(registry.requests().len(), 1, "less than two ranges come in one piece");
}

#[tokio::test]
async fn ranges_break_and_go_on_one_by_one() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, SIZE);
    registry.fault(On::blobs().after(1).times(3), Fault::DropAfter(20_000));
    assert_eq!(read(&split(&registry).await, &blob, 0).await.unwrap(), bytes);
    assert_eq!(registry.bytes_sent(&blob.digest), SIZE as u64, "each byte once");
    for fault in [Fault::IgnoreRange, Fault::RefuseRange] {
        registry.clear_faults();
        registry.forget();
        registry.fault(On::blobs(), fault);
        assert_eq!(read(&split(&registry).await, &blob, 0).await.unwrap(), bytes);
        assert_eq!(registry.bytes_sent(&blob.digest), SIZE as u64, "each byte once");
    }
}

#[tokio::test]
async fn a_dropped_call_loses_nothing() {
    let registry = TestRegistry::start();
    let (blob, bytes) = blob(&registry, 2000);
    registry.fault(On::blobs(), Fault::Slow(100, Duration::from_millis(20)));
    registry.fault(On::blobs().once(), Fault::DropAfter(500));
    let repository = open(&registry, ":1").await;
    let mut stream = repository.blob(&blob, 0).await.unwrap();
    let mut got = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(3), stream.next()).await {
            Err(_) => {}
            Ok(next) => match next.unwrap() {
                Some(piece) => got.extend_from_slice(&piece),
                None => break,
            },
        }
    }
    assert_eq!(got, bytes);
}

#[tokio::test]
async fn foreign_layers_come_from_their_addresses_without_credentials() {
    let registry = TestRegistry::start();
    let elsewhere = TestRegistry::start();
    let bytes = noise(SIZE);
    let there = elsewhere.push_blob("open", media_type::OCI_LAYER, bytes.clone());
    let url = |registry: &TestRegistry| format!("{}/open/{}", registry.url(), there.digest);
    let foreign = Descriptor {
        media_type: media_type::DOCKER_LAYER_FOREIGN_GZIP.into(),
        urls: vec![
            url(&elsewhere).replace("//", "//u@"),
            url(&elsewhere).replace("//", "//:p@"),
            "http://r.example/x".into(),
            url(&elsewhere),
        ],
        ..there.clone()
    };
    let credentials = Noted::password("u", "p");
    let repository = open_with(config(), &registry, ":1", credentials.clone()).await;
    elsewhere.fault(On::path("/open/").once(), Fault::DropAfter(100_000));
    assert_eq!(read(&repository, &foreign, 0).await.unwrap(), bytes);
    assert!(elsewhere.requests().iter().all(|r| r.header("authorization").is_none()));
    // Demanding some there gets none (CVE-2020-15157).
    elsewhere
        .fault(On::path("/open/"), Fault::status_with(401, "WWW-Authenticate", "Basic realm=x"));
    let result = read(&repository, &foreign, 0).await;
    assert_error(result, Kind::Unauthenticated, &["401", "404"]);
    assert!(elsewhere.requests().iter().all(|r| r.header("authorization").is_none()));
    assert_eq!(credentials.hosts(), [""; 0]);
    // A layer of the usual kind has no other addresses.
    elsewhere.forget();
    let usual = Descriptor { media_type: media_type::OCI_LAYER_GZIP.into(), ..foreign };
    assert_error(read(&repository, &usual, 0).await, Kind::NotFound, &["BLOB_UNKNOWN"]);
    assert!(elsewhere.requests().is_empty());
}
