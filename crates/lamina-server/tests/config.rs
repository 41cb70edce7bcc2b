//! Configuration files as others write them: what they mean here, and what is said to have no effect.

#![allow(clippy::unwrap_used, clippy::panic)] // Outside of `#[test]` too, this is all tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lamina_core::{Kind, Namespace};
use lamina_server::config::{self, Config, Level, Loaded};

/// Reads a file of `tests/config`, and checks its warnings against the golden ones.
fn known(name: &str) -> Config {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let file = folder.join(format!("{name}.toml"));
    let Loaded { config, warnings } = config::load(Some(&file)).unwrap();
    let prefix = format!("{}: ", file.display());
    let got: Vec<&str> = warnings.iter().map(|line| line.strip_prefix(&prefix).unwrap()).collect();
    let golden = std::fs::read_to_string(folder.join(format!("{name}.warnings"))).unwrap();
    let want: Vec<&str> = golden.lines().collect();
    assert_eq!(got, want, "{name}:\n{}", got.join("\n"));
    config
}

fn path(text: &str) -> Option<PathBuf> {
    Some(text.into())
}

#[test]
fn as_docker_writes_it() {
    let config = known("docker-v2");
    assert_eq!(config.root, Path::new("/var/lib/docker/containerd/daemon"));
    assert_eq!(config.state, Path::new("/var/run/docker/containerd/daemon"));
    assert_eq!(config.grpc_address(), Path::new("/var/run/docker/containerd/containerd.sock"));
    assert_eq!((config.grpc.uid, config.grpc.gid), (7, 112));
    assert_eq!(config.disabled_plugins, ["io.containerd.grpc.v1.cri"]);
    assert_eq!(config.log_level, Level::Debug);
}

#[test]
fn as_kubeadm_nodes_have_it() {
    let config = known("kubeadm-v2");
    assert_eq!(config.oom_score, -999);
    assert_eq!(config.metrics.as_deref(), Some("127.0.0.1:1338"));
    let gc = config::Gc {
        pause_threshold: 0.1,
        deletion_threshold: 5,
        mutation_threshold: 50,
        schedule_delay: Duration::from_secs(1),
        startup_delay: Duration::from_millis(200),
    };
    assert_eq!(config.gc, gc);
    let of = |namespace: &str| config.snapshotter(&Namespace::new(namespace).unwrap()).to_owned();
    assert_eq!((of("k8s.io"), of("default")), ("native".to_owned(), "overlayfs".to_owned()));
    let limit = config.timeouts["io.containerd.timeout.shim.load"];
    assert_eq!(limit, Duration::from_secs(5));
}

#[test]
fn as_k3s_writes_it() {
    let config = known("k3s-v3");
    assert_eq!(config.grpc.address, path("/run/k3s/containerd/containerd.sock"));
    assert_eq!(config.opt, Path::new("/var/lib/rancher/k3s/agent/containerd"));
    let proxy = &config.proxies["stargz"];
    assert_eq!(proxy.kind, config::ProxyKind::Snapshotter);
    assert_eq!(proxy.exports["root"], "/var/lib/containerd-stargz-grpc/");
}

#[test]
fn as_containerd_prints_its_default() {
    let v3 = known("default-v3");
    let paths = Config {
        root: "/var/lib/containerd".into(),
        state: "/run/containerd".into(),
        timeouts: v3.timeouts.clone(),
        ..Config::default()
    };
    let mut want = paths.clone();
    want.grpc.address = path("/run/containerd/containerd.sock");
    assert_eq!(v3, want);
    let v4 = known("default-v4");
    assert_eq!(v4.grpc.gid, 5);
    assert_eq!(v4.ttrpc.address, path("/run/containerd/containerd.sock.ttrpc"));
    assert_eq!(v4.transfer.max_concurrent_downloads, 6);
    assert_eq!(v4.transfer.unpack.unwrap()[0].differ, "walking");
}

#[test]
fn as_it_was_with_short_names() {
    let config = known("short-v1");
    assert_eq!(
        config.disabled_plugins,
        ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs"]
    );
    assert_eq!(config.required_plugins, ["io.containerd.snapshotter.v1.overlayfs"]);
    assert_eq!(config.grpc.address, path("/run/old.sock"));
    assert_eq!(config.gc.mutation_threshold, 7);
    assert_eq!(config.drivers.overlayfs.root_path, path("/data"));
    assert_eq!(config.cri_snapshotter, "native");
}

/// Reads the first of these files; the others lie around it.
fn load(files: &[(&str, &str)]) -> lamina_core::Result<Loaded> {
    let temp = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = temp.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let here = temp.path().display().to_string();
        std::fs::write(path, text.replace("$HERE", &here)).unwrap();
    }
    config::load(Some(&temp.path().join(files[0].0)))
}

#[test]
fn imports_win_and_lists_of_plugins_add_up() {
    let main = r#"
        version = 3
        imports = ["conf.d/*.toml", "$HERE/one.toml", "none/*.toml"]
        disabled_plugins = ["a.b"]
        [grpc]
        address = "/main"
        uid = 1
        [plugins."io.containerd.snapshotter.v1.overlayfs"]
        mount_options = ["x"]
        slow_chown = true
        [proxy_plugins.p]
        type = "snapshot"
        address = "/p"
        capabilities = ["rebase"]
    "#;
    let first = r#"
        version = 2
        imports = ["../main.toml"]
        disabled_plugins = ["c.d", "a.b"]
        [grpc]
        uid = 2
        address = ""
        [plugins."io.containerd.grpc.v1.cri".containerd]
        snapshotter = "btrfs"
        [proxy_plugins.p]
        type = "snapshot"
        address = "/q"
    "#;
    let second = r#"
        version = 3
        [plugins."io.containerd.snapshotter.v1.overlayfs"]
        mount_options = ["y"]
        [plugins."io.containerd.cri.v1.images"]
        snapshotter = "native"
    "#;
    let files = [
        ("main.toml", main),
        ("conf.d/1.toml", first),
        ("conf.d/2.toml", second),
        ("conf.d/3.conf", "nonsense ["),
        ("one.toml", "[grpc]\nuid = 3\n"),
    ];
    let config = load(&files).unwrap().config;
    assert_eq!((config.grpc.address, config.grpc.uid), (path("/main"), 3));
    assert_eq!(config.disabled_plugins, ["a.b", "c.d"]);
    let overlayfs = &config.drivers.overlayfs;
    assert_eq!(
        (overlayfs.mount_options.as_slice(), overlayfs.slow_chown),
        (&["y".to_owned()][..], true)
    );
    assert_eq!(config.cri_snapshotter, "native");
    let proxy = &config.proxies["p"];
    assert_eq!((proxy.address.as_path(), proxy.capabilities.len()), (Path::new("/q"), 0));
}

#[test]
fn imports_that_cannot_be_are_refused_by_name() {
    for (main, other, kind, says) in [
        ("imports = [\"gone.toml\"]", "", Kind::NotFound, "gone.toml"),
        ("version = 2\nimports = [\"o.toml\"]", "version = 3", Kind::InvalidArgument, "version 3"),
        ("imports = [\"*.toml\"]", "root = 1", Kind::InvalidArgument, "o.toml: setting root"),
    ] {
        let error = load(&[("main.toml", main), ("o.toml", other)]).unwrap_err();
        assert_eq!(error.kind(), kind, "{main}");
        assert!(error.chain().contains(says), "{main}: {}", error.chain());
    }
}
