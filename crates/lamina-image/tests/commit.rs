//! Images made of containers, in a real store.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use lamina_core::image::DeleteOptions;
use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{
    Any, Container, Digest, Filters, Host as _, Kind, Labels, Mount, Namespace, Platform,
    Reference, Result, Scope, media_type,
};
use lamina_image::commit::{CommitOptions, Committed, commit};
use lamina_image::pull::{Flights, Platforms, Pull, Silent};
use lamina_image::registry::{Anonymous, Config, Registry};
use lamina_store::mount::{self, How};
use lamina_store::{Options, Store};
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use lamina_testkit::tree::Tree;
use serde_json::{Value, json};

const BASE: &str = "registry.test/base:1";

/// A store with an image, and a container of it that has written something.
struct Lab {
    store: Store,
    scope: Scope,
    base: Image,
    container: Container,
    dir: tempfile::TempDir,
}

impl Lab {
    async fn new(flavor: Flavor, snapshotter: &str) -> Lab {
        let dir = tempfile::Builder::new().prefix("lamina-commit-").tempdir().unwrap();
        let store =
            Store::open(Options::new(dir.path().join("root"), dir.path().join("state"))).unwrap();
        let scope = Scope::new(Namespace::new("default").unwrap());
        let base = ImageBuilder::new(flavor)
            .platform(Platform::host())
            .layer(TarBuilder::archive([Entry::dir("etc"), Entry::file("etc/gone", "x")]))
            .layer(TarBuilder::archive([Entry::file("etc/stays", "y")]))
            .config(json!({"Cmd": ["sh"], "Env": ["A=1"], "Healthcheck": {"Test": ["NONE"]}}))
            .build();
        let registry = TestRegistry::start();
        registry.push("base", "1", &base);
        let mut lab = Lab { store, scope, base, container: container(snapshotter), dir };
        let top = lab.pull(&registry, snapshotter).await;
        let snapshots = lab.store.snapshotter(&lab.scope, snapshotter).unwrap();
        snapshots.prepare("c", top.as_str(), Labels::new()).await.unwrap();
        lab.container =
            lab.store.containers(&lab.scope).create(lab.container.clone()).await.unwrap();
        lab.write(|root| {
            std::fs::remove_file(root.join("etc/gone")).unwrap();
            std::fs::write(root.join("new"), "written").unwrap();
        })
        .await;
        lab
    }

    async fn pull(&self, registry: &TestRegistry, snapshotter: &str) -> Digest {
        let reference = Reference::parse(&format!("{}/base:1", registry.host())).unwrap();
        let client = Registry::new(Config { plain_http: true, ..Config::default() }).unwrap();
        let pull = Pull {
            repository: client.repository(&reference, Arc::new(Anonymous)).await.unwrap(),
            name: BASE.to_owned(),
            host: Arc::new(self.store.clone()),
            scope: self.scope.clone(),
            platforms: Platforms::Best(Matcher::only(&Platform::host())),
            snapshotter: Some(snapshotter.to_owned()),
            labels: Labels::new(),
            downloads: 3,
            limits: Limits::STANDARD,
            progress: Arc::new(Silent),
        };
        pull.run(&Flights::new()).await.unwrap().unpacked[0].clone()
    }

    async fn write(&self, act: impl FnOnce(&Path)) {
        let snapshots = self.store.snapshotter(&self.scope, &self.container.snapshotter).unwrap();
        self.with(&snapshots.mounts("c").await.unwrap(), act);
    }

    fn with<T>(&self, mounts: &[Mount], act: impl FnOnce(&Path) -> T) -> T {
        let at = self.dir.path().join("mnt");
        std::fs::create_dir_all(&at).unwrap();
        mount::all(mounts, &at).unwrap_or_else(|error| panic!("{}", error.chain()));
        let done = act(&at);
        mount::unmount_all(&at, How::Plain).unwrap();
        done
    }

