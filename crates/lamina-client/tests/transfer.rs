//! Transfers through a daemon, from a registry that counts.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are tests.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lamina_core::credentials::{Credential, CredentialRequest, Credentials, ForHost, Secret};
use lamina_core::transfer::{
    ByteSink, Destination, ExportStream, ImportStream, NewImages, NewReference, Progress,
    ProgressSink, RegistryEnd, Source, Stage, StoredImages, TransferOptions, Unpack,
};
use lamina_core::{Digest, Error, Filters, Host as _, Kind, Platform, Result};
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::{Access, Fault, On, Options, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use support::{Server, scope};

fn image() -> Image {
    ImageBuilder::new(Flavor::Oci)
        .platform(Platform::host())
        .layer(TarBuilder::archive([Entry::file("etc/one", "one")]))
        .layer(TarBuilder::archive([Entry::file("two", vec![2; 300_000])]))
        .build()
}

fn serve(access: Access) -> TestRegistry {
    let registry = TestRegistry::with(Options { access, ..Options::default() });
    registry.push("app", "1", &image());
    registry
}

fn end(registry: &TestRegistry) -> RegistryEnd {
    RegistryEnd::new(format!("{}/app:1", registry.host()))
}

fn named(name: &str) -> Destination {
    let unpack = Unpack { platform: None, snapshotter: "native".to_owned() };
    Destination::Images(NewImages {
        name: name.to_owned(),
        platforms: vec![Platform::host()],
        unpacks: vec![unpack],
        ..NewImages::default()
    })
}

/// Pulls `app:1` under the name `app`.
async fn pull(server: &Server, from: RegistryEnd) -> Result<()> {
    let transfer = server.client.transfer(&scope("a"));
    transfer.transfer(Source::Registry(from), named("app"), TransferOptions::default()).await
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Progress>>);

impl ProgressSink for Heard {
    fn send(&self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
}

/// Knows the password, or cannot say; and notes who asked.
#[derive(Debug, Default)]
struct Asked {
    broken: bool,
    hosts: Mutex<Vec<String>>,
}

#[async_trait]
impl Credentials for Asked {
    async fn get(&self, request: &CredentialRequest) -> Result<Option<Credential>> {
        self.hosts.lock().unwrap().push(request.host.clone());
        if self.broken {
            return Err(Error::unavailable("the key ring is locked"));
        }
        let password = Secret::new("right");
        Ok(Some(Credential::Password { user: "me".to_owned(), password }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_told_to_its_end_and_makes_image_and_snapshots() {
    let (server, registry) = (Server::start().await, serve(Access::Open));
    let heard = Arc::new(Heard::default());
    let options = TransferOptions { progress: Some(heard.clone()) };
    let transfer = server.client.transfer(&scope("a"));
    transfer.transfer(Source::Registry(end(&registry)), named("app"), options).await.unwrap();

    let place = format!("OCI Registry ({}/app:1)", registry.host());
    let words = std::mem::take(&mut *heard.0.lock().unwrap());
    assert_eq!(words.first().unwrap().stage, Stage::Resolving(place.clone()));
    assert_eq!(words.last().unwrap().stage, Stage::CompletedPull(place));
    for layer in &image().layers {
        let of = |w: &&Progress| w.name == format!("layer-{}", layer.digest);
        let last = words.iter().rev().find(of).unwrap();
        assert_eq!((&last.stage, last.done), (&Stage::Extracted, layer.size));
    }
    let found = server.client.images(&scope("a")).get("app").await.unwrap();
    assert_eq!(found.target.digest, image().root.digest);
    let snapshots = server.client.snapshotter(&scope("a"), "native").unwrap();
    let [lower, _] = &image().diff_ids[..] else { panic!("not two layers") };
    snapshots.stat(lower.as_str()).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_asked_for_once_and_their_error_is_the_transfers() {
    let registry = serve(Access::Basic("me".to_owned(), "right".to_owned()));
    let server = Server::start().await;
    let with = |credentials: Arc<dyn Credentials>| RegistryEnd { credentials, ..end(&registry) };

    let broken = Arc::new(Asked { broken: true, ..Asked::default() });
    let error = pull(&server, with(broken.clone())).await.unwrap_err();
    assert!(error.chain().contains("the key ring is locked"), "{}", error.chain());
    assert_eq!(*broken.hosts.lock().unwrap(), [registry.host()]);

    let wrong = Credential::Password { user: "me".to_owned(), password: Secret::new("hunter2") };
    let wrong = ForHost { host: registry.host(), credential: wrong };
    for end in [with(Arc::new(wrong)), end(&registry)] {
        let error = pull(&server, end).await.unwrap_err();
        let refused = matches!(error.kind(), Kind::Unauthenticated | Kind::PermissionDenied);
        assert!(refused && !error.chain().contains("hunter2"), "{}", error.chain());
    }
    let none = server.client.images(&scope("a")).get("app").await.unwrap_err();
    assert_eq!(none.kind(), Kind::NotFound);

    let asked = Arc::new(Asked::default());
    pull(&server, with(asked.clone())).await.unwrap();
    assert_eq!(*asked.hosts.lock().unwrap(), [registry.host()]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_dropped_stops_and_the_next_goes_on() {
    let (server, registry) = (Server::start().await, serve(Access::Open));
    let upper = &image().layers[1].digest;
    registry.fault(On::digest(upper).once(), Fault::Hang);
    let waited = tokio::time::timeout(Duration::from_secs(2), pull(&server, end(&registry)));
    assert!(waited.await.is_err(), "the layer never comes");
    let images = server.client.images(&scope("a"));
    assert_eq!(images.get("app").await.unwrap_err().kind(), Kind::NotFound);
    // A daemon that went on with it would make this one wait for the layer, too.
    let again = tokio::time::timeout(Duration::from_secs(60), pull(&server, end(&registry)));
    again.await.unwrap().unwrap();
    images.get("app").await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_transfers_and_what_nobody_can_do_is_said() {
    let (server, registry) = (Server::start().await, serve(Access::Open));
    pull(&server, end(&registry)).await.unwrap();
    let transfer = server.client.transfer(&scope("a"));
    let stored = |name: &str| {
        let names = vec![name.to_owned()];
        Source::Images(StoredImages { names, ..StoredImages::default() })
    };
    let tag = |name| transfer.transfer(stored(name), named("mine"), TransferOptions::default());
    assert_eq!(tag("none").await.unwrap_err().kind(), Kind::NotFound);
    tag("app").await.unwrap();
    let found = server.client.images(&scope("a")).get("mine").await.unwrap();
    assert_eq!(found.target.digest, image().root.digest);

    let archive = Source::Stream(incoming(Vec::new()));
    let to_registry = (archive, Destination::Registry(end(&registry)));
    let from_registry = (Source::Registry(end(&registry)), Destination::Registry(end(&registry)));
    for (from, to) in [to_registry, from_registry] {
        let error = transfer.transfer(from, to, TransferOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unimplemented, "{}", error.chain());
    }
    server.stop().await;
}

fn incoming(pieces: Vec<Result<Bytes>>) -> ImportStream {
    let bytes = Box::pin(futures_util::stream::iter(pieces));
    ImportStream { bytes, media_type: String::new(), force_compress: false }
}

/// Takes an archive, up to `room`.
#[derive(Clone, Debug)]
struct Taken {
    bytes: Arc<Mutex<Vec<u8>>>,
    finished: Arc<AtomicBool>,
    room: usize,
}

impl Taken {
    fn with(room: usize) -> (Taken, Destination) {
        let taken = Taken { bytes: Arc::default(), finished: Arc::default(), room };
        let to = Destination::Stream(ExportStream {
            bytes: Box::new(taken.clone()),
            media_type: String::new(),
            platforms: vec![Platform::host()],
            all_platforms: false,
            skip_docker_manifest: false,
            skip_non_distributable: false,
        });
        (taken, to)
    }
}

#[async_trait]
impl ByteSink for Taken {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let mut taken = self.bytes.lock().unwrap();
        taken.extend(&bytes);
        match taken.len() <= self.room {
            true => Ok(()),
            false => Err(Error::new(Kind::ResourceExhausted, "the disk is full")),
        }
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.finished.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_out_and_come_back() {
    let (server, registry) = (Server::start().await, serve(Access::Open));
    pull(&server, end(&registry)).await.unwrap();
    let transfer = server.client.transfer(&scope("a"));
    let app = || {
        let names = vec!["app".to_owned()];
        Source::Images(StoredImages { names, ..StoredImages::default() })
    };
    let other = TestRegistry::start();
    let pushed = Destination::Registry(RegistryEnd::new(format!("{}/app:2", other.host())));
    transfer.transfer(app(), pushed, TransferOptions::default()).await.unwrap();
    let (_, bytes) = other.content("app", "2").unwrap();
    assert_eq!(Digest::sha256(&bytes), image().root.digest);

    let (taken, to) = Taken::with(usize::MAX);
    transfer.transfer(app(), to, TransferOptions::default()).await.unwrap();
    assert!(taken.finished.load(Ordering::Relaxed));
    let archive = taken.bytes.lock().unwrap().clone();

    let (full, to) = Taken::with(1_000);
    let error = transfer.transfer(app(), to, TransferOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
    assert!(!full.finished.load(Ordering::Relaxed), "what is not whole is not finished");

    // Into a namespace that has nothing yet.
    let there = server.client.transfer(&scope("b"));
    let to = || {
        let references = vec![NewReference::Prefix {
            prefix: "import".to_owned(),
            allow_overwrite: true,
            add_digest: false,
            skip_named_digest: false,
        }];
        let platforms = vec![Platform::host()];
        Destination::Images(NewImages { platforms, references, ..NewImages::default() })
    };
    let piece = |part: &[u8]| Ok(Bytes::copy_from_slice(part));
    let images = server.client.images(&scope("b"));
    let half = || piece(&archive[..archive.len() / 2]);
    let broken = Err(Error::unavailable("the file is on a disk that is gone"));
    let cases = [
        (vec![half(), broken], Kind::Unavailable),
        (vec![half()], Kind::DataLoss),
        (Vec::new(), Kind::InvalidArgument),
    ];
    for (pieces, kind) in cases {
        let from = Source::Stream(incoming(pieces));
        let error = there.transfer(from, to(), TransferOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(images.list(Filters::default()).await.unwrap().is_empty());
    }
    // What follows the archive's end is nobody's, however much it is.
    let rest = std::iter::repeat_n((), 64).map(|()| piece(&[0; 1 << 16]));
    let whole = archive.chunks(5_000).map(piece).chain(rest).collect();
    let from = Source::Stream(incoming(whole));
    there.transfer(from, to(), TransferOptions::default()).await.unwrap();
    assert_eq!(images.get("app").await.unwrap().target.digest, image().root.digest);
    server.stop().await;
}
