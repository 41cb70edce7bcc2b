//! Redirects: followed, but never with anything private and never inwards.

use std::sync::Arc;

use lamina_core::{Kind, media_type};
use lamina_image::registry::{Anonymous, Config};
use lamina_testkit::registry::{Access, Fault, On, Options, TestRegistry};

use crate::setup::*;

#[tokio::test]
async fn nothing_private_crosses_to_another_host() {
    let registry = TestRegistry::with(Options {
        access: Access::Basic("u".into(), "p".into()),
        ..Options::default()
    });
    let storage = TestRegistry::start();
    let bytes = noise(200_000);
    let blob = registry.push_blob("a/b", media_type::OCI_LAYER, bytes.clone());
    storage.push_blob("open", media_type::OCI_LAYER, bytes.clone());
    let there = format!("{}/open/{}?signature=secret", storage.url(), blob.digest);
    registry.fault(On::blobs(), Fault::Redirect(there));
    storage.fault(On::path("/open/").once(), Fault::DropAfter(100_000));
    let dir = hosts_dir(
        &registry,
        &format!("server = \"{}\"\nheader = {{ x-private = \"yes\" }}", registry.url()),
    );
    let config = Config { hosts_dirs: vec![dir.path().into()], ..config() };
    let repository = open_with(config, &registry, ":1", Noted::password("u", "p")).await;
    // Something to log in with.
    registry.push_manifest("a/b", "1", media_type::OCI_MANIFEST, &b"{\"schemaVersion\":2}"[..]);
    repository.resolve().await.unwrap();
    assert_eq!(read(&repository, &blob, 0).await.unwrap(), bytes);

    let asked = registry.requests();
    let last = asked.iter().rfind(|r| r.path.contains("/blobs/")).unwrap();
    assert!(last.header("authorization").is_some() && last.header("x-private") == Some("yes"));
    let strange = storage.requests();
    assert_eq!(strange.len(), 2);
    for request in &strange {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("x-private"), None);
        assert_eq!(request.header("referer"), None);
        assert_eq!(request.query, "signature=secret");
    }
    assert_eq!(strange[1].header("range"), Some("bytes=100000-199999"), "ranges do cross");
}

#[tokio::test]
async fn another_port_is_another_host_and_coming_back_restores_nothing() {
    let registry = TestRegistry::with(Options {
        access: Access::Basic("u".into(), "p".into()),
        ..Options::default()
    });
    let other = TestRegistry::start();
    image(&registry);
    let repository = open_with(config(), &registry, ":1", Noted::password("u", "p")).await;
    repository.resolve().await.unwrap();
    registry.fault(On::manifests().once(), Fault::Redirect(format!("{}/x", other.url())));
    other.fault(On::path("/x"), Fault::Redirect(format!("{}/v2/a/b/manifests/1", registry.url())));
    registry.forget();
    // HEAD comes back without credentials and is refused; GET is not redirected.
    repository.resolve().await.unwrap();
    let back = &registry.requests()[1];
    assert_eq!((back.header("authorization"), back.status), (None, 401));
}

#[tokio::test]
async fn a_demand_of_a_stranger_is_not_met() {
    let registry = TestRegistry::start();
    let storage = TestRegistry::with(Options {
        access: Access::Basic("u".into(), "p".into()),
        ..Options::default()
    });
    let blob = blob(&registry, 1000).0;
    registry.fault(On::blobs(), Fault::Redirect(format!("{}/v2/a/b/x", storage.url())));
    let credentials = Noted::password("u", "p");
    let repository = open_with(config(), &registry, ":1", credentials.clone()).await;
    assert_error(
        read(&repository, &blob, 0).await,
        Kind::Unauthenticated,
        &["401", &storage.host()],
    );
    assert_eq!(credentials.hosts(), [""; 0]);
    assert!(storage.requests().iter().all(|r| r.header("authorization").is_none()));
}

#[tokio::test]
async fn redirects_do_not_lead_to_http_nor_inwards_nor_in_circles() {
    let registry = TestRegistry::start();
    image(&registry);
    for (target, kind, says) in [
        ("http://169.254.169.254/latest/meta-data", Kind::PermissionDenied, "link-local"),
        ("http://[fe80::1]/", Kind::PermissionDenied, "link-local"),
        ("http://[::ffff:169.254.169.254]/", Kind::PermissionDenied, "link-local"),
        ("file:///etc/passwd", Kind::PermissionDenied, "neither https nor http"),
        ("https://u:p@r.example/", Kind::PermissionDenied, "names a user"),
        ("http://", Kind::PermissionDenied, "not a URL"),
        ("/v2/a/b/manifests/1", Kind::FailedPrecondition, "more than 10 redirects"),
    ] {
        registry.clear_faults();
        registry.forget();
        registry.fault(On::path("/v2/"), Fault::Redirect(target.to_owned()));
        let result = open(&registry, ":1").await.resolve().await;
        let error = assert_error(result, kind, &[says, "HEAD http://127"]);
        assert!(!error.chain().contains("u:p@") || target.contains("u:p@"));
        assert!(registry.requests().len() <= 11);
    }
    registry.clear_faults();
    registry.fault(On::path("/v2/"), Fault::status(307));
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::FailedPrecondition, &["does not say where to"]);
}

#[tokio::test]
async fn https_does_not_turn_into_http() {
    let registry = TestRegistry::with(Options { tls: true, ..Options::default() });
    let plain = TestRegistry::start();
    registry.fault(On::path("/v2/"), Fault::Redirect(format!("{}/x", plain.url())));
    let config = Config { skip_verify: true, ..config() };
    let repository = open_with(config, &registry, ":1", Arc::new(Anonymous)).await;
    let says = ["which is not encrypted", "HEAD https://127"];
    assert_error(repository.resolve().await, Kind::PermissionDenied, &says);
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_on_the_same_host_keeps_what_is_private() {
    let registry = TestRegistry::with(Options {
        access: Access::Basic("u".into(), "p".into()),
        ..Options::default()
    });
    let image = image(&registry);
    let there = format!("/v2/a/b/manifests/{}", image.root.digest);
    registry.fault(On::path("/manifests/1"), Fault::Redirect(there));
    let repository = open_with(config(), &registry, ":1", Noted::password("u", "p")).await;
    assert_eq!(repository.resolve().await.unwrap(), image.root);
}
