use super::*;

use proptest::prelude::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// `D!` in a text stands for a digest.
fn with_digest(text: &str) -> String {
    text.replace("D!", DIGEST)
}

#[test]
fn what_users_type_is_completed() {
    // Typed, canonical, familiar.
    for (typed, canonical, familiar) in [
        ("redis", "docker.io/library/redis:latest", "redis:latest"),
        ("redis:7", "docker.io/library/redis:7", "redis:7"),
        ("redis@D!", "docker.io/library/redis@D!", "redis@D!"),
        ("redis:7@D!", "docker.io/library/redis:7@D!", "redis:7@D!"),
        ("library/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("index.docker.io/redis:7", "docker.io/library/redis:7", "redis:7"),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("user/deep/app", "docker.io/user/deep/app:latest", "user/deep/app:latest"),
        (
            "docker.io/library/deep/app",
            "docker.io/library/deep/app:latest",
            "library/deep/app:latest",
        ),
        ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
        ("docker.io/localhost/c", "docker.io/localhost/c:latest", "docker.io/localhost/c:latest"),
        ("localhost", "docker.io/library/localhost:latest", "localhost:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest", "[2001:db8::1]/app:latest"),
        ("ghcr.io/user/app:v1", "ghcr.io/user/app:v1", "ghcr.io/user/app:v1"),
        ("example.com/app", "example.com/app:latest", "example.com/app:latest"),
        ("Upper/app", "Upper/app:latest", "Upper/app:latest"),
        ("host:5000/a/b/c@D!", "host:5000/a/b/c@D!", "host:5000/a/b/c@D!"),
        ("a__b/c-d---e.f_g", "docker.io/a__b/c-d---e.f_g:latest", "a__b/c-d---e.f_g:latest"),
        ("app:_x.Y-1", "docker.io/library/app:_x.Y-1", "app:_x.Y-1"),
    ] {
        let reference = Reference::parse(&with_digest(typed)).unwrap();
        assert_eq!(reference.to_string(), with_digest(canonical), "{typed}");
        assert_eq!(reference.familiar(), with_digest(familiar), "{typed}");
    }
}

#[test]
fn parts_are_given_back() {
    let reference = Reference::parse(&with_digest("localhost:5000/a/b:v1@D!")).unwrap();
    assert_eq!(reference.domain(), "localhost:5000");
    assert_eq!(reference.repository(), "a/b");
    assert_eq!(reference.name(), "localhost:5000/a/b");
    assert_eq!(reference.tag(), Some("v1"));
    assert_eq!(reference.digest().unwrap().as_str(), DIGEST);
    let other = Digest::sha256(b"x");
    assert_eq!(reference.pinned(other.clone()).to_string(), format!("localhost:5000/a/b@{other}"));
    assert_eq!(reference.tagged("v2").unwrap().to_string(), "localhost:5000/a/b:v2");
    assert!(reference.tagged("-").is_err());
    assert_eq!(Reference::parse("redis").unwrap().familiar_name(), "redis");
}

#[test]
fn malformed_references_are_refused_with_the_reason() {
    let long_tag = format!("redis:{}", "x".repeat(129));
    let long_name = format!("example.com/{}", "x".repeat(256));
    let image_id = &DIGEST[7..];
    for (text, says) in [
        ("", "it is empty"),
        ("Redis", "must be lower-case"),
        ("library/Redis:7", "must be lower-case"),
        ("example.com/App", "must be lower-case"),
        ("a//b", "empty component"),
        ("a/", "empty component"),
        ("example.com/", "the repository is empty"),
        ("/a", "empty component"),
        (":7", "the repository is empty"),
        ("redis:", "the tag is empty"),
        ("redis:.x", "begins with '.' or '-'"),
        ("redis:a b", "contains ' '"),
        ("redis:a:b", "contains ':'"),
        (&long_tag, "longer than 128"),
        (&long_name, "longer than 255"),
        (image_id, "64 hex digits"),
        (DIGEST, "digest without a name"),
        ("https://example.com/app", "leave out \"https://\""),
        ("docker://redis", "leave out \"docker://\""),
        ("redis@sha256:00", "wrong number of hex digits"),
        ("redis@", "no ':'"),
        ("redis@md5:d41d8cd98f00b204e9800998ecf8427e", "unsupported algorithm"),
        ("a..b", "between letters"),
        ("a___b", "between letters"),
        ("a._b", "between letters"),
        ("-a", "begin and end"),
        ("a-", "begin and end"),
        ("a/_b", "begin and end"),
        ("a b", "contains ' '"),
        ("réd", "contains 'é'"),
        ("../../etc/passwd", "is not a host name"),
        ("a/../b", "begin and end"),
        ("-bad.com/a", "is not a host name"),
        ("bad-.com/a", "is not a host name"),
        ("bad..com/a", "is not a host name"),
        ("bad_host.com/a", "is not a host name"),
        ("ex.com:port/a", "port that is not a number"),
        ("ex.com:/a", "port that is not a number"),
        ("a:b/c", "port that is not a number"),
        ("[::1/a", "closing ']'"),
        ("[]:1/a", "bracketed IPv6"),
        ("[::1%eth0]/a", "bracketed IPv6"),
        ("[::1]x/a", "port that is not a number"),
        ("example.com/a\n", "contains '\\n'"),
    ] {
        let error = Reference::parse(text).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::InvalidArgument);
        assert!(error.message().contains(says), "{text:?}: {error}");
    }
    assert!(Reference::parse(&long_tag[..long_tag.len() - 1]).is_ok());
    assert!(Reference::parse(&long_name[..long_name.len() - 1]).is_ok());
}

#[test]
fn stored_names_are_taken_as_they_are() {
    for text in [
        "docker.io/library/redis:latest",
        "docker.io/redis:latest",
        "docker.io/library/redis",
        "index.docker.io/library/redis:7",
        "localhost/app@D!",
        "ghcr.io/a/b:v1@D!",
    ] {
        let text = with_digest(text);
        let reference = Reference::parse_canonical(&text).unwrap();
        assert_eq!(reference.to_string(), text);
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    }
    for text in ["redis", "library/redis:latest", "moby-dangling@D!", "D!"] {
        assert!(Reference::parse_canonical(&with_digest(text)).is_err(), "{text}");
    }
    // Its short form would be completed to another name, so it has none.
    let bare = Reference::parse_canonical("docker.io/redis:7").unwrap();
    assert_eq!(bare.familiar(), "docker.io/redis:7");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,60}") {
        let _ = (Reference::parse(&text), Reference::parse_canonical(&text));
    }

    #[test]
    fn canonical_and_familiar_forms_lead_back(
        text in "((docker\\.io|index\\.docker\\.io|localhost(:[0-9]{1,4})?|[a-z]{1,3}\\.[a-z]{1,2}|library|[a-z]{1,4})/){0,3}[a-z0-9]{1,3}([._-][a-z0-9]{1,2}){0,2}(:[a-zA-Z0-9_.]{1,4})?(@D!)?"
    ) {
        if let Ok(reference) = Reference::parse(&with_digest(&text)) {
            let canonical = reference.to_string();
            prop_assert_eq!(Reference::parse_canonical(&canonical).unwrap(), reference.clone());
            prop_assert_eq!(Reference::parse(&canonical).unwrap(), reference.clone());
            prop_assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
        }
    }
}
