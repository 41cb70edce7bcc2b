//! Pushes into a registry that counts, and misbehaves when told to; and into one that others wrote.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use lamina_core::image::Image as Record;
use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{Digest, Host, Kind, Labels, Namespace, Platform, Reference, Result, Scope};
use lamina_image::pull::{Flights, Platforms, Pull, Silent};
use lamina_image::push::Push;
use lamina_image::registry::{
    Anonymous, Config, Credential, Credentials, ForHost, Registry, Secret,
};
use lamina_store::{Options as StoreOptions, Store};
use lamina_testkit::honest::{self, HonestRegistry};
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::or_skip;
use lamina_testkit::registry::{Access, Fault, On, Options, Record as Asked, TestRegistry, Tokens};
use lamina_testkit::tar::{Entry, TarBuilder};

struct Lab {
    _dir: tempfile::TempDir,
    store: Store,
    from: TestRegistry,
}

fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let store =
        Store::open(StoreOptions::new(dir.path().join("root"), dir.path().join("state"))).unwrap();
    Lab { _dir: dir, store, from: TestRegistry::start() }
}

fn scope(name: &str) -> Scope {
    Scope::new(Namespace::new(name).unwrap())
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

/// The upper layer is large enough to break off within it.
fn image(flavor: Flavor, platform: &Platform) -> Image {
    let noise: Vec<u8> =
        (0..600_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    ImageBuilder::new(flavor)
        .platform(platform.clone())
        .layer(TarBuilder::archive([Entry::file("one", platform.to_string())]))
        .layer_as(TarBuilder::archive([Entry::file("two", noise)]), Compression::None)
        .build()
}

fn client() -> Registry {
    let mut config = Config { plain_http: true, ..Config::default() };
    config.retry.pause = Duration::from_millis(1);
    Registry::new(config).unwrap()
}

async fn pull_as(lab: &Lab, image: &Image, namespace: &str, platforms: Platforms) -> Record {
    lab.from.push("base/app", "1", image);
    let reference = Reference::parse(&format!("{}/base/app:1", lab.from.host())).unwrap();
    let pull = Pull {
        repository: client().repository(&reference, Arc::new(Anonymous)).await.unwrap(),
        name: "app:1".to_owned(),
        host: Arc::new(lab.store.clone()),
        scope: scope(namespace),
        platforms,
        snapshotter: Some("native".to_owned()),
        labels: Labels::new(),
        downloads: 3,
        limits: Limits::STANDARD,
        progress: Arc::new(Silent),
    };
    pull.run(&Flights::new()).await.unwrap().image
}

async fn pull(lab: &Lab, image: &Image) -> Record {
    pull_as(lab, image, "default", Platforms::All).await
}

struct Going<'a> {
    lab: &'a Lab,
    host: String,
    namespace: &'a str,
    platforms: Option<Matcher>,
    what_is_here: bool,
    chunk: Option<u64>,
    credentials: Arc<dyn Credentials>,
}

fn going<'a>(lab: &'a Lab, host: &str) -> Going<'a> {
    Going {
        lab,
        host: host.to_owned(),
        namespace: "default",
        platforms: None,
        what_is_here: false,
        chunk: None,
        credentials: Arc::new(Anonymous),
    }
}

impl Going<'_> {
    async fn push(self, record: &Record) -> Result<Digest> {
        let reference = Reference::parse(&format!("{}/pushed/app:2", self.host))?;
        let push = Push {
            content: self.lab.store.content(&scope(self.namespace)),
            repository: client().destination(&reference, self.credentials).await?,
            platforms: self.platforms,
            what_is_here: self.what_is_here,
            uploads: 2,
            chunk: self.chunk,
            limits: Limits::STANDARD,
            progress: Arc::new(Silent),
        };
        push.run(&record.target).await.map(|target| target.digest)
    }
}

fn asked<'a>(records: &'a [Asked], method: &str) -> Vec<&'a Asked> {
    records.iter().filter(|record| record.method == method).collect()
}

