//! Tests of finding and loading hosts.

use std::fs;

use lamina_core::Kind;

use super::*;

struct Dirs {
    root: tempfile::TempDir,
}

impl Dirs {
    fn new() -> Self {
        Dirs { root: tempfile::tempdir().unwrap() }
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn load(&self, registry: &str) -> Result<(Vec<Endpoint>, Vec<String>)> {
        let hosts_dirs = vec![self.root.path().join("a"), self.root.path().join("b")];
        load(registry, &Config { hosts_dirs, ..Config::default() })
    }

    fn bases(&self, registry: &str) -> Vec<String> {
        self.load(registry).unwrap().0.iter().map(|e| e.base.to_string()).collect()
    }
}

fn own(registry: &str, config: &Config) -> Endpoint {
    load(registry, config).unwrap().0.remove(0)
}

#[test]
fn without_files_the_registry_speaks_https_and_this_machine_may_not() {
    let plain = Config { plain_http: true, ..Config::default() };
    let config = Config::default();
    for (registry, config, base, fallback, skip) in [
        ("docker.io", &config, "https://registry-1.docker.io/v2", false, false),
        ("docker.io", &plain, "https://registry-1.docker.io/v2", false, false),
        ("r.example:5000", &config, "https://r.example:5000/v2", false, false),
        ("r.example:80", &config, "https://r.example:80/v2", false, false),
        ("r.example:5000", &plain, "http://r.example:5000/v2", false, false),
        ("localhost", &config, "https://localhost/v2", false, false),
        ("localhost:5000", &config, "https://localhost:5000/v2", true, true),
        ("127.0.0.1:80", &config, "http://127.0.0.1/v2", false, false),
        ("127.0.0.1:443", &config, "https://127.0.0.1/v2", false, false),
        ("[::1]:5000", &config, "https://[::1]:5000/v2", true, true),
        ("[::1]", &config, "https://[::1]/v2", false, false),
        ("127.0.0.1:5000", &plain, "http://127.0.0.1:5000/v2", false, false),
    ] {
        let endpoint = own(registry, config);
        let got = (endpoint.base.as_str(), endpoint.plain_fallback, endpoint.trust.skip_verify);
        assert_eq!(got, (base, fallback, skip), "{registry}");
        assert_eq!(endpoint.namespace, None, "{registry}");
    }
    let skip = Config { skip_verify: true, ..Config::default() };
    assert!(own("r.example", &skip).trust.skip_verify);
    assert_eq!(own("docker.io", &config).host(), "registry-1.docker.io");
    assert_eq!(own("r.example:5000", &config).host(), "r.example:5000");
}

#[test]
fn the_most_specific_directory_of_the_first_root_wins() {
    let dirs = Dirs::new();
    let server = |name: &str| format!("server = \"https://{name}\"");
    assert_eq!(dirs.bases("r.example:5000"), ["https://r.example:5000/v2"]);
    dirs.write("b/_default/hosts.toml", &server("default-b"));
    assert_eq!(dirs.bases("r.example:5000"), ["https://default-b/v2"]);
    dirs.write("a/r.example:5000/hosts.toml", &server("colon"));
    assert_eq!(dirs.bases("r.example:5000"), ["https://colon/v2"]);
    dirs.write("a/r.example_5000_/hosts.toml", &server("underscore"));
    assert_eq!(dirs.bases("r.example:5000"), ["https://underscore/v2"]);
    dirs.write("a/_default/hosts.toml", &server("default-a"));
    dirs.write("b/other.example/hosts.toml", &server("other"));
    assert_eq!(dirs.bases("other.example"), ["https://default-a/v2"]);
    dirs.write("a/[::1]_5000_/hosts.toml", &server("six"));
    assert_eq!(dirs.bases("[::1]:5000"), ["https://six/v2"]);
}

#[test]
fn mirrors_come_first_and_know_for_whom_they_stand() {
    let dirs = Dirs::new();
    dirs.write(
        "a/docker.io/hosts.toml",
        "[host.\"http://mirror.example:5000\"]\nheader = { x-a = \"b\" }\ndial_timeout = \"3s\"\n\
         [host.\"https://registry-1.docker.io\"]\nca = \"ca.pem\"\nclient = [[\"c.cert\", \"c.key\"], \
         \"d.pem\"]\n[typo]\n",
    );
    dirs.write("a/docker.io/ca.pem", "CA").write("a/docker.io/c.cert", "CERT");
    dirs.write("a/docker.io/c.key", "KEY").write("a/docker.io/d.pem", "D");
    let (endpoints, warnings) = dirs.load("docker.io").unwrap();
    let [mirror, hub, own] = &endpoints[..] else { panic!("{endpoints:?}") };
    assert_eq!(mirror.namespace.as_deref(), Some("docker.io"));
    assert_eq!(mirror.headers["x-a"], "b");
    assert_eq!(mirror.trust.dial_timeout, Some(std::time::Duration::from_secs(3)));
    assert!(mirror.trust.roots.is_empty() && !mirror.plain_fallback);
    assert_eq!((&hub.namespace, hub.trust.roots.len()), (&None, 1));
    assert_eq!(hub.trust.identity.as_deref(), Some(&b"CERT\nKEY"[..]));
    assert_eq!(own.base.as_str(), "https://registry-1.docker.io/v2");
    assert!(warnings[0].ends_with("hosts.toml: typo: not known, ignored"), "{warnings:?}");
    assert!(warnings[1].contains("d.pem: only the first client certificate"), "{warnings:?}");
}

#[test]
fn docker_certificate_files_are_taken_when_there_is_no_hosts_toml() {
    let dirs = Dirs::new();
    for name in ["ca.crt", "client.cert", "client.key", "readme.txt"] {
        dirs.write(&format!("a/r.example/{name}"), name);
    }
    let endpoint = dirs.load("r.example").unwrap().0.remove(0);
    assert_eq!(endpoint.base.as_str(), "https://r.example/v2");
    assert_eq!(endpoint.trust.roots, [b"ca.crt"]);
    assert_eq!(endpoint.trust.identity.as_deref(), Some(&b"client.cert\nclient.key"[..]));
    for (lonely, lacks) in [("a/s.example/x.cert", ".key"), ("a/t.example/x.key", ".cert")] {
        dirs.write(lonely, "");
        let error = dirs.load(&lonely[2..11]).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains(lacks), "{error}");
    }
}

#[test]
fn tls_configured_for_this_machine_is_kept_to() {
    let dirs = Dirs::new();
    dirs.write("a/127.0.0.1_5000_/ca.crt", "CA");
    let endpoint = dirs.load("127.0.0.1:5000").unwrap().0.remove(0);
    assert_eq!((endpoint.plain_fallback, endpoint.trust.skip_verify), (false, false));
}

#[test]
fn what_cannot_be_used_names_its_file() {
    let dirs = Dirs::new();
    dirs.write("a/x.example/hosts.toml", "server = 1");
    let error = dirs.load("x.example").unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert!(error.message().contains("x.example/hosts.toml: server: "), "{error}");
    dirs.write("a/y.example/hosts.toml", "ca = \"gone.pem\"");
    let error = dirs.load("y.example").unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.message().contains("gone.pem"), "{error}");
    dirs.write("a/z.example/hosts.toml", "header = { \"a b\" = \"c\" }");
    assert!(dirs.load("z.example").unwrap_err().message().contains("\"a b\""));
}
