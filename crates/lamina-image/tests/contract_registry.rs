//! The same client against both registries: the testkit's own and Debian's `docker-registry`. What one
//! of them does otherwise than the other would show here.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use lamina_core::{Kind, Platform, Reference};
use lamina_image::registry::{
    Anonymous, Config, Credential, Credentials, ForHost, Ranges, Registry, Repository, Secret,
};
use lamina_testkit::honest::{HonestRegistry, LOGIN};
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::or_skip;
use lamina_testkit::registry::{Access, Options, TestRegistry};

/// Bytes that differ everywhere.
fn noise(seed: u32, size: usize) -> Vec<u8> {
    (0..size as u32).map(|n| (n ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

fn image(flavor: Flavor, platform: &str) -> Image {
    ImageBuilder::new(flavor)
        .platform(Platform::parse(platform).unwrap())
        .layer(noise(1, 400_000))
        .layer_as(noise(2, 70_000), Compression::None)
        .build()
}

fn index(flavor: Flavor) -> Image {
    let platforms = ["linux/amd64", "linux/arm64"];
    let images = platforms.map(|platform| image(flavor, platform));
    Image::index(flavor, platforms.iter().map(|p| Platform::parse(p).unwrap()).zip(images.iter()))
}

async fn open(host: &str, suffix: &str, ranges: Option<Ranges>) -> Repository {
    open_as(host, suffix, ranges, Arc::new(Anonymous)).await
}

async fn open_as(
    host: &str,
    suffix: &str,
    ranges: Option<Ranges>,
    credentials: Arc<dyn Credentials>,
) -> Repository {
    let reference = Reference::parse(&format!("{host}/deep/er/name{suffix}")).unwrap();
    let client = Registry::new(Config { ranges, ..Config::default() }).unwrap();
    client.repository(&reference, credentials).await.unwrap()
}

async fn read(
    repository: &Repository,
    descriptor: &lamina_core::Descriptor,
    offset: u64,
) -> Vec<u8> {
    let mut blob = repository.blob(descriptor, offset).await.unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = blob.next().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    all
}

/// What every registry does.
async fn behaves(host: &str, push: impl Fn(&str, &Image)) {
    for (flavor, name) in [(Flavor::Oci, "oci"), (Flavor::Docker, "docker")] {
        let image = index(flavor);
        push(name, &image);
        let repository = open(host, &format!(":{name}"), None).await;
        let root = repository.resolve().await.unwrap();
        assert_eq!(root, image.root);
        assert_eq!(repository.manifest(&root).await.unwrap(), image.bytes(&root.digest));
        let pinned = open(host, &format!("@{}", root.digest), None).await;
        assert_eq!(pinned.resolve().await.unwrap(), root);

        let split = open(host, ":x", Some(Ranges { size: 30_000, parallel: 4 })).await;
        for (digest, content) in &image.content {
            let descriptor = lamina_core::Descriptor::of(&content.media_type, &content.bytes);
            if descriptor.is_manifest() {
                assert_eq!(repository.manifest(&descriptor).await.unwrap(), content.bytes);
            } else if descriptor.is_config() {
                let limit = descriptor.size;
                assert_eq!(repository.document(&descriptor, limit).await.unwrap(), content.bytes);
            } else if descriptor.is_layer() {
                let whole = image.bytes(digest);
                assert_eq!(read(&repository, &descriptor, 0).await, whole[..]);
                assert_eq!(read(&repository, &descriptor, 33_333).await, whole[33_333..]);
                assert_eq!(read(&split, &descriptor, 0).await, whole[..]);
                assert_eq!(read(&split, &descriptor, 5).await, whole[5..]);
            }
        }
        let missing = open(host, ":missing", None).await.resolve().await.unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound, "{}", missing.chain());
        let gone = lamina_core::Descriptor::of("application/x", b"gone");
        let error = repository.blob(&gone, 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
        assert!(error.chain().contains("BLOB_UNKNOWN"), "{}", error.chain());
    }
}

/// What every registry with a user does.
async fn asks_for_a_login(host: &str, push: impl Fn(&str, &Image)) {
    let image = image(Flavor::Oci, "linux/amd64");
    push("1", &image);
    let credential = |password: &str| Credential::Password {
        user: LOGIN.0.into(),
        password: Secret::new(password),
    };
    let as_user = |password: &str| ForHost { host: host.into(), credential: credential(password) };
    let repository = open_as(host, ":1", None, Arc::new(as_user(LOGIN.1))).await;
    assert_eq!(repository.resolve().await.unwrap(), image.root);
    assert_eq!(
        read(&repository, &image.layers[0], 0).await,
        image.bytes(&image.layers[0].digest)[..]
    );
    for repository in
        [open(host, ":1", None).await, open_as(host, ":1", None, Arc::new(as_user("wrong"))).await]
    {
        let error = repository.resolve().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated, "{}", error.chain());
        assert!(error.chain().contains(host), "{}", error.chain());
    }
}

#[tokio::test]
async fn the_testkits_registry_behaves() {
    let registry = TestRegistry::start();
    behaves(&registry.host(), |tag, image| _ = registry.push("deep/er/name", tag, image)).await;
}

#[tokio::test]
async fn docker_registry_behaves() {
    let registry = or_skip!("docker_registry_behaves", HonestRegistry::start());
    behaves(registry.host(), |tag, image| registry.push("deep/er/name", tag, image)).await;
}

#[tokio::test]
async fn the_testkits_registry_asks_for_a_login() {
    let access = Access::Basic(LOGIN.0.into(), LOGIN.1.into());
    let registry = TestRegistry::with(Options { access, ..Options::default() });
    let push = |tag: &str, image: &Image| _ = registry.push("deep/er/name", tag, image);
    asks_for_a_login(&registry.host(), push).await;
}

#[tokio::test]
async fn docker_registry_asks_for_a_login() {
    let registry = or_skip!("docker_registry_asks_for_a_login", HonestRegistry::with_login());
    asks_for_a_login(registry.host(), |tag, image| registry.push("deep/er/name", tag, image)).await;
}