/// All of the image is there, byte by byte, and the tag stands for it.
fn is_there(registry: &TestRegistry, image: &Image) {
    for (digest, content) in &image.content {
        let (_, bytes) = registry.content("pushed/app", digest.as_str()).unwrap();
        assert_eq!(bytes, content.bytes);
    }
    let (media_type, bytes) = registry.content("pushed/app", "2").unwrap();
    assert_eq!(Digest::sha256(&bytes), image.root.digest);
    assert_eq!(media_type, image.root.media_type);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_an_image_goes_once() {
    for flavor in [Flavor::Oci, Flavor::Docker] {
        let arm64 = Platform::new("linux", "arm64");
        let images = [image(flavor, &amd64()), image(flavor, &arm64)];
        let index = Image::index(flavor, [(amd64(), &images[0]), (arm64, &images[1])]);
        let (lab, to) = (lab(), TestRegistry::start());
        let record = pull(&lab, &index).await;
        going(&lab, &to.host()).push(&record).await.unwrap();
        is_there(&to, &index);
        let last = to.requests().pop().unwrap();
        assert_eq!((last.method.as_str(), last.path.ends_with("/manifests/2")), ("PUT", true));
        to.forget();
        going(&lab, &to.host()).push(&record).await.unwrap();
        assert!(to.requests().iter().all(|asked| asked.method == "HEAD"), "{:?}", to.requests());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_repository_has_is_taken_from_there() {
    let (lab, image) = (lab(), image(Flavor::Oci, &amd64()));
    let record = pull(&lab, &image).await;
    lab.from.forget();
    going(&lab, &lab.from.host()).push(&record).await.unwrap();
    is_there(&lab.from, &image);
    let requests = lab.from.requests();
    assert_eq!(asked(&requests, "PUT").len(), 1, "the manifest only: {requests:?}");
    let mounts = asked(&requests, "POST");
    assert!(mounts.iter().all(|post| post.query.contains("from=base/app")), "{mounts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_off_goes_on_where_the_registry_says() {
    let (lab, image) = (lab(), image(Flavor::Oci, &amd64()));
    let record = pull(&lab, &image).await;
    for (chunk, method) in [(None, "PUT"), (Some(250_000), "PATCH")] {
        let to = TestRegistry::start();
        let size = image.layers[1].size;
        to.fault(
            On::path("/blobs/uploads/").method(method).after(usize::from(chunk.is_none())).once(),
            Fault::TakeOnly(100_000),
        );
        let mut going = going(&lab, &to.host());
        going.chunk = chunk;
        // The small layer first, so that it is the large one that breaks off.
        to.push_blob("pushed/app", "x", image.bytes(&image.layers[0].digest).clone());
        let config = image.content.keys().find(|digest| {
            **digest != image.root.digest && image.layers.iter().all(|l| l.digest != **digest)
        });
        if chunk.is_some() {
            to.push_blob("pushed/app", "x", image.bytes(config.unwrap()).clone());
        }
        let pushed = going.push(&record).await;
        let requests = to.requests();
        pushed.unwrap_or_else(|e| panic!("{}: {requests:?}", e.chain()));
        is_there(&to, &image);
        if chunk.is_some() {
            let ranges: Vec<_> = asked(&requests, "PATCH")
                .iter()
                .filter_map(|patch| patch.header("content-range").map(str::to_owned))
                .collect();
            let last = format!("350000-{}", (size - 1).min(599_999));
            assert_eq!(&ranges[..2], ["0-249999", "100000-349999"], "{ranges:?}");
            assert!(ranges[2].starts_with("350000-"), "{ranges:?} {last}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_forgot_goes_anew() {
    let (lab, image) = (lab(), image(Flavor::Oci, &amd64()));
    let record = pull(&lab, &image).await;
    let to = TestRegistry::start();
    to.fault(On::path("/blobs/uploads/").method("PUT").times(2), Fault::TakeOnly(50));
    to.fault(On::path("/blobs/uploads/").method("GET"), Fault::Forget);
    going(&lab, &to.host()).push(&record).await.unwrap();
    is_there(&to, &image);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_pass_are_waited_for() {
    let (lab, image) = (lab(), image(Flavor::Oci, &amd64()));
    let record = pull(&lab, &image).await;
    let to = TestRegistry::start();
    to.fault(On::path("/blobs/uploads/").method("POST").once(), Fault::status(503));
    to.fault(On::path("/blobs/uploads/").method("PUT").once(), Fault::status(500));
    let busy = Fault::status_with(429, "Retry-After", "0");
    to.fault(On::manifests().method("PUT").once(), busy);
    going(&lab, &to.host()).push(&record).await.unwrap();
    is_there(&to, &image);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_stay_are_told_and_nothing_is_listed() {
    let (lab, image) = (lab(), image(Flavor::Oci, &amd64()));
    let record = pull(&lab, &image).await;
    let digest = &image.layers[1].digest;
    for (fault, kind) in [
        (Fault::status(500), Kind::Unavailable),
        (Fault::Close, Kind::Unavailable),
        (Fault::status(403), Kind::PermissionDenied),
    ] {
        let to = TestRegistry::start();
        to.push_blob("pushed/app", "x", image.bytes(&image.layers[0].digest).clone());
        to.fault(On::path("/blobs/uploads/").method("PUT"), fault);
        let error = going(&lab, &to.host()).push(&record).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        let says = error.chain();
        assert!(says.contains("pushed/app:2") && says.contains("upload sha256:"), "{says}");
        assert!(to.content("pushed/app", "2").is_none());
        assert!(to.content("pushed/app", digest.as_str()).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_push_is_asked_for() {
    let (lab, image) = (lab(), image(Flavor::Docker, &amd64()));
    let record = pull(&lab, &image).await;
    let access = Access::Tokens(Tokens::for_user("me", "secret"));
    let to = TestRegistry::with(Options { access, ..Options::default() });
    let denied = going(&lab, &to.host()).push(&record).await.unwrap_err();
    assert_eq!(denied.kind(), Kind::Unauthenticated, "{}", denied.chain());
    let mut going = going(&lab, &to.host());
    let credential =
        Credential::Password { user: "me".to_owned(), password: Secret::new("secret") };
    going.credentials = Arc::new(ForHost { host: to.host(), credential });
    going.push(&record).await.unwrap();
    is_there(&to, &image);
    let requests = to.requests();
    let token = requests.iter().rev().find(|asked| asked.path == "/token").unwrap();
    assert!(token.query.contains("pull%2Cpush") || token.query.contains("pull,push"), "{token:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_platform_of_several() {
    let arm64 = Platform::new("linux", "arm64");
    let images = [image(Flavor::Oci, &amd64()), image(Flavor::Oci, &arm64)];
    let index = Image::index(Flavor::Oci, [(amd64(), &images[0]), (arm64.clone(), &images[1])]);
    let lab = lab();
    let only = Matcher::only(&amd64());
    let record = pull_as(&lab, &index, "default", Platforms::Best(only.clone())).await;
    let to = TestRegistry::start();
    let error = going(&lab, &to.host()).push(&record).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
    assert!(to.content("pushed/app", "2").is_none());
    for (here, platforms) in [(true, None), (false, Some(only))] {
        let to = TestRegistry::start();
        let mut going = going(&lab, &to.host());
        (going.what_is_here, going.platforms) = (here, platforms);
        assert_eq!(going.push(&record).await.unwrap(), images[0].root.digest);
        is_there(&to, &images[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_pushes_what_it_adopted() {
    let (lab, image) = (lab(), image(Flavor::Oci, &amd64()));
    pull(&lab, &image).await;
    lab.from.forget();
    let record = pull_as(&lab, &image, "other", Platforms::All).await;
    for layer in &image.layers {
        assert_eq!(lab.from.bytes_sent(&layer.digest), 0);
    }
    let to = TestRegistry::start();
    let mut going = going(&lab, &to.host());
    going.namespace = "other";
    going.push(&record).await.unwrap();
    is_there(&to, &image);
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_registry_takes_what_is_pushed() {
    let name = "debians_registry_takes_what_is_pushed";
    let (user, password) = honest::LOGIN;
    for login in [false, true] {
        let to = match login {
            false => HonestRegistry::start(),
            true => HonestRegistry::with_login(),
        };
        let to = or_skip!(name, to);
        let (lab, image) = (lab(), image(Flavor::Docker, &amd64()));
        let record = pull(&lab, &image).await;
        let credential =
            Credential::Password { user: user.to_owned(), password: Secret::new(password) };
        let credentials: Arc<dyn Credentials> = match login {
            true => Arc::new(ForHost { host: to.host().to_owned(), credential }),
            false => Arc::new(Anonymous),
        };
        let mut going = going(&lab, to.host());
        going.chunk = login.then_some(100_000);
        going.credentials = Arc::clone(&credentials);
        going.push(&record).await.unwrap();
        let reference = Reference::parse(&format!("{}/pushed/app:2", to.host())).unwrap();
        let repository = client().repository(&reference, credentials).await.unwrap();
        assert_eq!(repository.resolve().await.unwrap().digest, image.root.digest);
        for layer in &image.layers {
            let bytes = repository.document(layer, 1 << 20).await.unwrap();
            assert_eq!(&bytes, image.bytes(&layer.digest));
        }
    }
}
