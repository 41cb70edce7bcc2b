//! Pulls through a proxy snapshotter that has layers already, from a registry that counts.

// Helpers of tests fail by panicking, and each program uses a part of the harness.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

#[path = "../../lamina-store/tests/support/proxy.rs"]
mod proxy;

use std::path::Path;
use std::sync::Arc;

use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{
    Labels, Namespace, Platform, Reference, Result, Scope, Snapshotter as _, labels,
};
use lamina_image::pull::{Flights, Platforms, Pull, Pulled, Silent};
use lamina_image::registry::{Anonymous, Config, Registry};
use lamina_image::unpack::unpack;
use lamina_store::{Options, Store};
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::or_skip;
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use proxy::{NAME, Proxy};
use tempfile::TempDir;
use tokio::runtime::Handle;

struct World {
    store: Store,
    proxy: Proxy,
    registry: TestRegistry,
    image: Image,
    _dir: TempDir,
}

fn world(script: impl FnOnce(&mut proxy::Script)) -> World {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::native(dir.path()).unwrap();
    script(&mut proxy.script.lock().unwrap());
    let mut options = Options::new(dir.path().join("root"), dir.path().join("state"));
    options.remotes = vec![proxy.source(&Handle::current())];
    options.reserve = 0;
    let store = Store::open(options).unwrap();
    let layer = |name: &str| TarBuilder::archive([Entry::file(name, vec![7; 100_000])]);
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer(layer("one"))
        .layer(layer("two"))
        .layer(layer("three"))
        .build();
    let registry = TestRegistry::start();
    registry.push("library/app", "1", &image);
    World { store, proxy, registry, image, _dir: dir }
}

fn scope() -> Scope {
    Scope::new(Namespace::new("default").unwrap())
}

impl World {
    async fn pull(&self, snapshotter: Option<&str>) -> Result<Pulled> {
        let reference = format!("{}/library/app:1", self.registry.host());
        let reference = Reference::parse(&reference).unwrap();
        let client = Registry::new(Config { plain_http: true, ..Config::default() })?;
        let pull = Pull {
            repository: client.repository(&reference, Arc::new(Anonymous)).await?,
            name: reference.to_string(),
            host: Arc::new(self.store.clone()),
            scope: scope(),
            platforms: Platforms::Best(Matcher::only(&Platform::parse("linux/amd64").unwrap())),
            snapshotter: snapshotter.map(str::to_owned),
            labels: Labels::new(),
            downloads: 3,
            limits: Limits::STANDARD,
            progress: Arc::new(Silent),
        };
        pull.run(&Flights::new()).await
    }

    fn sent(&self) -> Vec<bool> {
        let layers = self.image.layers.iter();
        layers.map(|layer| self.registry.bytes_sent(&layer.digest) > 0).collect()
    }

    /// Collects, and closes the store where waiting for the proxy is allowed.
    async fn close(self) -> lamina_store::Collected {
        let store = self.store.clone();
        let end = tokio::task::spawn_blocking(move || {
            let collected = store.collect().unwrap();
            store.close().unwrap();
            collected
        });
        end.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_the_snapshotter_has_are_not_fetched() {
    let world = world(|script| (script.lazy, script.annotations) = (true, true));
    let pulled = world.pull(Some(NAME)).await.unwrap();
    assert_eq!(world.sent(), [false; 3]);
    let snapshots = world.store.snapshots(&scope(), NAME).unwrap();
    let top = snapshots.stat(pulled.unpacked[0].as_str()).await.unwrap();
    assert_eq!(top.kind, lamina_core::snapshot::Kind::Committed);
    let told = world.proxy.script.lock().unwrap().labels.clone();
    assert_eq!(told.len(), 3);
    let digests: Vec<&str> = world.image.layers.iter().map(|l| l.digest.as_str()).collect();
    for (n, told) in told.iter().enumerate() {
        assert_eq!(told[labels::CRI_IMAGE_REF], pulled.image.name);
        assert_eq!(told[labels::CRI_LAYER_DIGEST], digests[n]);
        assert_eq!(told[labels::CRI_IMAGE_LAYERS], digests[n..].join(","));
        assert_eq!(told[labels::CRI_MANIFEST_DIGEST], world.image.root.digest.as_str());
    }
    // A second pull finds them by name.
    world.pull(Some(NAME)).await.unwrap();
    assert_eq!(world.proxy.script.lock().unwrap().labels.len(), 3);
    let collected = world.close().await;
    assert_eq!((collected.snapshots, collected.busy), (0, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_unpacked_from_what_the_snapshotter_has() {
    let world = world(|_| ());
    let image = world.pull(Some("native")).await.unwrap().image;
    assert_eq!(world.sent(), [true; 3]);
    world.proxy.script.lock().unwrap().lazy = true;
    let tops = unpack(&world.store, &scope(), NAME, &image, None, Limits::STANDARD).await.unwrap();
    assert_eq!(tops.len(), 1);
    assert!(!world.proxy.script.lock().unwrap().labels[0].contains_key(labels::CRI_IMAGE_REF));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_layers_that_the_snapshotter_has_not_are_fetched_and_laid() {
    let test = "privileged_layers_that_the_snapshotter_has_not_are_fetched_and_laid";
    or_skip!(test, lamina_testkit::env::skip::require_root());
    for (has, sent) in [(0, [true; 3]), (1, [false, true, true])] {
        let world = world(|script| script.layers = has);
        let pulled = world.pull(Some(NAME)).await.unwrap();
        assert_eq!(world.sent(), sent, "it has {has}");
        let snapshots = world.store.snapshots(&scope(), NAME).unwrap();
        let top = pulled.unpacked[0].as_str();
        let mounts = snapshots.view("look", top, Labels::new()).await.unwrap();
        let root = Path::new(&mounts[0].source);
        for (file, there) in [("one", has == 0), ("two", true), ("three", true)] {
            assert_eq!(root.join(file).is_file(), there, "{file}, it has {has}");
        }
        let collected = world.close().await;
        assert_eq!(collected.busy, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshotter_that_is_away_ends_the_pull_and_not_the_next() {
    let world = world(|script| script.down = true);
    let error = world.pull(Some(NAME)).await.unwrap_err();
    assert_eq!(error.kind(), lamina_core::Kind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("proxy snapshotter remote"), "{}", error.chain());
    world.pull(Some("native")).await.unwrap();
    {
        let mut script = world.proxy.script.lock().unwrap();
        (script.down, script.lazy) = (false, true);
    }
    world.pull(Some(NAME)).await.unwrap();
    world.close().await;
}
