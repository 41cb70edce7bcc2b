//! `hosts.toml` at work: mirrors, TLS, client certificates, headers, proxies.

use std::path::Path;
use std::sync::Arc;

use lamina_core::{Kind, Reference};
use lamina_image::registry::{Anonymous, Config, Proxies, Registry, Repository};
use lamina_testkit::registry::{Access, Fault, On, Options, TestRegistry, Tokens};

use crate::setup::*;

fn with_dir(dir: &Path) -> Config {
    Config { hosts_dirs: vec![dir.into()], ..config() }
}

fn tls() -> TestRegistry {
    TestRegistry::with(Options { tls: true, ..Options::default() })
}

/// `a/b` as nobody, with a `hosts.toml`.
async fn configured(registry: &TestRegistry, toml: &str) -> Repository {
    let dir = hosts_dir(registry, toml);
    open_with(with_dir(dir.path()), registry, ":1", Arc::new(Anonymous)).await
}

#[tokio::test]
async fn mirrors_are_asked_first_and_fallen_back_from() {
    let upstream = TestRegistry::start();
    let mirrors = [TestRegistry::start(), TestRegistry::start()];
    let toml = format!(
        "server = \"{}\"\n[host.\"{}\"]\n[host.\"{}\"]\ncapabilities = [\"pull\"]\n",
        upstream.url(),
        mirrors[0].url(),
        mirrors[1].url()
    );
    let image = image(&upstream);
    mirrors[1].push("a/b", "1", &image);
    let repository = configured(&upstream, &toml).await;
    let descriptor = repository.resolve().await.unwrap();
    repository.manifest(&descriptor).await.unwrap();
    let got = read(&repository, &image.layers[1], 0).await.unwrap();
    assert_eq!(got, image.bytes(&image.layers[1].digest)[..]);

    let asked = |registry: &TestRegistry| -> Vec<String> {
        let all = registry.requests();
        all.iter().map(|r| r.path.split('/').nth(4).unwrap_or("").to_owned()).collect()
    };
    assert_eq!(asked(&mirrors[0]), ["manifests", "manifests", "blobs"]);
    assert_eq!(asked(&mirrors[1]), ["manifests", "blobs"], "not trusted with tags");
    assert_eq!(asked(&upstream), ["manifests"], "only for the tag");
    assert_eq!(
        mirrors[0].requests()[0].query,
        format!("ns={}", upstream.host().replace(':', "%3A"))
    );
    assert_eq!(upstream.requests()[0].query, "");
}

#[tokio::test]
async fn a_mirror_that_dies_in_the_middle_is_replaced_at_that_byte() {
    let (upstream, mirror) = (TestRegistry::start(), TestRegistry::start());
    let toml = format!("server = \"{}\"\n[host.\"{}\"]\n", upstream.url(), mirror.url());
    let (blob, bytes) = blob(&upstream, 300_000);
    mirror.push_blob("a/b", "", bytes.clone());
    mirror.fault(On::blobs().once(), Fault::DropAfter(123_456));
    mirror.fault(On::blobs(), Fault::status(500));
    let repository = configured(&upstream, &toml).await;
    assert_eq!(read(&repository, &blob, 0).await.unwrap(), bytes);
    let requests = upstream.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("range"), Some("bytes=123456-299999"));
}

#[tokio::test]
async fn when_no_host_delivers_all_are_named_and_the_registry_itself_decides() {
    let (upstream, mirror) = (TestRegistry::start(), TestRegistry::start());
    let toml = format!("server = \"{}\"\n[host.\"{}\"]\n", upstream.url(), mirror.url());
    mirror.fault(On::path("/v2/"), Fault::status(403));
    let repository = configured(&upstream, &toml).await;
    let error = assert_error(repository.resolve().await, Kind::NotFound, &["404 Not Found"]);
    let before = format!("before: {}: ", mirror.host());
    assert!(error.chain().contains(&before) && error.chain().contains("403"), "{}", error.chain());
    let pull_only = format!("server = \"{}\"\ncapabilities = [\"pull\"]", upstream.url());
    let result = configured(&upstream, &pull_only).await.resolve().await;
    assert_error(result, Kind::FailedPrecondition, &["no configured host may be used for this"]);
}

#[tokio::test]
async fn paths_can_be_overridden_and_unknown_keys_are_told() {
    let registry = TestRegistry::start();
    let image = image(&registry);
    let toml = format!("server = \"{}/v2\"\noverride_path = true\nmirrors = []\n", registry.url());
    let repository = configured(&registry, &toml).await;
    assert_eq!(repository.resolve().await.unwrap(), image.root);
    assert_eq!(repository.warnings().len(), 1);
    assert!(repository.warnings()[0].ends_with("hosts.toml: mirrors: not known, ignored"));
    let toml = format!("server = \"{}/proxy\"\noverride_path = true", registry.url());
    configured(&registry, &toml).await.resolve().await.unwrap_err();
    assert!(registry.requests().last().unwrap().path.starts_with("/proxy/a/b/manifests/"));
}

