//! `lamina pull` past whatever stands before a registry: passwords, mirrors, certificates, proxies.

use std::path::{Path, PathBuf};

use lamina_core::Platform;
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::proxy::TestProxy;
use lamina_testkit::registry::{Access, Options, TestRegistry, Tokens};
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

use crate::environment::{Run, TestEnvironment, says};

/// `me:se:cret` and `me:wrong` in base64, as `config.json` has them.
const RIGHT: &str = "bWU6c2U6Y3JldA==";
const WRONG: &str = "bWU6d3Jvbmc=";

fn image() -> Image {
    ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer(TarBuilder::archive([Entry::file("hello", "hello")]))
        .build()
}

/// A registry with the image as `app:1`.
fn serve(access: Access, tls: bool) -> TestRegistry {
    let registry = TestRegistry::with(Options { access, tls, ..Options::default() });
    registry.push("app", "1", &image());
    registry
}

/// The two kinds of registries that ask for a login, both for user `me` with password `se:cret`.
fn asking() -> [TestRegistry; 2] {
    let basic = Access::Basic("me".into(), "se:cret".into());
    [basic, Access::Tokens(Tokens::for_user("me", "se:cret"))].map(|access| serve(access, false))
}

/// Pulls `app:1` of the registry at `host` with flags and variables.
fn pull(env: &TestEnvironment, host: &str, flags: &[&str], vars: &[(&str, &Path)]) -> Run {
    let reference = format!("{host}/app:1");
    let words = ["pull", "-q", "--platform", "linux/amd64", "--no-unpack"];
    let mut command = env.command(&[&words[..], flags, &[&reference]].concat());
    env.finish(command.envs(vars.iter().copied()).output().unwrap())
}

#[track_caller]
fn pulled(run: &Run, host: &str) {
    let all = (run.code, run.stderr.as_str(), run.stdout.as_str());
    assert_eq!(all, (0, "", format!("{host}/app:1\n").as_str()));
}

/// The pull fails, and what it says has none of the passwords in it.
#[track_caller]
fn refused(run: &Run, says_so: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
    says(&run.stderr, says_so);
    assert!(!run.stderr.contains("cret") && !run.stderr.contains("wrong"), "{}", run.stderr);
}

#[test]
fn a_user_and_a_password_open_registries_of_both_kinds() {
    for registry in asking() {
        let host = registry.host();
        let with = |user: &str| {
            let env = TestEnvironment::new();
            pull(&env, &host, &["--plain-http", "--user", user], &[])
        };
        pulled(&with("me:se:cret"), &host);
        refused(&with("me:wrong"), &["error: pull", &host, "401"]);
        let env = TestEnvironment::new();
        refused(&pull(&env, &host, &["--plain-http"], &[]), &["error: pull", &host]);
        let reference = format!("{host}/app:1");
        let args = ["pull", "-q", "--plain-http", "--platform", "linux/amd64", "-u", "me"];
        let run = env.run_with_input(&[&args[..], &[&reference]].concat(), b"se:cret\n");
        pulled(&run, &host);
    }
}

#[test]
fn dockers_configuration_has_passwords_and_helpers() {
    for registry in asking() {
        let env = TestEnvironment::new();
        let host = registry.host();
        let write = |folder: &str, config: serde_json::Value| -> PathBuf {
            let folder = env.temp().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
            folder
        };
        let right = json!({"auths": {&host: {"auth": RIGHT}}});
        let wrong = json!({"auths": {&host: {"auth": WRONG}}});
        let other = json!({"auths": {"r.example": {"auth": RIGHT}}});
        let helped = json!({"credHelpers": {&host: "test"}});
        let with = |vars: &[(&str, &Path)]| pull(&env, &host, &["--plain-http"], vars);

        refused(&with(&[("DOCKER_CONFIG", &write("wrong", wrong))]), &["401"]);
        refused(&with(&[("DOCKER_CONFIG", &write("other", other))]), &["error: pull", &host]);
        // A helper that is named and is not there is an error, and no way around it.
        let (bin, helped) = (env.temp().join("bin"), write("helped", helped));
        refused(&with(&[("DOCKER_CONFIG", &helped), ("PATH", &bin)]), &["docker-credential-test"]);
        std::fs::create_dir(&bin).unwrap();
        // Written by another process: one that forks meanwhile must not hold it open for writing.
        env.file(
            "helper",
            "#!/bin/sh\nread server\n[ \"$1\" = get ] || exit 1\n\
             echo \"{\\\"Username\\\":\\\"me\\\",\\\"Secret\\\":\\\"se:cret\\\",\\\"ServerURL\\\":\\\"$server\\\"}\"\n",
        );
        env.shell(
            "cp $TEMP/helper $TEMP/bin/docker-credential-test; \
             chmod 755 $TEMP/bin/docker-credential-test",
        );
        let run = with(&[("DOCKER_CONFIG", &helped), ("PATH", &bin)]);
        pulled(&run, &host);
        // In the home directory, unless the variable says where.
        let home = write("home/.docker", right.clone());
        let home = home.parent().unwrap();
        pulled(&with(&[("HOME", home)]), &host);
        pulled(&with(&[("DOCKER_CONFIG", &write("right", right))]), &host);
        let nothing = write("nothing", json!({}));
        refused(&with(&[("HOME", home), ("DOCKER_CONFIG", &nothing)]), &["error: pull"]);
        // What is typed goes before what is written.
        let flags = ["--plain-http", "--user", "me:wrong"];
        refused(&pull(&env, &host, &flags, &[("HOME", home)]), &["401"]);
        let broken = env.temp().join("broken");
        std::fs::create_dir(&broken).unwrap();
        std::fs::write(broken.join("config.json"), "{\"auths\": \"se:cret").unwrap();
        let run = with(&[("DOCKER_CONFIG", &broken)]);
        refused(&run, &["credentials of $TEMP/broken/config.json"]);
    }
}

