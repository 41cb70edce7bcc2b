//! Whole pulls of bad images and from registries that misbehave, into a real store: the error says
//! what is wrong with what, nothing half is there, and the next pull goes on where it can.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use lamina_core::lease::ResourceType;
use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{
    Descriptor, Digest, Filters, Host as _, Kind, Labels, Namespace, Platform, Reference, Result,
    Scope,
};
use lamina_image::pull::{Flights, Platforms, Pull, Pulled, Silent};
use lamina_image::registry::{Anonymous, Config, Limits as Caps, Registry, Retry};
use lamina_store::fsck::FsckOptions;
use lamina_store::{Options, Store};
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::registry::{Fault, On, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::{Value, json};

const REPOSITORY: &str = "library/app";
const NATIVE: &str = "native";

/// A store and a registry, gone when the test ends.
struct Lab {
    registry: TestRegistry,
    store: Store,
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(dir.path().join("root"), dir.path().join("state"));
        Lab { registry: TestRegistry::start(), store: Store::open(options).unwrap(), dir }
    }

    async fn pull(&self) -> Result<Pulled> {
        self.pull_by(Vec::new(), Some(NATIVE)).await
    }

    /// Pulls by the `hosts.toml` in `hosts_dirs`, unpacking or not.
    async fn pull_by(&self, hosts_dirs: Vec<PathBuf>, snapshotter: Option<&str>) -> Result<Pulled> {
        let reference = Reference::parse(&format!("{}/{REPOSITORY}:1", self.registry.host()))?;
        let client = Registry::new(Config {
            plain_http: true,
            hosts_dirs,
            retry: Retry { attempts: 2, pause: Duration::from_millis(1), ..Retry::default() },
            limits: Caps { manifest: 64 << 10, ..Caps::default() },
            ..Config::default()
        })?;
        let pull = Pull {
            repository: client.repository(&reference, Arc::new(Anonymous)).await?,
            name: reference.to_string(),
            host: Arc::new(self.store.clone()),
            scope: scope(),
            platforms: Platforms::Best(Matcher::only(&amd64())),
            snapshotter: snapshotter.map(str::to_owned),
            labels: Labels::new(),
            downloads: 3,
            limits: Limits::STANDARD,
            progress: Arc::new(Silent),
        };
        pull.run(&Flights::new()).await
    }

    /// The pull fails with `kind` and a message that has all of `says`, and makes no record.
    async fn fails(&self, name: &str, kind: Kind, says: &[&str]) {
        let error = self.pull().await.err().unwrap_or_else(|| panic!("{name}: the pull succeeded"));
        let chain = error.chain();
        assert_eq!(error.kind(), kind, "{name}: {chain}");
        for part in says {
            assert!(chain.contains(part), "{name}: {part:?} is not in: {chain}");
        }
        assert_eq!(self.store.images(&scope()).list(Filters::default()).await.unwrap(), []);
    }

    /// Without the lease of the failed pull, nothing of it is left.
    async fn leaves_nothing(&self, name: &str) {
        let leases = self.store.leases(&scope());
        let held = leases.list(Filters::default()).await.unwrap();
        assert_eq!(held.len(), 1, "{name}: one lease holds what a failed pull left: {held:?}");
        assert!(held[0].labels.contains_key("lamina.dev/pull"), "{name}: {held:?}");
        leases.delete(&held[0].id, true).await.unwrap();
        self.collect_ingests(name).await;
        let content = self.store.content_now(&scope());
        let blobs = content.page_now(&mut String::new(), &Filters::default(), 100).unwrap();
        assert_eq!(blobs, [], "{name}: blobs");
        let snapshotter = self.store.snapshotter(&scope(), NATIVE).unwrap();
        let snapshots = snapshotter.walk(Filters::default()).try_concat().await.unwrap();
        assert_eq!(snapshots, [], "{name}: snapshots");
    }

    /// Collects until no ingest is left: the writer of a failed pull keeps one busy until its last
    /// bytes are saved.
    async fn collect_ingests(&self, name: &str) {
        for _ in 0..500 {
            let busy = self.store.collect().unwrap().busy;
            let ingests = self.ingests();
            if busy.is_empty() {
                assert_eq!(ingests, Vec::<String>::new(), "{name}: ingests");
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name}: an ingest is still open, though its pull has ended");
    }

    /// The references of all ingests.
    fn ingests(&self) -> Vec<String> {
        let statuses = self.store.content_now(&scope()).statuses_now(&Filters::default()).unwrap();
        statuses.into_iter().map(|status| status.reference).collect()
    }

    /// Behaves again, serves `image`, and the pull of it gives the whole tree.
    async fn recovers(&self, name: &str, image: &Image) {
        self.registry.clear_faults();
        self.registry.push(REPOSITORY, "1", image);
        let pulled = self.pull().await;
        let pulled = pulled.unwrap_or_else(|e| panic!("{name}: the next pull: {}", e.chain()));
        assert_eq!(pulled.image.target.digest, image.root.digest, "{name}");
        let snapshots = self.store.snapshots(&scope(), NATIVE).unwrap();
        let top = pulled.unpacked[0].as_str();
        let mounts = snapshots.view_now("look", top, Labels::new()).unwrap();
        let root = Path::new(&mounts[0].source);
        assert_eq!(std::fs::read(root.join("etc/one")).unwrap(), b"1", "{name}");
        assert_eq!(std::fs::read(root.join("big")).unwrap(), noise(), "{name}");
        let leases = self.store.leases(&scope()).list(Filters::default()).await.unwrap();
        assert_eq!(leases, [], "{name}: the lease of the failed pull went with the next");
    }

    /// Serves `manifest` as the tag.
    fn push_manifest(&self, manifest: &Value, media_type: &str) -> Descriptor {
        self.registry.push_manifest(REPOSITORY, "1", media_type, manifest.to_string())
    }

    /// Serves `image` with its manifest edited.
    fn push_edited(&self, image: &Image, edit: impl FnOnce(&mut Value)) -> Descriptor {
        self.registry.push(REPOSITORY, "1", image);
        let mut manifest = manifest(image);
        edit(&mut manifest);
        self.push_manifest(&manifest, &image.root.media_type)
    }
}

fn scope() -> Scope {
    Scope::new(Namespace::new("default").unwrap())
}

fn amd64() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

/// Bytes that do not compress, so that a layer can be cut in its middle.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(300_000).collect()
}