#[tokio::test]
async fn a_malformed_file_is_an_error_and_not_a_way_around_a_mirror() {
    let registry = TestRegistry::start();
    let dir = hosts_dir(&registry, "server = ");
    let reference = Reference::parse(&format!("{}/a/b:1", registry.host())).unwrap();
    let client = Registry::new(with_dir(dir.path())).unwrap();
    let result = client.repository(&reference, Arc::new(Anonymous)).await;
    assert_error(result, Kind::InvalidArgument, &["hosts.toml: not TOML"]);
}

#[tokio::test]
async fn certificates_are_checked_against_the_configured_authority() {
    let registry = tls();
    let image = image(&registry);
    let dir = hosts_dir(&registry, &format!("server = \"{}\"\nca = \"ca.pem\"", registry.url()));
    let ca = dir.path().join(registry.host()).join("ca.pem");
    std::fs::write(&ca, registry.ca()).unwrap();
    let open = || open_with(with_dir(dir.path()), &registry, ":1", Arc::new(Anonymous));
    assert_eq!(open().await.resolve().await.unwrap(), image.root);
    // Another authority than the one that signed.
    std::fs::write(&ca, tls().ca()).unwrap();
    let says = ["certificate is not trusted", "https://127.0.0.1"];
    assert_error(open().await.resolve().await, Kind::FailedPrecondition, &says);
    // None at all.
    let strict = format!("server = \"{}\"", registry.url());
    let strict = configured(&registry, &strict).await;
    assert_error(strict.resolve().await, Kind::FailedPrecondition, &["certificate is not trusted"]);
    let skip = format!("server = \"{}\"\nskip_verify = true", registry.url());
    assert_eq!(configured(&registry, &skip).await.resolve().await.unwrap(), image.root);
}

#[tokio::test]
async fn this_machine_is_tried_with_tls_then_without() {
    let (secure, plain) = (tls(), TestRegistry::start());
    for registry in [&secure, &plain] {
        let image = image(registry);
        let repository = open(registry, ":1").await;
        assert_eq!(repository.resolve().await.unwrap(), image.root);
        repository.manifest(&image.root).await.unwrap();
    }
    // An address that says https keeps to it.
    let https = format!("server = \"https://{}\"", plain.host());
    let result = configured(&plain, &https).await.resolve().await;
    assert_error(result, Kind::Unavailable, &["https://127.0.0.1"]);
    let http = Config { plain_http: true, ..config() };
    open_with(http, &plain, ":1", Arc::new(Anonymous)).await.resolve().await.unwrap();
}

#[tokio::test]
async fn client_certificates_are_shown_to_their_host_alone() {
    let registry =
        TestRegistry::with(Options { tls: true, client_certificate: true, ..Options::default() });
    let image = image(&registry);
    let toml = format!(
        "server = \"{}\"\nskip_verify = true\nclient = [[\"c.cert\", \"c.key\"]]",
        registry.url()
    );
    let dir = hosts_dir(&registry, &toml);
    let own = dir.path().join(registry.host());
    std::fs::write(own.join("c.cert"), &registry.client().certificate).unwrap();
    std::fs::write(own.join("c.key"), &registry.client().key).unwrap();
    let open = || open_with(with_dir(dir.path()), &registry, ":1", Arc::new(Anonymous));
    assert_eq!(open().await.resolve().await.unwrap(), image.root);

    let without = format!("server = \"{}\"\nskip_verify = true", registry.url());
    let without = configured(&registry, &without).await;
    assert_error(without.resolve().await, Kind::Unavailable, &["https://127.0.0.1"]);

    // A host that would take the same certificate is not shown it when the registry sends us there,
    // though it is when it is the one that was configured.
    let nosy = registry.sibling();
    registry.fault(On::manifests(), Fault::Redirect(format!("{}/x", nosy.url())));
    assert_error(open().await.resolve().await, Kind::Unavailable, &[&nosy.host()]);
    assert!(nosy.requests().is_empty());
    std::fs::rename(&own, dir.path().join(nosy.host())).unwrap();
    let toml = toml.replace(registry.url(), nosy.url());
    std::fs::write(dir.path().join(nosy.host()).join("hosts.toml"), toml).unwrap();
    let pushed = crate::setup::image(&nosy);
    let there = open_with(with_dir(dir.path()), &nosy, ":1", Arc::new(Anonymous)).await;
    assert_eq!(there.resolve().await.unwrap(), pushed.root);
}

#[tokio::test]
async fn dockers_certificate_directories_work_alike() {
    let registry = tls();
    let image = image(&registry);
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(registry.host());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), registry.ca()).unwrap();
    let repository = open_with(with_dir(dir.path()), &registry, ":1", Arc::new(Anonymous)).await;
    assert_eq!(repository.resolve().await.unwrap(), image.root);
}