#[test]
fn hosts_files_name_mirrors_and_authorities() {
    let upstream = serve(Access::Open, true);
    let mirror = upstream.sibling();
    mirror.push("app", "1", &image());
    let host = upstream.host();
    let env = TestEnvironment::new();
    let own = env.temp().join("hosts").join(&host);
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("ca.pem"), upstream.ca()).unwrap();
    let (server, first) = (upstream.url(), mirror.url());
    let write = |toml: String| std::fs::write(own.join("hosts.toml"), toml).unwrap();
    let hosts = env.temp().join("hosts").display().to_string();
    let flags = ["--hosts-dir", &hosts];
    write(format!("server = {server:?}\n"));
    let untrusted = ["error: pull", host.as_str(), "certificate is not trusted"];
    refused(&pull(&env, &host, &flags, &[]), &untrusted);
    write(format!(
        "server = {server:?}\nca = \"ca.pem\"\nunheard = 1\n\
         [host.{first:?}]\ncapabilities = [\"pull\"]\nca = \"ca.pem\"\n"
    ));
    let run = pull(&env, &host, &flags, &[]);
    assert_eq!((run.code, run.stdout.as_str()), (0, format!("{host}/app:1\n").as_str()));
    says(&run.stderr, &["warning: ", "unheard"]);
    let layer = &image().layers[0];
    assert_eq!(mirror.bytes_sent(&layer.digest), layer.size, "the mirror has the bytes");
    assert_eq!(upstream.bytes_sent(&layer.digest), 0);
    assert!(!upstream.requests().is_empty(), "a mirror that may only `pull` is not asked for tags");
    // A file that cannot be read is no reason to go without it.
    write("server = ".to_owned());
    refused(&pull(&env, &host, &flags, &[]), &["$TEMP/hosts/", "hosts.toml"]);
}

/// `0.0.0.0` leads to this machine and is no loopback address, which proxies never get.
fn seen_from_outside(registry: &TestRegistry) -> String {
    registry.host().replace("127.0.0.1", "0.0.0.0")
}

#[test]
fn proxies_of_the_environment_are_used() {
    let plain = serve(Access::Open, false);
    let host = seen_from_outside(&plain);
    let proxy = TestProxy::start(&plain.host());
    let url = PathBuf::from(proxy.url());
    let gone = Path::new("http://127.0.0.1:1");
    let http = ["--plain-http"];
    let asked = |vars: &[(&str, &Path)]| {
        let run = pull(&TestEnvironment::new(), &host, &http, vars);
        pulled(&run, &host);
        proxy.take()
    };
    let target = format!("GET http://{host}/v2/app/blobs/{}", image().layers[0].digest);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let requests = asked(&[(name, &url)]);
        assert!(requests.contains(&target), "{name}: {requests:?}");
    }
    assert!(asked(&[("http_proxy", &url), ("HTTP_PROXY", gone)]).contains(&target));
    assert!(asked(&[("HTTP_PROXY", &url), ("ALL_PROXY", gone)]).contains(&target));
    for name in ["NO_PROXY", "no_proxy"] {
        let none = Path::new("r.example,0.0.0.0");
        assert_eq!(asked(&[("HTTP_PROXY", &url), (name, none)]), [""; 0], "{name}");
    }
    assert_eq!(asked(&[("HTTPS_PROXY", &url)]), [""; 0], "of the other scheme");
}

#[test]
fn https_goes_through_a_proxy_unread() {
    let secure = serve(Access::Open, true);
    let proxy = TestProxy::start(&secure.host());
    let url = PathBuf::from(proxy.url());
    // Only the proxy knows where this host is; the certificate is another's.
    let host = "registry.example";
    let (env, vars) = (TestEnvironment::new(), [("HTTPS_PROXY", url.as_path())]);
    refused(&pull(&env, host, &[], &vars), &["registry.example", "certificate is not trusted"]);
    pulled(&pull(&env, host, &["--skip-verify"], &vars), host);
    let requests = proxy.take();
    assert!(!requests.is_empty());
    assert!(requests.iter().all(|line| line == "CONNECT registry.example:443"), "{requests:?}");
}
