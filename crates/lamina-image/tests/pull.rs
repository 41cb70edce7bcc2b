//! Pulls from a registry that counts, into a real store, with the drivers that need no mounts.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::snapshot::Kind as SnapshotKind;
use lamina_core::{Filters, Host, Kind, Labels, Namespace, Platform, Reference, Result, Scope};
use lamina_image::pull::{Flights, Platforms, Pull, Pulled, Silent};
use lamina_image::registry::{Anonymous, Config, Registry};
use lamina_store::{Options, Store};
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};

/// A store with its root, gone when the test ends.
struct Host1 {
    _dir: tempfile::TempDir,
    store: Store,
}

fn host() -> Host1 {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    Host1 { _dir: dir, store }
}

fn open(dir: &Path) -> Store {
    Store::open(Options::new(dir.join("root"), dir.join("state"))).unwrap()
}

fn tar(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    TarBuilder::archive(entries)
}

fn image() -> Image {
    ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer(tar([Entry::file("etc/one", "1"), Entry::file("etc/gone", "x")]))
        .layer_as(
            tar([Entry::whiteout("etc/gone"), Entry::file("etc/two", "2")]),
            Compression::Zstd,
        )
        .layer_as(tar([Entry::file("three", vec![3; 300_000])]), Compression::None)
        .build()
}

fn scope(name: &str) -> Scope {
    Scope::new(Namespace::new(name).unwrap())
}

async fn pull(
    registry: &TestRegistry,
    store: &Store,
    namespace: &str,
    snapshotter: Option<&str>,
    flights: &Flights,
) -> Result<Pulled> {
    let reference = Reference::parse(&format!("{}/library/app:1", registry.host())).unwrap();
    let client = Registry::new(Config { plain_http: true, ..Config::default() })?;
    let pull = Pull {
        repository: client.repository(&reference, Arc::new(Anonymous)).await?,
        name: reference.to_string(),
        host: Arc::new(store.clone()),
        scope: scope(namespace),
        platforms: Platforms::Best(Matcher::only(&Platform::parse("linux/amd64").unwrap())),
        snapshotter: snapshotter.map(str::to_owned),
        labels: Labels::new(),
        downloads: 3,
        limits: Limits::STANDARD,
        progress: Arc::new(Silent),
    };
    pull.run(flights).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_leaves_records_blobs_and_snapshots_and_no_lease() {
    for snapshotter in ["native", "overlayfs"] {
        if snapshotter == "overlayfs" && !lamina_sys::kernel::is_root() {
            eprintln!("SKIP pull into overlayfs: needs root");
            continue;
        }
        let (registry, host) = (TestRegistry::start(), host());
        let image = image();
        registry.push("library/app", "1", &image);
        let pulled = pull(&registry, &host.store, "default", Some(snapshotter), &Flights::new())
            .await
            .unwrap();
        assert_eq!(pulled.image.target.digest, image.root.digest);
        let top = pulled.unpacked[0].clone();
        let snapshots = host.store.snapshots(&scope("default"), snapshotter).unwrap();
        assert_eq!(snapshots.stat_now(top.as_str()).unwrap().kind, SnapshotKind::Committed);
        let leases = host.store.leases(&scope("default")).list(Filters::default()).await.unwrap();
        assert_eq!(leases, []);
        for layer in &image.layers {
            assert_eq!(registry.bytes_sent(&layer.digest), layer.size, "fetched once");
        }
        // Everything is held by the record: the collector finds nothing to do.
        let collected = host.store.collect().unwrap();
        assert_eq!((collected.blobs, collected.snapshots), (0, 0), "{collected:?}");
        let mounts = snapshots.view_now("look", top.as_str(), Labels::new()).unwrap();
        if snapshotter == "native" {
            let root = Path::new(&mounts[0].source);
            assert_eq!(std::fs::read(root.join("etc/one")).unwrap(), b"1");
            assert!(!root.join("etc/gone").exists());
            assert_eq!(std::fs::read(root.join("three")).unwrap().len(), 300_000);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_namespace_adopts_without_a_byte_and_outlives_the_first() {
    let (registry, host) = (TestRegistry::start(), host());
    let image = image();
    registry.push("library/app", "1", &image);
    let flights = Flights::new();
    pull(&registry, &host.store, "one", Some("native"), &flights).await.unwrap();
    registry.forget();
    let pulled = pull(&registry, &host.store, "two", Some("native"), &flights).await.unwrap();
    for layer in &image.layers {
        assert_eq!(registry.bytes_sent(&layer.digest), 0);
    }
    let images = host.store.images(&scope("one"));
    images.delete(&pulled.image.name, Default::default()).await.unwrap();
    host.store.collect().unwrap();
    let one = host.store.snapshots(&scope("one"), "native").unwrap();
    assert_eq!(one.stat_now(pulled.unpacked[0].as_str()).unwrap_err().kind(), Kind::NotFound);
    let two = host.store.snapshots(&scope("two"), "native").unwrap();
    let mounts = two.view_now("look", pulled.unpacked[0].as_str(), Labels::new()).unwrap();
    assert!(Path::new(&mounts[0].source).join("three").is_file());
    for layer in &image.layers {
        host.store.content_now(&scope("two")).info_now(&layer.digest).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_pulls_at_once_fetch_each_byte_once() {
    let (registry, host) = (TestRegistry::start(), host());
    let image = image();
    registry.push("library/app", "1", &image);
    let flights = Flights::new();
    let spaces: Vec<String> = (0..10).map(|n| format!("n{}", n % 3)).collect();
    let pulls = spaces.iter().map(|ns| pull(&registry, &host.store, ns, Some("native"), &flights));
    for pulled in futures_util::future::join_all(pulls).await {
        pulled.unwrap();
    }
    for layer in &image.layers {
        assert_eq!(registry.bytes_sent(&layer.digest), layer.size);
    }
}
