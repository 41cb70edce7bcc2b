use super::*;

use proptest::prelude::*;

fn parsed(text: &str) -> Platform {
    Platform::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn texts_are_read_with_aliases_and_host_defaults() {
    let host = Platform::host();
    // Text, os, architecture, variant; "-" is the host's.
    for (text, os, architecture, variant) in [
        ("linux/amd64", "linux", "amd64", ""),
        ("linux/amd64/v1", "linux", "amd64", ""),
        ("linux/amd64/v3", "linux", "amd64", "v3"),
        ("linux/x86_64", "linux", "amd64", ""),
        ("Linux/X86-64", "linux", "amd64", ""),
        ("linux/i386", "linux", "386", ""),
        ("linux/aarch64", "linux", "arm64", ""),
        ("linux/arm64", "linux", "arm64", ""),
        ("linux/arm64/v8", "linux", "arm64", "v8"),
        ("linux/arm64/8", "linux", "arm64", "v8"),
        ("linux/arm64/v9.0", "linux", "arm64", "v9"),
        ("linux/arm64/v9.3", "linux", "arm64", "v9.3"),
        ("linux/arm", "linux", "arm", ""),
        ("linux/armhf", "linux", "arm", ""),
        ("linux/armel", "linux", "arm", "v6"),
        ("linux/arm/7", "linux", "arm", "v7"),
        ("linux/arm/v6", "linux", "arm", "v6"),
        ("macos/arm64", "darwin", "arm64", ""),
        ("linux/never-heard-of", "linux", "never-heard-of", ""),
        ("arm64", "-", "arm64", ""),
        ("aarch64", "-", "arm64", ""),
        ("armhf", "-", "arm", ""),
        ("armel", "-", "arm", "v6"),
        ("s390x", "-", "s390x", ""),
        ("linux", "linux", "-", "-"),
        ("windows", "windows", "-", "-"),
        ("macos", "darwin", "-", "-"),
    ] {
        let platform = parsed(text);
        let or_host =
            |text: &str, host: &str| if text == "-" { host.to_owned() } else { text.into() };
        assert_eq!(platform.os, or_host(os, &host.os), "{text}");
        assert_eq!(platform.architecture, or_host(architecture, &host.architecture), "{text}");
        if variant != "-" {
            assert_eq!(platform.variant, variant, "{text}");
        }
    }
}

#[test]
fn versions_and_features_of_a_system_are_read_and_printed() {
    for (text, version, features, prints) in [
        ("windows(10.0.17763)/amd64", "10.0.17763", &[][..], "windows(10.0.17763)/amd64"),
        ("windows(10.0.1+win32k)/amd64", "10.0.1", &["win32k"], "windows(10.0.1+win32k)/amd64"),
        ("linux(+b+a+b)/arm/v6", "", &["b", "a", "b"], "linux(+a+b)/arm/v6"),
        ("linux(+a%2Bb)/arm", "", &["a+b"], "linux(+a%2Bb)/arm"),
        ("linux()/arm", "", &[], "linux/arm"),
    ] {
        let platform = parsed(text);
        assert_eq!((platform.os_version.as_str(), features), (version, features), "{text}");
        assert_eq!(platform.os_features, features, "{text}");
        assert_eq!(platform.to_string(), prints);
        assert_eq!(parsed(prints).normalized(), platform.normalized());
    }
    assert_eq!(parsed("windows(10.0.17763)/amd64").short(), "windows/amd64");
    assert_eq!(Platform::default().to_string(), "unknown");
}

#[test]
fn malformed_texts_are_refused_with_the_reason() {
    for (text, says) in [
        ("", "component \"\""),
        ("nonsense", "neither an operating system nor an architecture"),
        ("linux/", "component \"\""),
        ("/amd64", "component \"\""),
        ("linux//v8", "component \"\""),
        ("linux/arm/v7/extra", "more than OS/ARCH/VARIANT"),
        ("linux/*", "wildcards"),
        ("linux/am d64", "component \"am d64\""),
        ("windows(10.0/amd64", "not closed"),
        ("windows(1 0)/amd64", "no version or feature"),
        ("linux(+)/amd64", "empty feature"),
        ("linux(+a%2)/amd64", "two hex digits"),
        ("linux(+%ff)/amd64", "UTF-8"),
        ("amd64(1)", "neither"),
    ] {
        let error = Platform::parse(text).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::InvalidArgument);
        assert!(error.message().contains(says), "{text}: {error}");
    }
}

