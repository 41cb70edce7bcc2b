//! From a reference to a descriptor.

use lamina_core::{Descriptor, Digest, Kind, Platform, Reference, media_type};
use lamina_image::registry::{Anonymous, Limits, Registry};
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::{Fault, On, TestRegistry};

use crate::setup::*;

#[tokio::test]
async fn a_tag_is_resolved_by_one_head() {
    for flavor in [Flavor::Oci, Flavor::Docker] {
        let registry = TestRegistry::start();
        let image = ImageBuilder::new(flavor).layer(noise(100)).build();
        let index = Image::index(flavor, [(Platform::host(), &image)]);
        registry.push("a/b", "one", &image);
        registry.push("a/b", "all", &index);
        for (tag, want) in [(":one", &image), (":all", &index)] {
            registry.forget();
            let repository = open(&registry, tag).await;
            let descriptor = repository.resolve().await.unwrap();
            assert_eq!(descriptor, want.root);
            let body = repository.manifest(&descriptor).await.unwrap();
            assert_eq!(body, want.bytes(&want.root.digest));
            let requests = registry.requests();
            let methods: Vec<_> = requests.iter().map(|r| r.method.as_str()).collect();
            assert_eq!(methods, ["HEAD", "GET"]);
            let accept = requests[0].header("accept").unwrap();
            for media_type in [media_type::OCI_INDEX, media_type::DOCKER_MANIFEST] {
                assert!(accept.contains(media_type), "{accept}");
            }
            assert!(requests[0].header("user-agent").unwrap().starts_with("lamina/"));
            assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
            assert_eq!(requests[0].query, "", "no ?ns= for the registry itself");
        }
    }
}

#[tokio::test]
async fn a_digest_is_taken_at_its_word_and_before_a_tag() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    let digest = &image.root.digest;
    for suffix in [format!("@{digest}"), format!(":other@{digest}")] {
        let descriptor = open(&registry, &suffix).await.resolve().await.unwrap();
        assert_eq!(descriptor, image.root);
    }
    let requests = registry.requests();
    assert!(requests.iter().all(|r| r.path.ends_with(digest.as_str())));
    let wrong = Digest::sha256(b"x").to_string();
    registry.fault(On::manifests(), Fault::Digest(Some(wrong.clone())));
    let result = open(&registry, &format!("@{digest}")).await.resolve().await;
    assert_error(result, Kind::FailedPrecondition, &[&wrong, digest.as_str(), "HEAD http://127"]);
}

#[tokio::test]
async fn what_head_does_not_tell_is_found_out_once() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    let head = || On::manifests().method("HEAD");
    for (fault, heads) in [
        (Fault::Digest(None), 1),
        (Fault::Digest(Some("sha256:nonsense".into())), 1),
        (Fault::MediaType(None), 1),
        (Fault::MediaType(Some("application/json".into())), 1),
        (Fault::status(405), 1),
        (Fault::Empty, 1),
    ] {
        registry.clear_faults();
        registry.forget();
        registry.fault(head(), fault.clone());
        let repository = open(&registry, ":1").await;
        let descriptor = repository.resolve().await.unwrap();
        assert_eq!(descriptor, image.root, "{fault:?}");
        repository.manifest(&descriptor).await.unwrap();
        let requests = registry.requests();
        assert_eq!(requests.iter().filter(|r| r.method == "HEAD").count(), heads, "{fault:?}");
        let gets = requests.iter().filter(|r| r.method == "GET").count();
        assert_eq!(gets, 1, "the fetched manifest is kept: {fault:?}");
    }
}

#[tokio::test]
async fn a_digest_header_is_not_believed_over_the_body() {
    let registry = TestRegistry::start();
    image(&registry);
    registry.fault(On::manifests().method("HEAD"), Fault::status(405));
    registry.fault(
        On::manifests().method("GET"),
        Fault::Digest(Some(Digest::sha256(b"else").to_string())),
    );
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::FailedPrecondition, &["GET http://127", "the digest is sha256:"]);
}

#[tokio::test]
async fn refusals_have_their_kind_and_the_registrys_words() {
    let registry = TestRegistry::start();
    image(&registry);
    for (code, kind) in [
        (403, Kind::PermissionDenied),
        (400, Kind::InvalidArgument),
        (429, Kind::ResourceExhausted),
        (500, Kind::Unavailable),
        (418, Kind::FailedPrecondition),
    ] {
        registry.clear_faults();
        registry.fault(On::manifests().method("GET"), Fault::status(code));
        registry.fault(On::manifests().method("HEAD"), Fault::status_with(code, "X-A", "b"));
        let result = open(&registry, ":1").await.resolve().await;
        let place = format!("http://{}/v2/a/b/manifests/1", registry.host());
        let mut says = vec![place.as_str(), "resolve 1"];
        let status = code.to_string();
        says.push(&status);
        if code != 429 {
            says.push("TEST: told to say");
        }
        assert_error(result, kind, &says);
    }
    registry.clear_faults();
    let missing = open(&registry, ":nope").await.resolve().await;
    let error = assert_error(missing, Kind::NotFound, &["/v2/a/b/manifests/nope", "404"]);
    assert!(error.is_not_found());
}

