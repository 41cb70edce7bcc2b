//! Passwords and tokens: given to whom they belong, renewed in the middle, refused with a reason.

use lamina_core::Kind;
use lamina_image::registry::{Credential, Secret};
use lamina_testkit::registry::{Access, Fault, On, Options, TestRegistry, Tokens};

use crate::setup::*;

fn start(access: Access) -> TestRegistry {
    TestRegistry::with(Options { access, ..Options::default() })
}

#[tokio::test]
async fn basic_is_answered_only_when_demanded() {
    let registry = start(Access::Basic("u".into(), "p:q".into()));
    let image = image(&registry);
    let credentials = Noted::password("u", "p:q");
    let repository = open_with(config(), &registry, ":1", credentials.clone()).await;
    repository.resolve().await.unwrap();
    repository.manifest(&image.root).await.unwrap();
    assert_eq!(credentials.hosts(), [registry.host()], "asked once");
    let asked = credentials.asked.lock().unwrap()[0].clone();
    assert!(!asked.encrypted && asked.reference.ends_with("/a/b:1"));
    let statuses: Vec<_> = registry.requests().iter().map(|r| r.status).collect();
    assert_eq!(statuses, [401, 200, 200]);
    assert_eq!(registry.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn wrong_and_missing_passwords_are_said_to_be_that() {
    let registry = start(Access::Basic("u".into(), "p".into()));
    image(&registry);
    let wrong = open_with(config(), &registry, ":1", Noted::password("u", "no")).await;
    let error = assert_error(
        wrong.resolve().await,
        Kind::Unauthenticated,
        &["refused the credential", "401 Unauthorized", &registry.host()],
    );
    assert!(!error.chain().contains("no\""));
    assert_eq!(registry.requests().len(), 2, "a wrong password is shown once");
    let none = open(&registry, ":1").await;
    assert_error(none.resolve().await, Kind::Unauthenticated, &["there is no credential for it"]);
    let token = Noted::of(Credential::Refresh(Secret::new("r")));
    let token = open_with(config(), &registry, ":1", token).await;
    assert_error(token.resolve().await, Kind::Unauthenticated, &["identity token"]);
}

#[tokio::test]
async fn anonymous_tokens_are_fetched_once_and_for_our_scope() {
    let registry = start(Access::Tokens(Tokens::for_all()));
    let image = image(&registry);
    let repository = open(&registry, ":1").await;
    repository.resolve().await.unwrap();
    repository.manifest(&image.root).await.unwrap();
    for layer in &image.layers {
        read(&repository, layer, 0).await.unwrap();
    }
    let requests = registry.requests();
    let tokens: Vec<_> = requests.iter().filter(|r| r.path == "/token").collect();
    assert_eq!(tokens.len(), 1);
    assert!(tokens[0].query.contains("scope=repository%3Aa%2Fb%3Apull"), "{}", tokens[0].query);
    assert!(tokens[0].query.contains("service=test"), "{}", tokens[0].query);
    assert_eq!(tokens[0].header("authorization"), None);
    assert_eq!(requests.iter().filter(|r| r.status == 401).count(), 1);
}

#[tokio::test]
async fn users_get_tokens_by_get_or_post() {
    let mut tokens = Tokens::for_user("u", "p");
    tokens.scope = Some("repository:a/b:pull registry:catalog:*".into());
    for post_only in [false, true] {
        let registry = start(Access::Tokens(Tokens { post_only, ..tokens.clone() }));
        image(&registry);
        let good = open_with(config(), &registry, ":1", Noted::password("u", "p")).await;
        good.resolve().await.unwrap();
        let requests = registry.requests();
        let asked = requests.iter().filter(|r| r.path == "/token").last().unwrap();
        let scope = format!("{}{}", asked.query, String::from_utf8_lossy(&asked.body));
        assert!(scope.contains("registry%3Acatalog%3A"), "{scope}");
        let bad = open_with(config(), &registry, ":1", Noted::password("u", "no")).await;
        assert_error(
            bad.resolve().await,
            Kind::Unauthenticated,
            &["refused the credential", "no token for you", "/token"],
        );
    }
}

#[tokio::test]
async fn identity_tokens_are_exchanged_and_registry_tokens_shown() {
    let mut tokens = Tokens::for_user("u", "p");
    tokens.refresh = Some("refresh-me".into());
    let registry = start(Access::Tokens(tokens));
    image(&registry);
    let refresh = Noted::of(Credential::Refresh(Secret::new("refresh-me")));
    open_with(config(), &registry, ":1", refresh).await.resolve().await.unwrap();
    let requests = registry.requests();
    let post = requests.iter().find(|r| r.method == "POST").unwrap();
    assert_eq!(post.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(post.header("authorization"), None);
    registry.forget();
    // A token that the registry does not know: shown once, then given up.
    let bearer = Noted::of(Credential::Bearer(Secret::new("made-up")));
    let bearer = open_with(config(), &registry, ":1", bearer).await;
    assert_error(bearer.resolve().await, Kind::Unauthenticated, &["refused the credential"]);
    let shown: Vec<_> =
        registry.requests().iter().map(|r| r.header("authorization").map(str::to_owned)).collect();
    assert_eq!(shown, [None, Some("Bearer made-up".into())]);
}

#[tokio::test]
async fn tokens_that_run_out_are_renewed_in_the_middle() {
    // Each is good for two requests; nobody says so beforehand.
    let registry = start(Access::Tokens(Tokens { uses: Some(2), ..Tokens::for_all() }));
    let image = image(&registry);
    let (blob, bytes) = blob(&registry, 300_000);
    registry.fault(On::digest(&blob.digest).times(4), Fault::DropAfter(70_000));
    let repository = open(&registry, ":1").await;
    repository.resolve().await.unwrap();
    repository.manifest(&image.root).await.unwrap();
    assert_eq!(read(&repository, &blob, 0).await.unwrap(), bytes);
    let tokens = registry.requests().iter().filter(|r| r.path == "/token").count();
    assert!(tokens >= 3, "{tokens}");
    assert_eq!(registry.bytes_sent(&blob.digest), refused_bytes(&registry) + blob.size);
}

/// Bytes of the bodies of refusals.
fn refused_bytes(registry: &TestRegistry) -> u64 {
    let refused =
        |r: &&lamina_testkit::registry::Record| r.status == 401 && r.path.contains("/blobs/");
    registry.requests().iter().filter(refused).map(|r| r.sent).sum()
}

#[tokio::test]
async fn tokens_said_to_run_out_are_renewed_before() {
    let registry = start(Access::Tokens(Tokens { expires_in: Some(1), ..Tokens::for_all() }));
    let image = image(&registry);
    let repository = open(&registry, ":1").await;
    repository.resolve().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    repository.manifest(&image.root).await.unwrap();
    let requests = registry.requests();
    assert_eq!(requests.iter().filter(|r| r.path == "/token").count(), 2);
    assert_eq!(requests.iter().filter(|r| r.status == 401).count(), 1, "only the first");
}

#[tokio::test]
async fn many_requests_share_one_renewal() {
    let registry = start(Access::Tokens(Tokens::for_all()));
    let image = image(&registry);
    let repository = open(&registry, ":1").await;
    let fetch = || repository.manifest(&image.root);
    let (a, b, c, d) = tokio::join!(fetch(), fetch(), fetch(), fetch());
    for result in [a, b, c, d] {
        result.unwrap();
    }
    let count =
        |registry: &TestRegistry| registry.requests().iter().filter(|r| r.path == "/token").count();
    assert_eq!(count(&registry), 1);
    registry.revoke_tokens();
    let (a, b, c, d) = tokio::join!(fetch(), fetch(), fetch(), fetch());
    for result in [a, b, c, d] {
        result.unwrap();
    }
    assert_eq!(count(&registry), 2);
}

#[tokio::test]
async fn a_registry_that_refuses_its_own_tokens_is_given_up() {
    let registry = start(Access::Tokens(Tokens { uses: Some(0), ..Tokens::for_all() }));
    image(&registry);
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::Unauthenticated, &["refused the credential", "401"]);
    assert_eq!(registry.requests().len(), 3, "refused, token, refused");
}

#[tokio::test]
async fn token_servers_that_fail_are_named() {
    let registry = start(Access::Tokens(Tokens::for_all()));
    image(&registry);
    for (fault, kind, says) in [
        (Fault::status(503), Kind::Unavailable, "503"),
        (Fault::status(403), Kind::Unauthenticated, "gives no token without a credential"),
        (Fault::Html, Kind::Unauthenticated, "is no token"),
        (Fault::Endless, Kind::ResourceExhausted, "a token of more than"),
    ] {
        registry.clear_faults();
        registry.fault(On::tokens(), fault);
        let result = open(&registry, ":1").await.resolve().await;
        assert_error(result, kind, &[says, "/token"]);
    }
    registry.clear_faults();
    registry.fault(On::tokens().times(2), Fault::status(503));
    open(&registry, ":1").await.resolve().await.unwrap();
}

#[tokio::test]
async fn challenges_that_make_no_sense_are_refused() {
    let registry = TestRegistry::start();
    for (challenge, says) in [
        ("Bearer realm=\"http://r.example/token\"", "is not encrypted"),
        ("Bearer realm=\"http://169.254.169.254/token\"", "link-local"),
        ("Bearer service=\"x\"", "names no realm"),
        ("Bearer realm=\"", "cannot read the header"),
        ("Negotiate", "by negotiate, which is not known"),
    ] {
        registry.clear_faults();
        registry.fault(On::manifests(), Fault::status_with(401, "WWW-Authenticate", challenge));
        let credentials = Noted::password("u", "p");
        let repository = open_with(config(), &registry, ":1", credentials.clone()).await;
        assert_error(repository.resolve().await, Kind::Unauthenticated, &[says]);
        assert_eq!(credentials.hosts(), [""; 0], "{challenge}: nobody was asked for a password");
    }
    registry.clear_faults();
    registry.fault(On::manifests(), Fault::status(401));
    let result = open(&registry, ":1").await.resolve().await;
    assert_error(result, Kind::Unauthenticated, &["does not say how"]);
}