#[tokio::test]
async fn mirrors_are_asked_for_with_their_own_credentials() {
    let basic = |user: &str| {
        TestRegistry::with(Options {
            access: Access::Basic(user.into(), "p".into()),
            ..Options::default()
        })
    };
    let (upstream, mirror) = (basic("up"), basic("mirror"));
    let toml = format!("server = \"{}\"\n[host.\"{}\"]\n", upstream.url(), mirror.url());
    let image = image(&upstream);
    let dir = hosts_dir(&upstream, &toml);
    // Only the registry's own credential is known.
    let own = Arc::new(lamina_image::registry::ForHost {
        host: upstream.host(),
        credential: Noted::password("up", "p").credential.clone().unwrap(),
    });
    let repository = open_with(with_dir(dir.path()), &upstream, ":1", own).await;
    assert_eq!(repository.resolve().await.unwrap(), image.root);
    assert!(mirror.requests().iter().all(|r| r.header("authorization").is_none()));
}

#[tokio::test]
async fn proxies_are_used_but_for_this_machine() {
    // The proxy answers whatever it is asked, with the whole URL in the request line.
    let proxy = TestRegistry::start();
    let config = Config {
        plain_http: true,
        proxies: Proxies {
            http: Some(format!("http://user:pw@{}", proxy.host())),
            no_proxy: Some("direct.example".into()),
            ..Proxies::default()
        },
        ..config()
    };
    let client = Registry::new(config).unwrap();
    let resolve = async |name: &str| {
        let reference = Reference::parse(name).unwrap();
        client.repository(&reference, Arc::new(Anonymous)).await.unwrap().resolve().await
    };
    resolve("r.example/a/b:1").await.unwrap_err();
    let requests = proxy.requests();
    assert_eq!(requests[0].path, "http://r.example/v2/a/b/manifests/1");
    assert_eq!(requests[0].header("proxy-authorization"), Some("Basic dXNlcjpwdw=="));
    proxy.forget();
    let registry = TestRegistry::start();
    image(&registry);
    resolve(&format!("{}/a/b:1", registry.host())).await.unwrap();
    let error = resolve("direct.example/a/b:1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn settings_of_one_request_do_not_stay() {
    let registry = TestRegistry::start();
    image(&registry);
    let reference = Reference::parse(&format!("{}/a/b:1", registry.host())).unwrap();
    let client = Registry::new(config()).unwrap();
    let other = client.with(|config| config.headers.push(("x-mine".into(), "1".into())));
    for (client, header) in [(&other, Some("1")), (&client, None)] {
        registry.forget();
        let repository = client.repository(&reference, Arc::new(Anonymous)).await.unwrap();
        repository.resolve().await.unwrap();
        assert_eq!(registry.requests()[0].header("x-mine"), header);
    }
    let bad = client.with(|config| config.headers.push(("a b".into(), "1".into())));
    let result = bad.repository(&reference, Arc::new(Anonymous)).await;
    assert_error(result, Kind::InvalidArgument, &["\"a b\" is malformed"]);
}

#[tokio::test]
async fn a_mirror_that_is_not_there_or_silent_costs_little() {
    let (upstream, silent) = (TestRegistry::start(), TestRegistry::start());
    silent.fault(On::path("/"), Fault::Hang);
    let gone = TestRegistry::start().url().to_owned();
    let toml = format!(
        "server = \"{}\"\n[host.\"{gone}\"]\n[host.\"{}\"]\n",
        upstream.url(),
        silent.url()
    );
    let image = image(&upstream);
    let repository = configured(&upstream, &toml).await;
    assert_eq!(repository.resolve().await.unwrap(), image.root);
    assert_eq!(silent.requests().len(), 2, "asked once more, not until the attempts are used up");
}

#[tokio::test]
async fn leave_to_skip_certificates_is_for_the_registry_and_not_for_its_token_server() {
    let tokens = TestRegistry::with(Options {
        access: Access::Tokens(Tokens::for_user("u", "p")),
        tls: true,
        ..Options::default()
    });
    // The same machine under another name is another host.
    let realm = format!("{}/token", tokens.url().replace("127.0.0.1", "localhost"));
    let registry = TestRegistry::with(Options {
        access: Access::Tokens(Tokens { realm: Some(realm), ..Tokens::for_all() }),
        tls: true,
        ..Options::default()
    });
    image(&registry);
    let dir = hosts_dir(&registry, &format!("server = \"{}\"\nskip_verify = true", registry.url()));
    let credentials = Noted::password("u", "p");
    let repository = open_with(with_dir(dir.path()), &registry, ":1", credentials).await;
    let says = ["certificate is not trusted", "https://localhost"];
    assert_error(repository.resolve().await, Kind::FailedPrecondition, &says);
    assert!(tokens.requests().is_empty(), "no password reached it");
    // Its authority, where it is configured, is trusted for the token server as well.
    let own = dir.path().join(registry.host());
    std::fs::write(own.join("ca.pem"), format!("{}{}", tokens.ca(), registry.ca())).unwrap();
    let toml = format!("server = \"{}\"\nca = \"ca.pem\"", registry.url());
    std::fs::write(own.join("hosts.toml"), toml).unwrap();
    let credentials = Noted::password("u", "p");
    let repository = open_with(with_dir(dir.path()), &registry, ":1", credentials).await;
    repository.resolve().await.unwrap_err();
    let asked = tokens.requests();
    assert_eq!((asked[0].path.as_str(), asked[0].status), ("/token", 200));
}