#[tokio::test]
async fn a_missing_tag_costs_one_request() {
    let registry = TestRegistry::start();
    image(&registry);
    open(&registry, ":nope").await.resolve().await.unwrap_err();
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn passing_faults_are_tried_again_and_the_pause_asked_for_is_kept() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    let head = || On::manifests().method("HEAD");
    for fault in [Fault::status(503), Fault::status(500), Fault::status(408), Fault::Close] {
        registry.clear_faults();
        registry.forget();
        registry.fault(head().times(2), fault);
        assert_eq!(open(&registry, ":1").await.resolve().await.unwrap(), image.root);
        assert_eq!(registry.requests().len(), 3);
    }
    registry.clear_faults();
    registry.fault(head().once(), Fault::status_with(429, "Retry-After", "1"));
    let start = std::time::Instant::now();
    open(&registry, ":1").await.resolve().await.unwrap();
    assert!(start.elapsed().as_millis() >= 1000);
    // Longer than anyone wants to wait: it is said at once.
    registry.clear_faults();
    registry.forget();
    registry.fault(head(), Fault::status_with(429, "Retry-After", "3600"));
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::ResourceExhausted, &["429"]);
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_unavailable() {
    let registry = TestRegistry::start();
    registry.fault(On::manifests(), Fault::Hang);
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::Unavailable, &["no answer within 0.7 s"]);

    let gone = TestRegistry::start();
    let repository = open(&gone, ":1").await;
    drop(gone);
    assert_error(repository.resolve().await, Kind::Unavailable, &["cannot connect"]);
}

#[tokio::test]
async fn web_pages_and_empty_answers_are_called_what_they_are() {
    let registry = TestRegistry::start();
    image(&registry);
    registry.fault(On::manifests(), Fault::Html);
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::FailedPrecondition, &["a web page titled \"Log in, please\""]);
    registry.clear_faults();
    registry.fault(On::manifests(), Fault::Empty);
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::FailedPrecondition, &["the answer is empty"]);
}

#[tokio::test]
async fn endless_manifests_end() {
    let registry = TestRegistry::start();
    image(&registry);
    registry.fault(On::manifests().method("HEAD"), Fault::status(405));
    registry.fault(On::manifests().method("GET"), Fault::Endless);
    let result = open(&registry, ":1").await.resolve().await;
    let error = assert_error(result, Kind::ResourceExhausted, &["more than 8388608 bytes"]);
    assert!(error.chain().contains("manifests/1"));
    let limits = Limits { manifest: 100, ..Limits::default() };
    let config = lamina_image::registry::Config { limits, ..config() };
    registry.clear_faults();
    registry.fault(On::manifests().method("HEAD"), Fault::status(405));
    let result = open_with(config, &registry, ":1", std::sync::Arc::new(Anonymous)).await;
    assert_error(result.resolve().await, Kind::ResourceExhausted, &["more than 100 bytes"]);
}

#[tokio::test]
async fn a_manifest_that_drips_is_given_up() {
    let registry = TestRegistry::start();
    image(&registry);
    registry.fault(On::manifests().method("HEAD"), Fault::status(405));
    let pause = std::time::Duration::from_millis(100);
    registry.fault(On::manifests().method("GET"), Fault::Slow(1, pause));
    let mut config = config();
    config.timeouts.document = std::time::Duration::from_millis(300);
    let repository = open_with(config, &registry, ":1", std::sync::Arc::new(Anonymous)).await;
    let says = ["did not end within 0.3 s"];
    assert_error(repository.resolve().await, Kind::Unavailable, &says);
}

#[tokio::test]
async fn unknown_types_and_schema_1_are_refused() {
    let registry = TestRegistry::start();
    let schema1 = br#"{"schemaVersion":1,"name":"a/b","fsLayers":[]}"#;
    registry.push_manifest("a/b", "v1", media_type::DOCKER_MANIFEST_V1_SIGNED, &schema1[..]);
    registry.push_manifest("a/b", "v1-hidden", "application/json", &schema1[..]);
    for tag in [":v1", ":v1-hidden"] {
        let result = open(&registry, tag).await.resolve().await;
        assert_error(result, Kind::Unimplemented, &["schema 1", "/v2/a/b/manifests/v1"]);
    }
    registry.push_manifest("a/b", "odd", "application/vnd.odd+json", &b"{}"[..]);
    let result = open(&registry, ":odd").await.resolve().await;
    assert_error(result, Kind::Unimplemented, &["\"application/vnd.odd+json\" is neither"]);
}

#[tokio::test]
async fn served_and_declared_types_that_differ_are_refused() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    let lie = Fault::MediaType(Some(media_type::OCI_INDEX.into()));
    registry.fault(On::manifests(), lie);
    let repository = open(&registry, ":1").await;
    // HEAD cannot tell; the body does.
    let descriptor = repository.resolve().await.unwrap();
    assert_eq!(descriptor.media_type, media_type::OCI_INDEX);
    let result = repository.manifest(&descriptor).await;
    assert_error(
        result,
        Kind::FailedPrecondition,
        &[
            "served as application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
        ],
    );
    registry.clear_faults();
    let lie = Descriptor { media_type: media_type::OCI_INDEX.into(), ..image.root };
    assert_error(repository.manifest(&lie).await, Kind::FailedPrecondition, &["was announced as"]);
}

#[tokio::test]
async fn terminal_codes_do_not_get_through() {
    let registry = TestRegistry::start();
    let body = "{\"errors\":[{\"code\":\"A\",\"message\":\"\\u001b[2Jgone\"}]}".to_owned();
    registry.fault(On::manifests(), Fault::Status { code: 403, headers: Vec::new(), body });
    let error = open(&registry, ":1").await.resolve().await.unwrap_err();
    assert!(!error.chain().contains('\u{1b}') && error.chain().contains("gone"), "{error:?}");
}

#[tokio::test]
async fn a_name_without_tag_and_digest_cannot_be_resolved() {
    let reference = Reference::parse_canonical("r.example/a").unwrap();
    let registry = Registry::new(config()).unwrap();
    let repository = registry.repository(&reference, std::sync::Arc::new(Anonymous)).await.unwrap();
    assert_error(repository.resolve().await, Kind::InvalidArgument, &["neither tag nor digest"]);
}
