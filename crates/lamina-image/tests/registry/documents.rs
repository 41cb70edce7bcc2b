//! Manifests and configs by digest.

use lamina_core::{Descriptor, Digest, Kind};
use lamina_testkit::registry::{Fault, On, TestRegistry};

use crate::setup::*;

#[tokio::test]
async fn wrong_bytes_never_come_through() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    let repository = open(&registry, ":1").await;
    let size = image.root.size.to_string();
    let cut = format!("{size} bytes were announced");
    for (fault, kind, says) in [
        (Fault::Flip, Kind::FailedPrecondition, "the digest is sha256:"),
        (Fault::EndAfter(20), Kind::FailedPrecondition, cut.as_str()),
        (Fault::Surplus(1), Kind::FailedPrecondition, "more came"),
        (Fault::Length(5), Kind::FailedPrecondition, "more came"),
        (Fault::Endless, Kind::FailedPrecondition, "more came"),
        (Fault::Empty, Kind::FailedPrecondition, "the answer is empty"),
        (Fault::Html, Kind::FailedPrecondition, "a web page"),
        (Fault::DropAfter(20), Kind::Unavailable, "the connection broke off"),
        (Fault::status(404), Kind::NotFound, "TEST: told to say 404"),
    ] {
        registry.clear_faults();
        registry.fault(On::digest(&image.root.digest), fault.clone());
        let result = repository.manifest(&image.root).await;
        let error = assert_error(result, kind, &[says, image.root.digest.as_str()]);
        assert!(error.chain().contains(&registry.host()), "{fault:?}: {}", error.chain());
    }
}

#[tokio::test]
async fn a_manifest_that_broke_off_is_fetched_again() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    registry.fault(On::digest(&image.root.digest).times(2), Fault::DropAfter(20));
    let body = open(&registry, ":1").await.manifest(&image.root).await.unwrap();
    assert_eq!(body, image.bytes(&image.root.digest));
    assert_eq!(registry.requests().len(), 3);
}

#[tokio::test]
async fn sizes_are_capped_before_anything_is_asked() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    let repository = open(&registry, ":1").await;
    let huge = Descriptor { size: u64::MAX, ..image.root.clone() };
    assert_error(repository.manifest(&huge).await, Kind::ResourceExhausted, &["is said to have"]);
    let (blob, bytes) = blob(&registry, 500);
    let result = repository.document(&blob, 499).await;
    assert_error(result, Kind::ResourceExhausted, &["500 bytes; at most 499"]);
    assert_eq!(registry.requests().len(), 0);
    assert_eq!(repository.document(&blob, 500).await.unwrap(), bytes);
}

#[tokio::test]
async fn configs_are_checked_like_manifests() {
    let registry = TestRegistry::start();
    let (blob, _) = blob(&registry, 500);
    let repository = open(&registry, ":1").await;
    for (fault, says) in [
        (Fault::Flip, "the digest is sha256:"),
        (Fault::EndAfter(20), "500 bytes were announced"),
        (Fault::Empty, "empty"),
        (Fault::Html, "web page"),
    ] {
        registry.clear_faults();
        registry.fault(On::blobs(), fault);
        let result = repository.document(&blob, 1000).await;
        assert_error(result, Kind::FailedPrecondition, &[says]);
    }
    let missing = Descriptor { digest: Digest::sha256(b"gone"), ..blob };
    registry.clear_faults();
    let result = repository.document(&missing, 1000).await;
    assert_error(result, Kind::NotFound, &["BLOB_UNKNOWN", missing.digest.as_str()]);
}
