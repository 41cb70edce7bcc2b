//! Transfers through a daemon, from a registry that counts.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are tests.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lamina_core::credentials::{Credential, CredentialRequest, Credentials, ForHost, Secret};
use lamina_core::transfer::{
    Destination, ImportStream, NewImages, Progress, ProgressSink, RegistryEnd, Source, Stage,
    StoredImages, TransferOptions, Unpack,
};
use lamina_core::{Error, Host as _, Kind, Platform, Result};
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

    let bytes = Box::pin(futures_util::stream::empty());
    let media_type = String::new();
    let archive = Source::Stream(ImportStream { bytes, media_type, force_compress: false });
    let push = (stored("app"), Destination::Registry(end(&registry)));
    for (from, to) in [(archive, named("x")), push] {
        let error = transfer.transfer(from, to, TransferOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unimplemented, "{}", error.chain());
    }
    server.stop().await;
}