fn builder() -> ImageBuilder {
    ImageBuilder::new(Flavor::Oci).platform(amd64())
}

/// Three layers: small, big, small.
fn image() -> Image {
    builder()
        .layer(TarBuilder::archive([Entry::file("etc/one", "1")]))
        .layer_as(TarBuilder::archive([Entry::file("big", noise())]), Compression::None)
        .layer_as(TarBuilder::archive([Entry::file("three", "3")]), Compression::Zstd)
        .build()
}

fn manifest(image: &Image) -> Value {
    serde_json::from_slice(image.bytes(&image.root.digest)).unwrap()
}

fn config_digest(image: &Image) -> Digest {
    Digest::parse(manifest(image)["config"]["digest"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_spoils_is_told_and_leaves_nothing() {
    let image = image();
    let (manifest, config) = (image.root.digest.clone(), config_digest(&image));
    let layer = image.layers[1].digest.clone();
    let refused = Kind::FailedPrecondition;
    let by = On::digest;
    let cases: Vec<(&str, On, Fault, Kind, Vec<&str>)> = vec![
        (
            "manifest of another digest",
            by(&manifest),
            Fault::Flip,
            refused,
            vec![manifest.as_str(), "the digest is"],
        ),
        (
            "config of another digest",
            by(&config),
            Fault::Flip,
            refused,
            vec![config.as_str(), "the digest is"],
        ),
        ("layer of another digest", by(&layer), Fault::Flip, refused, vec![layer.as_str()]),
        (
            "manifest cut",
            by(&manifest),
            Fault::EndAfter(20),
            refused,
            vec![manifest.as_str(), "20 came"],
        ),
        ("config cut", by(&config), Fault::EndAfter(20), refused, vec![config.as_str(), "20 came"]),
        (
            "layer cut",
            by(&layer),
            Fault::EndAfter(1000),
            refused,
            vec![layer.as_str(), "ends after"],
        ),
        (
            "manifest empty",
            by(&manifest),
            Fault::Empty,
            refused,
            vec![manifest.as_str(), "the answer is empty"],
        ),
        (
            "config empty",
            by(&config),
            Fault::Empty,
            refused,
            vec![config.as_str(), "the answer is empty"],
        ),
        ("layer empty", by(&layer), Fault::Empty, refused, vec![layer.as_str(), "is empty, but"]),
        (
            "page for the manifest",
            On::manifests(),
            Fault::Html,
            refused,
            vec!["a web page", "Log in, please"],
        ),
        ("page for the config", by(&config), Fault::Html, refused, vec!["a web page"]),
        (
            "layer too long",
            by(&layer),
            Fault::Surplus(1),
            refused,
            vec![layer.as_str(), "more than the"],
        ),
        (
            "layer of another length",
            by(&layer),
            Fault::Length(1),
            refused,
            vec![layer.as_str(), "were announced"],
        ),
        (
            "endless manifest",
            by(&manifest),
            Fault::Endless,
            refused,
            vec![manifest.as_str(), "more came"],
        ),
        (
            "endless tag",
            On::manifests(),
            Fault::Endless,
            Kind::ResourceExhausted,
            vec!["manifests/1", "more than 65536 bytes"],
        ),
        (
            "missing layer",
            by(&layer),
            Fault::status(404),
            Kind::NotFound,
            vec![layer.as_str(), "404"],
        ),
        (
            "missing image",
            On::manifests(),
            Fault::status(404),
            Kind::NotFound,
            vec!["manifests/1", "404"],
        ),
        ("dies at the layer", by(&layer), Fault::Close, Kind::Unavailable, vec![layer.as_str()]),
        (
            "dies in the layer",
            by(&layer),
            Fault::DropAfter(0),
            Kind::Unavailable,
            vec![layer.as_str(), "broke off"],
        ),
        (
            "redirect to a link-local address",
            by(&layer),
            Fault::Redirect("http://169.254.169.254/secret".to_owned()),
            Kind::PermissionDenied,
            vec!["link-local", "169.254.169.254"],
        ),
        (
            "redirect to a file",
            by(&layer),
            Fault::Redirect("file:///etc/passwd".to_owned()),
            Kind::PermissionDenied,
            vec!["neither https nor http"],
        ),
    ];
    for (name, on, fault, kind, says) in cases {
        let lab = Lab::new();
        lab.registry.push(REPOSITORY, "1", &image);
        lab.registry.fault(on, fault);
        lab.fails(name, kind, &says).await;
        lab.leaves_nothing(name).await;
        lab.recovers(name, &image).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_lie_are_told_and_leave_nothing() {
    type Spoil = fn(&Lab, &Image);
    let cases: [(&str, Spoil, Kind, &[&str]); 10] = [
        (
            "a layer is larger than announced",
            |lab, image| {
                let size = image.layers[1].size - 1;
                lab.push_edited(image, |m| m["layers"][1]["size"] = json!(size));
            },
            Kind::FailedPrecondition,
            &["were announced"],
        ),
        (
            "a config is smaller than announced",
            |lab, image| drop(lab.push_edited(image, |m| m["config"]["size"] = json!(9_999))),
            Kind::FailedPrecondition,
            &["9999 bytes were announced"],
        ),
        (
            "index and manifest in one",
            |lab, image| drop(lab.push_edited(image, |m| m["manifests"] = json!([]))),
            Kind::InvalidArgument,
            &["ambiguous"],
        ),
        (
            "unknown media type",
            |lab, image| {
                let mut manifest = manifest(image);
                manifest["mediaType"] = json!("application/vnd.example.song");
                lab.push_manifest(&manifest, "application/vnd.example.song");
            },
            Kind::Unimplemented,
            &["application/vnd.example.song", "neither an image nor an index"],
        ),
        (
            "fewer layers than diff IDs",
            |lab, image| {
                lab.push_edited(image, |m| drop(m["layers"].as_array_mut().unwrap().pop()));
            },
            Kind::InvalidArgument,
            &["3 diff IDs", "2 layers"],
        ),
        (
            "two layers in the wrong order",
            |lab, image| {
                lab.push_edited(image, |m| m["layers"].as_array_mut().unwrap().swap(0, 1));
            },
            Kind::DataLoss,
            &["diff ID"],
        ),
        (
            "a layer that is no archive, CVE-2021-20291",
            |lab, _| drop(lab.registry.push(REPOSITORY, "1", &builder().layer(noise()).build())),
            Kind::InvalidArgument,
            &["does not begin like a tar archive"],
        ),
        (
            "a digest that is a path, CVE-2024-3727",
            |lab, image| {
                let path = format!("sha256:{}", "../".repeat(21) + "x");
                lab.push_edited(image, |m| m["layers"][1]["digest"] = json!(path));
            },
            Kind::InvalidArgument,
            &["digest"],
        ),
        (
            "no layers, CVE-2026-24054",
            |lab, _| drop(lab.registry.push(REPOSITORY, "1", &builder().build())),
            Kind::FailedPrecondition,
            &["no layers"],
        ),
        (
            "no such platform",
            |lab, _| {
                let other = |name| Platform::parse(name).unwrap();
                let (arm, s390) = (other("linux/arm64"), other("linux/s390x"));
                let image = image();
                let index = Image::index(Flavor::Oci, [(arm, &image), (s390, &image)]);
                lab.registry.push(REPOSITORY, "1", &index);
            },
            Kind::NotFound,
            &["linux/arm64", "linux/s390x"],
        ),
    ];
    let good = image();
    for (name, spoil, kind, says) in cases {
        let lab = Lab::new();
        spoil(&lab, &good);
        lab.fails(name, kind, says).await;
        lab.leaves_nothing(name).await;
        lab.recovers(name, &good).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_cannot_replace_the_root() {
    let good = image();
    for entry in [Entry::file("/", "x"), Entry::symlink("./", "/tmp")] {
        let lab = Lab::new();
        let bad = builder().layer(TarBuilder::archive([entry])).build();
        lab.registry.push(REPOSITORY, "1", &bad);
        let layer = bad.layers[0].digest.as_str();
        lab.fails("root", Kind::InvalidArgument, &[layer, "the root can only be"]).await;
        lab.leaves_nothing("root").await;
        lab.recovers("root", &good).await;
    }
}

/// Names are taken as below the image's root, whatever they climb over; links in the image are
/// never followed out of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_cannot_leave_the_root() {
    let lab = Lab::new();
    let outside = lab.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let image = builder()
        .layer(TarBuilder::archive([
            Entry::file("../../../../climbed", "in"),
            Entry::symlink("way", outside.to_str().unwrap()),
        ]))
        .layer(TarBuilder::archive([Entry::file("way/through", "in")]))
        .build();
    lab.registry.push(REPOSITORY, "1", &image);
    let pulled = lab.pull().await.unwrap_or_else(|e| panic!("{}", e.chain()));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing came out");
    let snapshots = lab.store.snapshots(&scope(), NATIVE).unwrap();
    let mounts = snapshots.view_now("look", pulled.unpacked[0].as_str(), Labels::new()).unwrap();
    let root = Path::new(&mounts[0].source);
    assert_eq!(std::fs::read(root.join("climbed")).unwrap(), b"in");
}

/// What was received before the registry went away is not fetched again, to the byte; a lease held it.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_pull_fetches_only_what_is_missing() {
    let long = noise().repeat(11);
    let image = builder()
        .layer(TarBuilder::archive([Entry::file("etc/one", "1"), Entry::file("big", noise())]))
        .layer_as(TarBuilder::archive([Entry::file("long", long)]), Compression::None)
        .build();
    let layer = &image.layers[1];
    // Bytes cross to the disk in batches of 1 MiB: within the first one, and in the middle of a later.
    for sent in [100_000, 2_500_000] {
        let lab = Lab::new();
        lab.registry.push(REPOSITORY, "1", &image);
        lab.registry.fault(On::digest(&layer.digest).once(), Fault::DropAfter(sent));
        lab.registry.fault(On::digest(&layer.digest), Fault::status(503));
        lab.fails("gone", Kind::Unavailable, &[layer.digest.as_str(), "503"]).await;
        // What nobody holds would go now.
        lab.store.collect().unwrap();
        lab.registry.forget();
        lab.recovers("gone", &image).await;
        let requests = lab.registry.requests();
        let asked = requests.iter().find(|r| r.path.contains(layer.digest.as_str())).unwrap();
        let range = format!("bytes={sent}-{}", layer.size - 1);
        assert_eq!(asked.header("range"), Some(range.as_str()), "cut after {sent}");
        assert_eq!(lab.registry.bytes_sent(&layer.digest), layer.size - sent, "cut after {sent}");
    }
}

/// A pull that is given up in the middle of a layer keeps what it had as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_dropped_goes_on_where_it_was() {
    let lab = Lab::new();
    let image = image();
    lab.registry.push(REPOSITORY, "1", &image);
    let layer = &image.layers[1];
    let slow = Fault::Slow(100_000, Duration::from_millis(400));
    lab.registry.fault(On::digest(&layer.digest), slow);
    let pull = tokio::time::timeout(Duration::from_secs(1), lab.pull()).await;
    assert!(pull.is_err(), "the layer takes longer than that");
    lab.registry.forget();
    lab.recovers("dropped", &image).await;
    let requests = lab.registry.requests();
    let asked = requests.iter().find(|r| r.path.contains(layer.digest.as_str())).unwrap();
    let range = asked.header("range").unwrap_or("all of it");
    assert!(range.starts_with("bytes=100000-") || range.starts_with("bytes=200000-"), "{range}");
}

/// Half a layer belongs to the lease of the pull that brought it: with it, it stays, and goes.
#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_lives_and_dies_with_the_lease_of_its_pull() {
    let lab = Lab::new();
    let image = image();
    lab.registry.push(REPOSITORY, "1", &image);
    let layer = &image.layers[1].digest;
    lab.registry.fault(On::digest(layer).once(), Fault::DropAfter(1000));
    lab.registry.fault(On::digest(layer), Fault::status(503));
    lab.fails("cut", Kind::Unavailable, &[layer.as_str()]).await;
    let reference = format!("layer-{layer}");
    let leases = lab.store.leases(&scope());
    let lease = leases.list(Filters::default()).await.unwrap().remove(0);
    let held = leases.resources(&lease.id).await.unwrap();
    let held = held.iter().any(|r| r.kind == ResourceType::Ingest && r.id == reference);
    assert!(held, "the lease names the ingest");
    lab.store.collect().unwrap();
    assert!(lab.ingests().contains(&reference), "held");
    lab.leaves_nothing("cut").await;
}

/// A mirror with wrong bytes is passed over: they are dropped and the next host is asked for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_wrong_bytes_is_passed_over() {
    let image = image();
    for snapshotter in [Some(NATIVE), None] {
        // Found out by the digest only, and already by the unpacking.
        for layer in &image.layers {
            let (lab, mirror) = (Lab::new(), TestRegistry::start());
            lab.registry.push(REPOSITORY, "1", &image);
            mirror.push(REPOSITORY, "1", &image);
            mirror.fault(On::digest(&layer.digest), Fault::Flip);
            let hosts = lab.dir.path().join("hosts");
            let own = hosts.join(lab.registry.host());
            std::fs::create_dir_all(&own).unwrap();
            let (upstream, first) = (lab.registry.url(), mirror.url());
            let toml = format!("server = {upstream:?}\n[host.{first:?}]\n");
            std::fs::write(own.join("hosts.toml"), toml).unwrap();
            let pulled = lab.pull_by(vec![hosts.clone()], snapshotter).await;
            pulled.unwrap_or_else(|e| panic!("{snapshotter:?}: {}", e.chain()));
            assert_eq!(mirror.bytes_sent(&layer.digest), layer.size, "asked first, once");
            for other in &image.layers {
                let wanted = if other == layer { layer.size } else { 0 };
                assert_eq!(lab.registry.bytes_sent(&other.digest), wanted, "only the bad one");
            }
            let report = lab.store.fsck(FsckOptions { verify_blobs: true, repair: false }).unwrap();
            assert!(report.is_clean(), "{report:?}");
            assert_eq!(lab.ingests(), Vec::<String>::new());
            // When the registry itself is wrong as well, there is nobody left to ask.
            let lab = Lab::new();
            lab.registry.push(REPOSITORY, "1", &image);
            lab.registry.fault(On::digest(&layer.digest), Fault::Flip);
            let own = hosts.join(lab.registry.host());
            std::fs::create_dir_all(&own).unwrap();
            let toml = format!("server = {:?}\n[host.{first:?}]\n", lab.registry.url());
            std::fs::write(own.join("hosts.toml"), toml).unwrap();
            let error = lab.pull_by(vec![hosts], snapshotter).await.unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition, "{}", error.chain());
            lab.leaves_nothing("both wrong").await;
        }
    }
}