#[test]
fn the_host_matches_itself() {
    let host = Platform::host();
    assert!(Platform::parse(&host.to_string()).unwrap().matches(&host));
    assert!(Matcher::only(&host).matches(&host));
}

#[test]
fn json_is_that_of_oci() {
    let json = serde_json::json!({
        "architecture": "amd64", "os": "windows", "os.version": "10.0.14393.1066",
        "os.features": ["win32k"], "variant": "v2",
    });
    let platform: Platform = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&platform).unwrap(), json);
    let sparse: Platform =
        serde_json::from_str(r#"{"os":"linux","variant":null,"os.features":null,"x":1}"#).unwrap();
    assert_eq!(sparse, Platform::new("linux", ""));
    assert_eq!(serde_json::to_string(&sparse).unwrap(), r#"{"architecture":"","os":"linux"}"#);
}

/// What `only` accepts of a list, best first.
fn chosen(matcher: &Matcher, offered: &[&str]) -> String {
    let mut platforms: Vec<Platform> =
        offered.iter().map(|text| parsed(text)).filter(|p| matcher.matches(p)).collect();
    platforms.sort_by_key(|platform| matcher.rank(platform));
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn only_takes_what_the_processor_runs_best_first() {
    let offered = [
        "linux/s390x",
        "linux/386",
        "linux/arm/v5",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm/v8",
        "linux/arm64",
        "linux/arm64/v8.5",
        "linux/arm64/v8.6",
        "linux/arm64/v9",
        "linux/arm64/v9.1",
        "linux/amd64",
        "linux/amd64/v2",
        "linux/amd64/v3",
        "linux/amd64/v4",
        "windows/amd64",
    ];
    for (wish, expected) in [
        ("linux/amd64", "linux/amd64 linux/386"),
        ("linux/amd64/v1", "linux/amd64 linux/386"),
        ("linux/amd64/v3", "linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386"),
        ("linux/386", "linux/386"),
        ("linux/arm", "linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        ("linux/arm/v8", "linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        ("linux/arm/v5", "linux/arm/v5"),
        ("linux/arm64", "linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        (
            "linux/arm64/v8.5",
            "linux/arm64/v8.5 linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5",
        ),
        (
            "linux/arm64/v9",
            "linux/arm64/v9 linux/arm64/v8.5 linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5",
        ),
        (
            "linux/arm64/v9.1",
            "linux/arm64/v9.1 linux/arm64/v9 linux/arm64/v8.6 linux/arm64/v8.5 linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5",
        ),
        ("linux/arm64/v10", ""),
        ("linux/amd64/v200", "linux/386"),
        ("linux/s390x", "linux/s390x"),
        ("linux/riscv64", ""),
        ("windows/amd64", "windows/amd64"),
    ] {
        let matcher = Matcher::only(&parsed(wish));
        assert_eq!(chosen(&matcher, &offered), expected, "{wish}");
    }
    let unheard_of = parsed("linux/arm64/v10");
    assert!(Matcher::only(&unheard_of).matches(&unheard_of));
}

#[test]
fn strict_ordered_any_and_all() {
    let offered = ["linux/386", "linux/arm/v6", "linux/arm", "linux/amd64"];
    let [amd64, arm] = ["linux/x86_64", "linux/arm/v7"].map(parsed);
    assert_eq!(chosen(&Matcher::strict(&amd64), &offered), "linux/amd64");
    assert_eq!(chosen(&Matcher::strict(&arm), &offered), "linux/arm");
    assert_eq!(chosen(&Matcher::ordered([&amd64, &arm]), &offered), "linux/amd64 linux/arm");
    assert_eq!(chosen(&Matcher::any([&amd64, &arm]), &offered), "linux/arm linux/amd64");
    assert_eq!(chosen(&Matcher::all(), &offered), offered.join(" "));
    assert!(Matcher::only(&amd64).less(&amd64, &arm) && !Matcher::only(&amd64).less(&arm, &amd64));
    assert!(!Matcher::all().less(&amd64, &arm));
    assert_eq!(chosen(&Matcher::any([]), &offered), "");
}

#[test]
fn features_must_be_wanted_and_more_of_them_are_better() {
    let matcher = Matcher::only(&parsed("linux(+erofs+gpu)/amd64"));
    let offered = [
        "linux/386",
        "linux(+erofs)/amd64",
        "linux/amd64",
        "linux(+other)/amd64",
        "linux(+gpu+erofs)/amd64",
        "linux(+erofs+other)/amd64",
    ];
    assert_eq!(
        chosen(&matcher, &offered),
        "linux(+erofs+gpu)/amd64 linux(+erofs)/amd64 linux/amd64 linux/386"
    );
    // What only lacks a feature still comes before what does not fit at all.
    assert!(matcher.less(&parsed("linux(+other)/amd64"), &parsed("linux(+other)/arm64")));
    assert!(!matcher.less(&parsed("linux(+other)/amd64"), &parsed("linux/386")));
}

#[test]
fn windows_releases_run_what_microsoft_says() {
    // Host, image, runs.
    for (host, image, runs) in [
        ("10.0.17763", "10.0.17763.1234", true),
        ("10.0.17763.55", "10.0.17763", true),
        ("10.0.17763", "10.0.20348", false),
        ("10.0.17134", "10.0.17763", false),
        ("10.0.20348", "10.0.20348", true),
        ("10.0.20348", "10.0.17763", false),
        ("10.0.22621", "10.0.20348", true),
        ("10.0.26100", "10.0.20348", true),
        ("10.0.26100", "10.0.26200", false),
        ("10.0.26300", "10.0.20348", false),
        ("10.0.26300", "10.0.26100", true),
        ("10.1.26300", "10.0.26100", false),
        ("", "10.0.1", true),
        ("10.0.17763", "", true),
        ("10.0.17763", "garbage", false),
    ] {
        let [host, image] = [host, image].map(|version| Platform {
            os_version: version.to_owned(),
            ..Platform::new("windows", "amd64")
        });
        assert_eq!(host.matches(&image), runs, "{host} {image}");
    }
    assert!(parsed("windows/amd64").matches(&parsed("windows(+win32k)/amd64")));
    assert!(!parsed("linux/amd64").matches(&parsed("linux(+win32k)/amd64")));
    // Elsewhere the version says nothing.
    assert!(parsed("linux(1)/amd64").matches(&parsed("linux(2)/amd64")));
}

proptest! {
    #[test]
    fn parsing_never_panics(text in ".{0,40}") {
        let _ = Platform::parse(&text);
    }

    #[test]
    fn what_is_parsed_prints_to_the_same_platform(
        text in "(linux|windows|macos)(\\([a-z0-9.]{0,4}(\\+[a-z%25]{1,2}){0,2}\\))?/(arm|arm64|amd64|armel)(/v?[5-9])?"
    ) {
        if let Ok(platform) = Platform::parse(&text) {
            let again = parsed(&platform.to_string());
            prop_assert_eq!(again.normalized(), platform.normalized());
        }
    }

    #[test]
    fn normalising_is_idempotent(os in "[A-Za-z]{0,6}", arch in "(ARM|arm64|amd64|x86_64|i386|armhf|q)",
        variant in "(v?[1-9](\\.0)?)?")
    {
        let once = Platform { variant, ..Platform::new(os, arch) }.normalized();
        prop_assert_eq!(once.normalized(), once);
    }
}