    async fn commit(&self, name: &str, options: &CommitOptions) -> Result<Committed> {
        let (store, scope) = (&self.store, &self.scope);
        commit(store, scope, &self.container, name, options, Limits::STANDARD).await
    }

    async fn json(&self, digest: &str) -> Value {
        let digest = Digest::parse(digest).unwrap();
        let reader = self.store.content(&self.scope).reader(&digest).await.unwrap();
        let bytes = reader.read_at(0, usize::try_from(reader.size()).unwrap()).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// How many leases and views there are.
    async fn left(&self) -> (usize, usize) {
        let leases = self.store.leases(&self.scope).list(Filters::default()).await.unwrap().len();
        let snapshots = self.store.snapshots(&self.scope, &self.container.snapshotter).unwrap();
        let views = Filters::parse_all(&["kind==view"]).unwrap();
        let mut pages = lamina_core::Snapshotter::walk(&snapshots, views);
        let mut count = 0;
        while let Some(page) = std::future::poll_fn(|cx| pages.as_mut().poll_next(cx)).await {
            count += page.unwrap().len();
        }
        (leases, count)
    }
}

fn container(snapshotter: &str) -> Container {
    let spec = json!({"process": {"args": ["sh", "-c", "echo"]}});
    Container {
        id: "c".to_owned(),
        labels: Labels::new(),
        image: BASE.to_owned(),
        runtime: "io.containerd.runc.v2".to_owned(),
        runtime_options: None,
        spec: Any { type_url: "spec".to_owned(), value: spec.to_string().into_bytes() },
        snapshotter: snapshotter.to_owned(),
        snapshot_key: "c".to_owned(),
        sandbox: String::new(),
        extensions: Default::default(),
        created: jiff::Timestamp::UNIX_EPOCH,
        updated: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// Whether images can be made here: what a container has written is looked at through mounts.
fn can_mount(test: &str) -> bool {
    let root = lamina_sys::kernel::is_root();
    if !root {
        eprintln!("SKIP {test}: needs root");
    }
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_an_image_is_made_of_a_container_and_can_be_run() {
    if !can_mount("privileged_an_image_is_made_of_a_container_and_can_be_run") {
        return;
    }
    for (flavor, snapshotter) in [(Flavor::Oci, "overlayfs"), (Flavor::Docker, "native")] {
        let lab = Lab::new(flavor, snapshotter).await;
        let options = CommitOptions {
            author: "Me".to_owned(),
            message: "why".to_owned(),
            changes: vec!["ENV B=2".parse().unwrap()],
            date: None,
        };
        let made = lab.commit("registry.test/mine:1", &options).await.unwrap();
        let docker = flavor == Flavor::Docker;
        let target = &made.image.target;
        let wanted = if docker { media_type::DOCKER_MANIFEST } else { media_type::OCI_MANIFEST };
        assert_eq!(target.media_type, wanted);

        let manifest = lab.json(target.digest.as_str()).await;
        assert_eq!(manifest["mediaType"], wanted);
        let layers = manifest["layers"].as_array().unwrap();
        let below: Vec<&str> = lab.base.layers.iter().map(|layer| layer.digest.as_str()).collect();
        assert_eq!(layers.len(), 3);
        assert_eq!(
            (layers[0]["digest"].as_str(), layers[1]["digest"].as_str()),
            (Some(below[0]), Some(below[1]))
        );
        let kind = if docker { media_type::DOCKER_LAYER_GZIP } else { media_type::OCI_LAYER_GZIP };
        assert_eq!(layers[2]["mediaType"], kind);
        assert_eq!(layers[2]["digest"], made.layer.digest.as_str());

        let config = lab.json(manifest["config"]["digest"].as_str().unwrap()).await;
        assert_eq!(config["config"]["Env"], json!(["A=1", "B=2"]));
        assert_eq!(config["config"]["Healthcheck"], json!({"Test": ["NONE"]}));
        assert_eq!(config["author"], "Me");
        let last = config["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["created_by"], &last["comment"]), (&json!("sh -c echo"), &json!("why")));
        assert_eq!(last["created"], config["created"]);
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!(diff_ids.len(), 3);

        // It is whole for as long as its name stands, and can be run.
        let images = lab.store.images(&lab.scope);
        images.delete(BASE, DeleteOptions::default()).await.unwrap();
        lab.store.collect().unwrap();
        let snapshots = lab.store.snapshotter(&lab.scope, snapshotter).unwrap();
        let mounts = snapshots.prepare("run", made.top.as_str(), Labels::new()).await.unwrap();
        let found = lab.with(&mounts, |root| Tree::read(root));
        assert_eq!(found.paths(), ["etc", "etc/stays", "new"]);
        for layer in layers {
            let digest = Digest::parse(layer["digest"].as_str().unwrap()).unwrap();
            lab.store.content(&lab.scope).info(&digest).await.unwrap();
        }
        assert_eq!(lab.left().await, (0, 0));
        // And goes with the name.
        snapshots.remove("run").await.unwrap();
        images.delete("registry.test/mine:1", DeleteOptions::default()).await.unwrap();
        lab.store.collect().unwrap();
        let error = snapshots.stat(made.top.as_str()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_the_same_files_at_the_same_date_are_the_same_image() {
    if !can_mount("privileged_the_same_files_at_the_same_date_are_the_same_image") {
        return;
    }
    let lab = Lab::new(Flavor::Oci, "overlayfs").await;
    let date = Some("2020-02-02T02:02:02Z".parse().unwrap());
    let options = CommitOptions { date, ..CommitOptions::default() };
    let one = lab.commit("registry.test/one:1", &options).await.unwrap();
    let other = lab.commit("registry.test/other:1", &options).await.unwrap();
    assert_eq!(one.image.target, other.image.target);
    let manifest = lab.json(one.image.target.digest.as_str()).await;
    let config = lab.json(manifest["config"]["digest"].as_str().unwrap()).await;
    assert_eq!(config["created"], "2020-02-02T02:02:02Z");

    // The name can be given again, also while it is that of the container's own image.
    lab.write(|root| std::fs::write(root.join("more"), "m").unwrap()).await;
    let again = lab.commit(BASE, &CommitOptions::default()).await.unwrap();
    assert_ne!(again.image.target.digest, one.image.target.digest);
    let found = lab.store.images(&lab.scope).get(BASE).await.unwrap();
    assert_eq!(found.target, again.image.target);
    // Its files lie on what the name stood for before, with which others begin.
    let third = lab.commit("registry.test/x:1", &options).await.unwrap();
    for made in [&again, &third] {
        let manifest = lab.json(made.image.target.digest.as_str()).await;
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
        let config = lab.json(manifest["config"]["digest"].as_str().unwrap()).await;
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    }
    // Without them nobody knows how the container is run.
    for image in lab.store.images(&lab.scope).list(Filters::default()).await.unwrap() {
        let images = lab.store.images(&lab.scope);
        images.delete(&image.name, DeleteOptions::default()).await.unwrap();
    }
    let error = lab.commit("registry.test/y:1", &CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_what_cannot_be_committed_leaves_nothing() {
    if !can_mount("privileged_what_cannot_be_committed_leaves_nothing") {
        return;
    }
    let mut lab = Lab::new(Flavor::Oci, "overlayfs").await;
    let before = lab.store.collect().unwrap();
    assert_eq!((before.blobs, before.snapshots), (0, 0));
    lab.write(|root| std::fs::write(root.join(".wh.x"), "").unwrap()).await;
    let error = lab.commit("registry.test/mine:1", &CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
    let error = lab.store.images(&lab.scope).get("registry.test/mine:1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(lab.left().await, (0, 0));

    lab.container.snapshot_key = String::new();
    let error = lab.commit("registry.test/mine:1", &CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    lab.container.snapshot_key = "absent".to_owned();
    let error = lab.commit("registry.test/mine:1", &CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let after = lab.store.collect().unwrap();
    assert_eq!((after.blobs, after.snapshots), (0, 0), "{after:?}");
}
