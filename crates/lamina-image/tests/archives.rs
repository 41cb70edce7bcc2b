//! Import, export and conversion over a real store: forms of archives, and what is wrong with some.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use lamina_core::image::Image as Record;
use lamina_core::media_type::{self, Compression as Packing};
use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::transfer::{ByteSink, ByteStream, NewReference};
use lamina_core::{Filters, Host, Kind, Labels, Namespace, Platform, Result, Scope};
use lamina_image::contents::Contents;
use lamina_image::convert::Convert;
use lamina_image::export::Export;
use lamina_image::import::{Import, Source};
use lamina_image::pull::Silent;
use lamina_store::{Options, Store};
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder, gzip};
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

struct Lab {
    dir: tempfile::TempDir,
    store: Store,
}

fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let store =
        Store::open(Options::new(dir.path().join("root"), dir.path().join("state"))).unwrap();
    Lab { dir, store }
}

fn scope() -> Scope {
    Scope::new(Namespace::new("default").unwrap())
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

fn builder(flavor: Flavor, platform: &Platform, salt: &str) -> ImageBuilder {
    let tar = |entries: Vec<Entry>| TarBuilder::archive(entries);
    ImageBuilder::new(flavor)
        .platform(platform.clone())
        .layer(tar(vec![Entry::file("etc/one", salt), Entry::file("etc/gone", "x")]))
        .layer_as(
            tar(vec![Entry::whiteout("etc/gone"), Entry::file("two", vec![2; 200_000])]),
            Compression::None,
        )
}

fn image(flavor: Flavor) -> Image {
    builder(flavor, &amd64(), "1").build()
}

/// As a layout in a tar: blobs first, as most write it, or last.
fn layout(image: &Image, names: &[serde_json::Value], first: bool) -> Vec<u8> {
    let blobs = image.content.iter().map(|(digest, content)| {
        Entry::file(format!("blobs/sha256/{}", digest.hex()), content.bytes.clone())
    });
    let mut entries: Vec<Entry> = blobs.collect();
    let index = json!({"schemaVersion": 2, "manifests": names});
    let at = if first { entries.len() } else { 0 };
    entries.insert(at, Entry::file("index.json", index.to_string()));
    entries.push(Entry::file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#));
    TarBuilder::archive(entries)
}

fn named(image: &Image, name: &str) -> serde_json::Value {
    let mut root = json!(image.root);
    root["annotations"] = json!({"io.containerd.image.name": name});
    root
}

fn stream(bytes: &[u8], piece: usize) -> ByteStream {
    let pieces: Vec<Result<Bytes>> =
        bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(stream::iter(pieces))
}

fn import(store: &Store) -> Import {
    Import {
        host: Arc::new(store.clone()),
        scope: scope(),
        platforms: None,
        index_names: Vec::new(),
        references: vec![NewReference::Prefix {
            prefix: "imported".to_owned(),
            allow_overwrite: true,
            add_digest: true,
            skip_named_digest: true,
        }],
        labels: Labels::new(),
        unpacks: vec![("native".to_owned(), Matcher::only(&amd64()))],
        force_compress: false,
        limits: Limits::STANDARD,
        progress: Arc::new(Silent),
    }
}

async fn take(store: &Store, archive: &[u8]) -> Result<Vec<Record>> {
    import(store).run(Source::Archive(stream(archive, 50_000))).await
}

#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

#[async_trait::async_trait]
impl ByteSink for Memory {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.lock().unwrap().extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

async fn export(store: &Store, images: &[Record], platform: Option<Platform>) -> Result<Vec<u8>> {
    let mut sink = Memory::default();
    let export = Export {
        content: store.content(&scope()),
        images: images.to_vec(),
        platforms: platform.as_ref().map(Matcher::only),
        docker: true,
        skip_nondistributable: false,
        limits: Limits::STANDARD,
    };
    export.run(&mut sink).await?;
    Ok(std::mem::take(&mut sink.0.lock().unwrap()))
}

/// The collector finds nothing to do, and everything is here and unpacked.
async fn is_whole(lab: &Lab, record: &Record, image: &Image) {
    let collected = lab.store.collect().unwrap();
    assert_eq!(collected.snapshots, 0, "{collected:?}");
    let content = lab.store.content(&scope());
    let contents = Contents::of(&*content, &record.target, Limits::STANDARD).await.unwrap();
    assert_eq!(contents.missing, []);
    let config = contents.parts[0].config.as_ref().unwrap();
    assert_eq!(config.rootfs.diff_ids, image.diff_ids);
    let top = config.chain_ids().pop().unwrap();
    let snapshots = lab.store.snapshots(&scope(), "native").unwrap();
    let mounts = snapshots.view_now("look", top.as_str(), Labels::new()).unwrap();
    let root = std::path::Path::new(&mounts[0].source);
    assert_eq!(std::fs::read(root.join("etc/one")).unwrap(), b"1");
    assert!(!root.join("etc/gone").exists() && root.join("two").is_file());
    snapshots.remove_now("look").unwrap();
    assert_eq!(lab.store.leases(&scope()).list(Filters::default()).await.unwrap(), []);
}

async fn nothing_is_named(lab: &Lab) {
    assert_eq!(lab.store.images(&scope()).list(Filters::default()).await.unwrap(), []);
    assert_eq!(lab.store.leases(&scope()).list(Filters::default()).await.unwrap(), []);
    lab.store.collect().unwrap();
    let blobs = lab.store.content(&scope()).statuses(Filters::default()).await.unwrap();
    assert!(blobs.iter().all(|status| status.reference.starts_with("layer-")), "{blobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_come_in_any_order_and_compression() {
    for flavor in [Flavor::Oci, Flavor::Docker] {
        let image = image(flavor);
        for first in [true, false] {
            let plain = layout(&image, &[named(&image, "docker.io/library/app:1")], first);
            let zstd = zstd::bulk::compress(&plain, 1).unwrap();
            for archive in [gzip(&plain), zstd, plain] {
                let lab = lab();
                let made = take(&lab.store, &archive).await.unwrap();
                assert_eq!(made[0].name, "docker.io/library/app:1");
                assert_eq!(made[0].target.digest, image.root.digest);
                assert!(made[0].target.annotations.is_empty());
                is_whole(&lab, &made[0], &image).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_as_good() {
    let (lab, image) = (lab(), image(Flavor::Oci));
    let folder = lab.dir.path().join("layout");
    image.write_layout(&folder, "v1");
    let made = import(&lab.store).run(Source::Layout(folder.clone())).await.unwrap();
    assert_eq!(made[0].name, "imported:v1");
    is_whole(&lab, &made[0], &image).await;
    std::fs::remove_file(folder.join("index.json")).unwrap();
    let error = import(&lab.store).run(Source::Layout(folder)).await.unwrap_err();
    assert!(error.chain().contains("no file index.json"), "{}", error.chain());
}

/// As `docker save` did for years: folders with layers and links between them, described at the end.
fn docker_archive(image: &Image, described_first: bool) -> Vec<u8> {
    let manifest: serde_json::Value =
        serde_json::from_slice(image.bytes(&image.root.digest)).unwrap();
    let digest = manifest["config"]["digest"].as_str().unwrap();
    let config = image.bytes(&lamina_core::Digest::parse(digest).unwrap()).clone();
    let layer = |n: usize| image.bytes(&image.layers[n].digest).clone();
    let description = json!([{
        "Config": "config.json", "RepoTags": ["app:1", "other/app:2"],
        "Layers": ["a/layer.tar", "b/layer.tar"],
    }]);
    let description = Entry::file("manifest.json", description.to_string());
    let mut entries = vec![
        Entry::file("a/VERSION", "1.0"),
        Entry::file("a/layer.tar", layer(0)),
        Entry::file("real.tar", layer(1)),
        Entry::symlink("b/layer.tar", "../real.tar"),
        Entry::file("config.json", config),
        Entry::file("repositories", "{}"),
    ];
    entries.insert(if described_first { 0 } else { entries.len() }, description);
    TarBuilder::archive(entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_docker_saved_is_loaded() {
    let image = image(Flavor::Docker);
    let lab1 = lab();
    let made = take(&lab1.store, &docker_archive(&image, false)).await.unwrap();
    let names: Vec<&str> = made.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["docker.io/library/app:1", "docker.io/other/app:2"]);
    assert_eq!(made[0].target.media_type, media_type::DOCKER_MANIFEST);
    is_whole(&lab1, &made[0], &image).await;

    let lab2 = lab();
    let mut packed = import(&lab2.store);
    packed.force_compress = true;
    let archive = stream(&docker_archive(&image, false), 1 << 20);
    let made = packed.run(Source::Archive(archive)).await.unwrap();
    is_whole(&lab2, &made[0], &image).await;
    let content = lab2.store.content(&scope());
    let contents = Contents::of(&*content, &made[0].target, Limits::STANDARD).await.unwrap();
    let layers = &contents.parts[0].manifest.layers;
    assert!(layers.iter().all(|layer| layer.media_type == media_type::DOCKER_LAYER_GZIP));
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_the_same_bytes_and_come_back() {
    let image = image(Flavor::Oci);
    let archive = layout(&image, &[named(&image, "docker.io/library/app:1")], true);
    let lab1 = lab();
    let made = take(&lab1.store, &archive).await.unwrap();
    let one = export(&lab1.store, &made, Some(amd64())).await.unwrap();
    let again = [made.clone(), made.clone()].concat();
    assert_eq!(one, export(&lab1.store, &again, Some(amd64())).await.unwrap());
    let lab2 = lab();
    let back = take(&lab2.store, &one).await.unwrap();
    assert_eq!((&back[0].name, &back[0].target), (&made[0].name, &made[0].target));
    is_whole(&lab2, &back[0], &image).await;
    assert_eq!(one, export(&lab2.store, &back, Some(amd64())).await.unwrap());
    let error =
        export(&lab1.store, &made, Some(Platform::new("linux", "arm64"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.chain().contains("linux/amd64"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_platform_or_all() {
    let arm64 = Platform::new("linux", "arm64");
    let images = [image(Flavor::Oci), builder(Flavor::Oci, &arm64, "arm").build()];
    let index = Image::index(Flavor::Oci, [(amd64(), &images[0]), (arm64.clone(), &images[1])]);
    let archive = layout(&index, &[named(&index, "app:1")], false);
    let lab1 = lab();
    let made = take(&lab1.store, &archive).await.unwrap();
    assert_eq!(made[0].target.digest, index.root.digest);
    is_whole(&lab1, &made[0], &images[0]).await;
    let all = export(&lab1.store, &made, None).await.unwrap();
    let one = export(&lab1.store, &made, Some(arm64)).await.unwrap();
    assert!(one.len() < all.len());

    let lab2 = lab();
    let back = take(&lab2.store, &one).await.unwrap();
    assert_eq!(back[0].target.digest, index.root.digest);
    let error = export(&lab2.store, &back, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());

    let lab3 = lab();
    let mut only = import(&lab3.store);
    only.platforms = Some(Matcher::only(&amd64()));
    only.index_names = vec!["whole:1".to_owned()];
    let made = only.run(Source::Archive(stream(&all, 1000))).await.unwrap();
    let names: Vec<&str> = made.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["app:1", "whole:1"]);
    // The other layer is the same for both.
    let layer = &images[1].layers[0];
    let absent = lab3.store.content(&scope()).info(&layer.digest).await.unwrap_err();
    assert_eq!(absent.kind(), Kind::NotFound, "a layer of the other platform");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives_leave_no_record() {
    let image = image(Flavor::Oci);
    let good = layout(&image, &[named(&image, "a:1")], false);
    let without = |digest: &lamina_core::Digest| {
        let mut image = image.clone();
        image.content.remove(digest);
        layout(&image, &[named(&image, "a:1")], true)
    };
    let mut other = builder(Flavor::Oci, &amd64(), "2").build();
    let twice = [named(&image, "a:1"), named(&other, "a:1")];
    other.content.extend(image.content.clone());
    let mut wrong = image.clone();
    if let Some(content) = wrong.content.get_mut(&image.layers[1].digest) {
        content.bytes = Bytes::from(vec![9; content.bytes.len()]);
    }
    let file = |name: &str, content: &str| TarBuilder::archive([Entry::file(name, content)]);
    let packed = gzip(&good);
    let huge = "x".repeat(Limits::STANDARD.bytes + 1);
    let outside = json!([{"Config": "c", "Layers": []}]).to_string();
    let outside = TarBuilder::archive([
        Entry::symlink("c", "/etc/passwd"),
        Entry::file("manifest.json", outside),
    ]);
    let cases: [(&str, Vec<u8>, Kind, &str); 15] = [
        (
            "lacks a layer",
            without(&image.layers[1].digest),
            Kind::InvalidArgument,
            "lacks the layer",
        ),
        (
            "lacks its manifest",
            without(&image.root.digest),
            Kind::InvalidArgument,
            "lacks the manifest",
        ),
        ("one name for two", layout(&other, &twice, true), Kind::InvalidArgument, "two images"),
        (
            "wrong digest, known",
            layout(&wrong, &[named(&image, "a:1")], false),
            Kind::FailedPrecondition,
            "blobs/sha256/",
        ),
        (
            "wrong digest, unknown",
            layout(&wrong, &[named(&image, "a:1")], true),
            Kind::FailedPrecondition,
            "blobs/sha256/",
        ),
        ("cut off", good[..good.len() / 2].to_vec(), Kind::DataLoss, "ends within"),
        (
            "cut off gzip",
            packed[..packed.len() - 100].to_vec(),
            Kind::DataLoss,
            "gzip is damaged or cut off",
        ),
        ("no archive", vec![b'x'; 4096], Kind::DataLoss, "no tar archive"),
        ("empty", Vec::new(), Kind::InvalidArgument, "empty"),
        ("nothing in it", file("hello", "x"), Kind::InvalidArgument, "holds no images"),
        ("an absolute name", file("/etc/x", "x"), Kind::InvalidArgument, "outside"),
        ("a name with ..", file("a/../../x", "x"), Kind::InvalidArgument, "outside"),
        ("a huge index", file("index.json", &huge), Kind::ResourceExhausted, "index.json"),
        ("a link outside", outside, Kind::InvalidArgument, "leads out of the archive"),
        ("no digest", file("blobs/sha256/xyz", "x"), Kind::InvalidArgument, "blobs/sha256/xyz"),
    ];
    for (what, archive, kind, says) in cases {
        let lab = lab();
        let error = take(&lab.store, &archive).await.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {}", error.chain());
        assert!(error.chain().contains(says), "{what}: {}", error.chain());
        nothing_is_named(&lab).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conversions_keep_config_and_files() {
    let image = image(Flavor::Docker);
    let lab = lab();
    let archive = layout(&image, &[named(&image, "app:1")], true);
    let record = take(&lab.store, &archive).await.unwrap().remove(0);
    let content = lab.store.content(&scope());
    let parts = |record: Record| {
        let content = content.clone();
        async move {
            let mut contents =
                Contents::of(&*content, &record.target, Limits::STANDARD).await.unwrap();
            assert_eq!(contents.missing, []);
            contents.parts.remove(0)
        }
    };
    let before = parts(record.clone()).await;
    for (compression, oci, kind) in [
        (Packing::Zstd, true, media_type::OCI_LAYER_ZSTD),
        (Packing::None, true, media_type::OCI_LAYER),
        (Packing::Gzip, false, media_type::DOCKER_LAYER_GZIP),
    ] {
        let convert = Convert {
            host: Arc::new(lab.store.clone()),
            scope: scope(),
            platforms: Some(Matcher::only(&amd64())),
            compression: Some(compression),
            oci,
            limits: Limits::STANDARD,
        };
        let made = convert.run(&record, "made:1").await.unwrap();
        assert_eq!(convert.run(&record, "made:1").await.unwrap().target, made.target);
        lab.store.collect().unwrap();
        let after = parts(made).await;
        assert_eq!(after.manifest.config.digest, before.manifest.config.digest);
        assert!(after.manifest.layers.iter().all(|layer| layer.media_type == kind), "{after:?}");
        let snapshots = lab.store.images(&scope());
        let made = snapshots.get("made:1").await.unwrap();
        let host: Arc<dyn Host> = Arc::new(lab.store.clone());
        lamina_image::unpack::unpack(&*host, &scope(), "native", &made, None, Limits::STANDARD)
            .await
            .unwrap();
    }
    let convert = Convert {
        host: Arc::new(lab.store.clone()),
        scope: scope(),
        platforms: Some(Matcher::only(&Platform::new("linux", "s390x"))),
        compression: None,
        oci: false,
        limits: Limits::STANDARD,
    };
    assert_eq!(convert.run(&record, "no:1").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(lab.store.images(&scope()).get("no:1").await.unwrap_err().kind(), Kind::NotFound);
}
