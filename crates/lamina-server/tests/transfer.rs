//! The service Transfer, over its socket, from a registry that counts.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests are tests.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use lamina_api::convert::any;
use lamina_api::proto::containerd::services::images::v1::images_client::ImagesClient;
use lamina_api::proto::containerd::services::images::v1::{GetImageRequest, Image as Record};
use lamina_api::proto::containerd::services::leases::v1 as leases;
use lamina_api::proto::containerd::services::streaming::v1::StreamInit;
use lamina_api::proto::containerd::services::streaming::v1::streaming_client::StreamingClient;
use lamina_api::proto::containerd::services::transfer::v1 as proto;
use lamina_api::proto::containerd::types::Platform;
use lamina_api::proto::containerd::types::transfer as ends;
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::{Access, Fault, On, Options, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use leases::leases_client::LeasesClient;
use prost_types::Any;
use proto::transfer_client::TransferClient;
use support::{Server, call, refused};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

fn image_of(arch: &str) -> Image {
    ImageBuilder::new(Flavor::Oci)
        .platform(lamina_core::Platform::new("linux", arch))
        .layer(TarBuilder::archive([Entry::file("etc/one", arch)]))
        .layer(TarBuilder::archive([Entry::file("two", vec![2; 300_000])]))
        .build()
}

fn platform(arch: &str) -> Platform {
    Platform { os: "linux".to_owned(), architecture: arch.to_owned(), ..Platform::default() }
}

fn registry_end(registry: &TestRegistry) -> ends::OciRegistry {
    ends::OciRegistry {
        reference: format!("{}/app:1", registry.host()),
        resolver: Some(ends::RegistryResolver {
            default_scheme: "http".to_owned(),
            ..Default::default()
        }),
    }
}

/// As `ctr images pull` sends it.
fn image_store(name: &str) -> ends::ImageStore {
    ends::ImageStore {
        name: name.to_owned(),
        platforms: vec![platform("amd64")],
        all_metadata: true,
        unpacks: vec![ends::UnpackConfiguration {
            platform: Some(platform("amd64")),
            snapshotter: "native".to_owned(),
        }],
        ..Default::default()
    }
}

async fn transfer(
    server: &Server,
    source: Any,
    destination: Any,
    progress: &str,
) -> Result<Response<()>, Status> {
    let options = Some(proto::TransferOptions { progress_stream: progress.to_owned() });
    let request =
        proto::TransferRequest { source: Some(source), destination: Some(destination), options };
    TransferClient::new(server.channel()).transfer(call(request)).await
}

async fn pull(server: &Server, registry: &TestRegistry, name: &str) -> Result<(), Status> {
    let (from, to) = (any::pack(&registry_end(registry)), any::pack(&image_store(name)));
    transfer(server, from, to, "").await.map(drop)
}

async fn stream(server: &Server, id: &str) -> (mpsc::Sender<Any>, Streaming<Any>) {
    let (sender, messages) = mpsc::channel(4);
    sender.send(any::pack(&StreamInit { id: id.to_owned() })).await.unwrap();
    let mut client = StreamingClient::new(server.channel());
    let mut answers =
        client.stream(call(ReceiverStream::new(messages))).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    (sender, answers)
}

async fn record(server: &Server, name: &str) -> Result<Record, Status> {
    let request = call(GetImageRequest { name: name.to_owned() });
    let answer = ImagesClient::new(server.channel()).get(request).await?;
    Ok(answer.into_inner().image.unwrap())
}

async fn lease_count(server: &Server) -> usize {
    let mut client = LeasesClient::new(server.channel());
    client.list(call(leases::ListRequest::default())).await.unwrap().into_inner().leases.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_makes_the_record_and_says_what_clients_know() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    let image = image_of("amd64");
    registry.push("app", "1", &image);
    let (_up, mut answers) = stream(&server, "progress-1").await;
    let reading = async {
        let mut words = Vec::new();
        while let Some(word) = answers.message().await.unwrap() {
            assert_eq!(word.type_url, "containerd.types.transfer.Progress");
            words.push(any::unpack::<ends::Progress>("word", &word).unwrap());
        }
        words
    };
    let (from, to) = (any::pack(&registry_end(&registry)), any::pack(&image_store("app:mine")));
    let (done, words) = tokio::join!(transfer(&server, from, to, "progress-1"), reading);
    done.unwrap();

    let found = record(&server, "app:mine").await.unwrap();
    assert_eq!(found.target.unwrap().digest, image.root.digest.to_string());
    assert_eq!(lease_count(&server).await, 0, "the pull's lease has ended");

    let place = format!("OCI Registry ({}/app:1)", registry.host());
    let whole: Vec<&str> =
        words.iter().filter(|w| w.name.is_empty()).map(|w| w.event.as_str()).collect();
    let wanted = ["Resolving from", "Pulling from", "Completed pull from"];
    assert_eq!(whole, wanted.map(|event| format!("{event} {place}")));
    // The last word on each part, by name; who is first cannot be foretold.
    let last: BTreeMap<&str, &ends::Progress> =
        words.iter().map(|word| (word.name.as_str(), word)).collect();
    let manifest = format!("manifest-{}", image.root.digest);
    let mut parts = vec![
        ("app:mine".to_owned(), "saved", Vec::new(), 0),
        (manifest.clone(), "complete", vec!["app:mine".to_owned()], image.root.size),
    ];
    for layer in &image.layers {
        let name = format!("layer-{}", layer.digest);
        parts.push((name, "extracted", vec![manifest.clone()], layer.size));
    }
    for (name, event, parents, size) in parts {
        let word = last[name.as_str()];
        assert_eq!((word.event.as_str(), &word.parents), (event, &parents), "{name}");
        assert_eq!((word.progress, word.total), (size as i64, size as i64), "{name}");
    }
    let config = last.keys().find(|name| name.starts_with("config-sha256:")).unwrap();
    assert_eq!(last[config].event, "complete");
    // Parents are known before what belongs to them: trees are drawn from this.
    for (at, word) in words.iter().enumerate() {
        for parent in &word.parents {
            assert!(words[..at].iter().any(|w| w.name == *parent), "{word:?}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_the_labels_of_the_last_pull() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    registry.push("app", "1", &image_of("amd64"));
    for labels in [[("a", "1"), ("b", "2")].as_slice(), &[("b", "3")], &[]] {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let to = ends::ImageStore { labels, ..image_store("app:mine") };
        let from = any::pack(&registry_end(&registry));
        transfer(&server, from, any::pack(&to), "").await.unwrap();
        assert_eq!(record(&server, "app:mine").await.unwrap().labels, to.labels);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_clients_at_once_fetch_each_byte_once() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    let image = image_of("amd64");
    registry.push("app", "1", &image);
    for layer in &image.layers {
        registry.fault(On::digest(&layer.digest), Fault::Slow(60_000, Duration::from_millis(20)));
    }
    let names: Vec<String> = (0..10).map(|n| format!("app:{n}")).collect();
    let pulls = names.iter().map(|name| pull(&server, &registry, name));
    for done in futures_util::future::join_all(pulls).await {
        done.unwrap();
    }
    for layer in &image.layers {
        assert_eq!(registry.bytes_sent(&layer.digest), layer.size, "{}", layer.digest);
    }
    for name in &names {
        record(&server, name).await.unwrap();
    }
    server.stop().await;
}

/// Pulls with a client that answers each question for credentials with `answer`; returns the
/// questions too.
async fn pull_as(
    server: &Server,
    registry: &TestRegistry,
    answer: ends::AuthResponse,
) -> (Result<Response<()>, Status>, Vec<ends::AuthRequest>) {
    let (up, mut questions) = stream(server, "creds-1").await;
    let mut from = registry_end(registry);
    from.resolver.as_mut().unwrap().auth_stream = "creds-1".to_owned();
    let answering = async {
        let mut asked = Vec::new();
        while let Some(question) = questions.message().await.unwrap() {
            asked.push(any::unpack("question", &question).unwrap());
            up.send(any::pack(&answer)).await.unwrap();
        }
        asked
    };
    let to = any::pack(&image_store("app"));
    tokio::join!(transfer(server, any::pack(&from), to, ""), answering)
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_the_client_and_wrong_ones_are_refused() {
    let access = Access::Basic("user".to_owned(), "right".to_owned());
    let registry = TestRegistry::with(Options { access, ..Options::default() });
    registry.push("app", "1", &image_of("amd64"));
    let server = Server::start().await;
    let password = |secret: &str| ends::AuthResponse {
        auth_type: ends::AuthType::Credentials.into(),
        username: "user".to_owned(),
        secret: secret.to_owned(),
        ..Default::default()
    };

    let (done, asked) = pull_as(&server, &registry, password("hunter2")).await;
    let status = done.unwrap_err();
    assert!(matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied), "{status:?}");
    assert!(!status.message().contains("hunter2"), "{status:?}");
    assert_eq!(asked[0].host, registry.host());
    assert_eq!(record(&server, "app").await.unwrap_err().code(), Code::NotFound);
    assert!(pull_as(&server, &registry, ends::AuthResponse::default()).await.0.is_err());
    assert!(pull(&server, &registry, "app").await.is_err(), "without a stream");

    let (done, asked) = pull_as(&server, &registry, password("right")).await;
    done.unwrap();
    assert_eq!(asked.len(), 1, "asked once a transfer");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_leaves_no_image_and_the_next_goes_on() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    let image = image_of("amd64");
    registry.push("app", "1", &image);
    registry.fault(On::digest(&image.layers[1].digest).once(), Fault::Hang);
    let waited = tokio::time::timeout(Duration::from_secs(1), pull(&server, &registry, "app"));
    assert!(waited.await.is_err(), "the layer never comes");
    assert_eq!(record(&server, "app").await.unwrap_err().code(), Code::NotFound);
    pull(&server, &registry, "app").await.unwrap();
    record(&server, "app").await.unwrap();
    assert_eq!(registry.bytes_sent(&image.layers[0].digest), image.layers[0].size);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_that_nobody_reads_holds_up_nothing() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    registry.push("app", "1", &image_of("amd64"));
    let (_up, unread) = stream(&server, "slow").await;
    let gone = stream(&server, "gone").await;
    let send = |name: &'static str, progress: &'static str| {
        let (from, to) = (any::pack(&registry_end(&registry)), any::pack(&image_store(name)));
        transfer(&server, from, to, progress)
    };
    send("one", "slow").await.unwrap();
    drop(unread);
    let going = send("two", "gone");
    drop(gone);
    match going.await {
        Ok(_) => drop(record(&server, "two").await.unwrap()),
        // It had gone before it was asked for.
        Err(status) => assert_eq!(status.code(), Code::NotFound, "{status:?}"),
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_metadata_is_documents_of_the_others_and_a_callers_lease_holds_them() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    let (amd64, arm64) = (image_of("amd64"), image_of("arm64"));
    let with = |arch| lamina_core::Platform::new("linux", arch);
    let index = Image::index(Flavor::Oci, [(with("amd64"), &amd64), (with("arm64"), &arm64)]);
    registry.push("app", "1", &index);
    let mut leases = LeasesClient::new(server.channel());
    leases
        .create(call(leases::CreateRequest { id: "mine".to_owned(), ..Default::default() }))
        .await
        .unwrap();

    let request = proto::TransferRequest {
        source: Some(any::pack(&registry_end(&registry))),
        destination: Some(any::pack(&image_store("app"))),
        options: None,
    };
    let mut request = call(request);
    request.metadata_mut().insert("containerd-lease", "mine".parse().unwrap());
    TransferClient::new(server.channel()).transfer(request).await.unwrap();

    let wanted = call(leases::ListResourcesRequest { id: "mine".to_owned() });
    let held = leases.list_resources(wanted).await.unwrap().into_inner().resources;
    let held = |digest: &lamina_core::Digest| held.iter().any(|r| r.id == digest.to_string());
    assert!(held(&index.root.digest) && held(&amd64.root.digest) && held(&arm64.root.digest));
    assert_eq!(lease_count(&server).await, 1);
    assert_eq!(registry.bytes_sent(&arm64.layers[0].digest), 0, "no layer of the other platform");
    assert!(held(&amd64.layers[0].digest));
    server.stop().await;
}

/// As everywhere else: limits of the configuration count, and can be raised.
#[tokio::test(flavor = "multi_thread")]
async fn configured_limits_hold_for_pulls() {
    let registry = TestRegistry::start();
    let long = "x".repeat(17 << 20);
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(lamina_core::Platform::new("linux", "amd64"))
        .config(format!(r#"{{"Env": ["LONG={long}"]}}"#).parse().unwrap())
        .layer(TarBuilder::archive([Entry::file("a", "a")]))
        .build();
    registry.push("app", "1", &image);
    let server = Server::start().await;
    let answer = pull(&server, &registry, "app").await.map(Response::new);
    refused("a long config", answer, Code::ResourceExhausted, "at most 16777216");
    server.stop().await;

    let raised = |config: &mut lamina_server::Config| config.limits.documents.bytes = 20 << 20;
    let server = Server::start_with(raised).await;
    let mut to = image_store("app");
    // The second is unpacked from what is stored.
    to.unpacks.push(ends::UnpackConfiguration {
        platform: Some(platform("amd64")),
        snapshotter: "overlayfs".to_owned(),
    });
    transfer(&server, any::pack(&registry_end(&registry)), any::pack(&to), "").await.unwrap();
    record(&server, "app").await.unwrap();
    server.stop().await;

    let lowered = |config: &mut lamina_server::Config| config.limits.registry.manifest = 100;
    let server = Server::start_with(lowered).await;
    let answer = pull(&server, &registry, "app").await.map(Response::new);
    refused("a long manifest", answer, Code::ResourceExhausted, "at most 100");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_gets_another_name_and_loses_no_other() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    let (old, new) = (image_of("amd64"), image_of("arm64"));
    registry.push("app", "1", &old);
    pull(&server, &registry, "app:old").await.unwrap();
    registry.push("app", "1", &new);
    let mut to = image_store("app:new");
    (to.platforms, to.unpacks) = (vec![platform("arm64")], Vec::new());
    let from = any::pack(&registry_end(&registry));
    transfer(&server, from, any::pack(&to), "").await.unwrap();

    let named =
        |name: &str| any::pack(&ends::ImageStore { name: name.to_owned(), ..Default::default() });
    let target = async |name: &str| record(&server, name).await.unwrap().target.unwrap().digest;
    transfer(&server, named("app:old"), named("app:tag"), "").await.unwrap();
    assert_eq!(target("app:tag").await, old.root.digest.to_string());
    transfer(&server, named("app:new"), named("app:tag"), "").await.unwrap();
    assert_eq!(target("app:tag").await, new.root.digest.to_string());
    assert_eq!(target("app:old").await, old.root.digest.to_string());
    let missing = transfer(&server, named("app:none"), named("app:tag"), "").await;
    refused("no such image", missing, Code::NotFound, "app:none");
    let nameless = transfer(&server, named("app:old"), named(""), "").await;
    refused("no name", nameless, Code::InvalidArgument, "name");
    server.stop().await;
}

/// Sends an archive as clients of containerd do: never more than there is credit for.
/// The stream is returned: dropped, it would break off.
async fn send_archive(
    up: mpsc::Sender<Any>,
    mut answers: Streaming<Any>,
    archive: &[u8],
) -> Streaming<Any> {
    let (mut credit, mut rest) = (0, archive);
    while !rest.is_empty() {
        while credit <= 0 {
            let grant = answers.message().await.unwrap().expect("credit");
            credit += any::unpack::<ends::WindowUpdate>("grant", &grant).unwrap().update;
        }
        let most = rest.len().min(32 << 10).min(usize::try_from(credit).unwrap());
        let (piece, later) = rest.split_at(most);
        credit -= i32::try_from(most).unwrap();
        rest = later;
        up.send(any::pack(&ends::Data { data: piece.to_vec().into() })).await.unwrap();
    }
    answers
}

/// Receives one, granting credit as they do.
async fn receive_archive(up: mpsc::Sender<Any>, mut answers: Streaming<Any>) -> Vec<u8> {
    let (mut archive, mut window) = (Vec::new(), 0);
    loop {
        if window < 64 << 10 {
            up.send(any::pack(&ends::WindowUpdate { update: 64 << 10 })).await.unwrap();
            window += 64 << 10;
        }
        let Some(piece) = answers.message().await.unwrap() else { return archive };
        let piece: ends::Data = any::unpack("piece", &piece).unwrap();
        window -= i32::try_from(piece.data.len()).unwrap();
        assert!(window >= 0, "more than there was credit for");
        archive.extend(piece.data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_out_and_come_back() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    let image = image_of("amd64");
    registry.push("app", "1", &image);
    pull(&server, &registry, "app:mine").await.unwrap();
    let named = any::pack(&ends::ImageStore { name: "app:mine".to_owned(), ..Default::default() });

    let other = TestRegistry::start();
    transfer(&server, named.clone(), any::pack(&registry_end(&other)), "").await.unwrap();
    let (_, bytes) = other.content("app", "1").unwrap();
    assert_eq!(lamina_core::Digest::sha256(&bytes), image.root.digest);

    let (up, answers) = stream(&server, "export-1").await;
    let export = ends::ImageExportStream {
        stream: "export-1".to_owned(),
        platforms: vec![platform("amd64")],
        ..Default::default()
    };
    let work = transfer(&server, named, any::pack(&export), "");
    let (done, archive) = tokio::join!(work, receive_archive(up, answers));
    done.unwrap();

    let back = Server::start().await;
    let (up, answers) = stream(&back, "import-1").await;
    let import = ends::ImageImportStream { stream: "import-1".to_owned(), ..Default::default() };
    let mut store = image_store("");
    store.extra_references = vec![ends::ImageReference {
        name: "import".to_owned(),
        is_prefix: true,
        allow_overwrite: true,
        ..Default::default()
    }];
    let work = transfer(&back, any::pack(&import), any::pack(&store), "");
    let (done, _answers) = tokio::join!(work, send_archive(up, answers, &archive));
    done.unwrap();
    let found = record(&back, "app:mine").await.unwrap();
    assert_eq!(found.target.unwrap().digest, image.root.digest.to_string());
    assert_eq!(lease_count(&back).await, 0);

    let (up, answers) = stream(&back, "import-2").await;
    let import = ends::ImageImportStream { stream: "import-2".to_owned(), ..Default::default() };
    drop(up);
    let broken = transfer(&back, any::pack(&import), any::pack(&store), "").await;
    refused("an empty archive", broken, Code::InvalidArgument, "empty");
    drop(answers);
    server.stop().await;
    back.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_transfer_here_is_refused_by_its_types() {
    let (server, registry) = (Server::start().await, TestRegistry::start());
    let (from, to) = (any::pack(&registry_end(&registry)), any::pack(&image_store("app")));
    let import = any::pack(&ends::ImageImportStream::default());
    let export = any::pack(&ends::ImageExportStream::default());
    for (what, source, destination) in [
        ("copy", from.clone(), from.clone()),
        ("from an archive into a registry", import.clone(), from.clone()),
        ("from a registry into an archive", from.clone(), export.clone()),
    ] {
        let answer = transfer(&server, source, destination, "").await;
        refused(what, answer, Code::Unimplemented, "containerd.types.transfer.");
    }
    for (what, source, destination) in
        [("import", import, to.clone()), ("export", to.clone(), export)]
    {
        let answer = transfer(&server, source, destination, "").await;
        refused(what, answer, Code::InvalidArgument, "names no stream");
    }
    let answer = transfer(&server, from.clone(), to.clone(), "nowhere").await;
    refused("no such stream", answer, Code::NotFound, "nowhere");
    let mut odd = registry_end(&registry);
    odd.resolver.as_mut().unwrap().host_dir = "certs.d".to_owned();
    let answer = transfer(&server, any::pack(&odd), to.clone(), "").await;
    refused("a relative folder", answer, Code::InvalidArgument, "certs.d");
    // What a user of Docker would type: the record would get a name that nobody looks for.
    for reference in ["app", "app:1", &format!("{}/app", registry.host())] {
        let short =
            ends::OciRegistry { reference: reference.to_owned(), ..registry_end(&registry) };
        let answer = transfer(&server, any::pack(&short), to.clone(), "").await;
        refused("a short reference", answer, Code::InvalidArgument, reference);
    }
    let answer = transfer(&server, from, to, "").await;
    refused("not in the registry", answer, Code::NotFound, "app");
    server.stop().await;
}
