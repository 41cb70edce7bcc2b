use std::path::Path;

use lamina_core::{Kind, oci};
use lamina_image::registry;
use lamina_store::diff::apply;

use super::*;

/// What the files say; the first is read, the others lie beside it.
fn try_load(files: &[(&str, &str)]) -> lamina_core::Result<Loaded> {
    let temp = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = temp.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let here = format!("{}/", temp.path().display());
    let loaded = load(Some(&temp.path().join(files[0].0)));
    loaded.map(|mut loaded| {
        loaded.warnings.iter_mut().for_each(|line| *line = line.replace(&here, ""));
        loaded
    })
}

fn parse(text: &str) -> lamina_core::Result<Loaded> {
    try_load(&[("config.toml", text)])
}

/// What a file says, in which everything has an effect.
fn config(text: &str) -> Config {
    let loaded = parse(text).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    loaded.config
}

#[test]
fn every_setting_is_written_and_read_back() {
    let default = Config::default();
    assert_eq!(parse(&default.to_toml()).unwrap().config, default);
    let config = Config {
        root: "/r".into(),
        temp: Some("/t".into()),
        durability: Durability::None,
        sharing: Sharing::Isolated,
        oom_score: -999,
        disabled_plugins: vec!["a.b".into()],
        required_plugins: vec!["c.d".into()],
        grpc: Socket { address: Some("/g".into()), uid: 1, gid: 2 },
        ttrpc: Socket { address: Some("/s".into()), uid: 3, gid: 4 },
        metrics: Some("localhost:1".into()),
        log_level: Level::Warn,
        gc: Gc { pause_threshold: 0.5, startup_delay: Duration::from_secs(3), ..Gc::default() },
        transfer: Transfer {
            check_platform_supported: true,
            unpack: Some(vec![Unpack {
                platform: "linux/amd64".into(),
                snapshotter: "a\"b".into(),
                layer_types: vec!["x".into()],
                optional: true,
                ..Unpack::default()
            }]),
            ..Transfer::default()
        },
        cri_snapshotter: "native".into(),
        timeouts: [("io.containerd.timeout.x".to_owned(), Duration::from_millis(1500))].into(),
        proxies: [(
            "stargz".to_owned(),
            Proxy {
                kind: ProxyKind::Snapshotter,
                address: "/run/stargz.sock".into(),
                platform: Some("linux/arm64".into()),
                capabilities: vec!["remap-ids".into()],
                exports: [("root".to_owned(), "/var/lib/x".to_owned())].into(),
            },
        )]
        .into(),
        ..default
    };
    assert_eq!(parse(&config.to_toml()).unwrap().config, config);
}

#[test]
fn every_setting_differs_from_no_other() {
    let mut names: Vec<String> = Vec::new();
    for group in settings::GROUPS {
        for setting in group.settings {
            assert!(!setting.about.is_empty(), "{}", setting.key);
            names.push(load::name(&[group.path, &[setting.key]].concat()));
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn limits_are_read() {
    let numbers = "free_bytes = 0\nmanifest_bytes = 2\ndocument_bytes = 3\n\
        document_entries = 4\nlayer_entries = 5\nlayer_bytes = 6\nlayer_ratio = 7\n\
        layer_xattrs = 8\nlayer_metadata_bytes = 9000\nlayer_path_bytes = 10\n\
        layer_sparse_regions = 11\n";
    let layer = apply::Limits {
        entries: 5,
        stream_bytes: 6,
        ratio: Some(7),
        xattrs: 8,
        metadata_bytes: 9000,
        path_bytes: 10,
        sparse_regions: 11,
        free_bytes: 0,
    };
    let documents = oci::Limits { bytes: 3, entries: 4 };
    let registry = registry::Limits { manifest: 2, ..registry::Limits::default() };
    let want = Limits { reserve: 0, layer, documents, registry };
    assert_eq!(config(&format!("[limits]\n{numbers}")).limits, want);
}

#[test]
fn what_is_wrong_is_refused() {
    for (text, says) in [
        ("root = ", "it is not TOML"),
        ("version = 5", "version 5 is not supported, only up to 4"),
        ("version = -1", "version -1 is not supported"),
        ("version = \"3\"", "version must be a number"),
        ("root = \"here\"", "setting root must be an absolute path"),
        ("durability = \"some\"", "durability must be \"full\" or \"none\""),
        ("oom_score = 1001", "oom_score must be -1000 to 1000, and is 1001"),
        ("plugins = 1", "plugins must be a table"),
        ("imports = [1]", "imports must be a list of texts"),
        ("version = 2\ndisabled_plugins = [\"cri\"]", "disabled_plugins must be a list of plugins"),
        ("[debug]\nlevel = \"loud\"", "debug.level must be \"trace\" or"),
        ("[grpc]\nuid = -1", "grpc.uid must be 0 to"),
        ("[timeouts]\nx = \"soon\"", "timeouts.x must be a duration"),
        ("[proxy_plugins]\nx = 1", "proxy_plugins.x must be a table"),
        ("[proxy_plugins.x]\ntype = \"y\"", "proxy_plugins.x.type must be \"snapshot\" or"),
        ("[proxy_plugins.x]\ntype = \"diff\"", "proxy_plugins.x.address must be the absolute path"),
        ("[limits]\nlayer_bytes = \"1 GiB\"", "limits.layer_bytes must be a whole number"),
        ("[limits]\nlayer_bytes = 0", "limits.layer_bytes must be 1 to"),
        ("[limits]\nfree_bytes = -1", "limits.free_bytes must be 0 to"),
        ("[limits]\ndocument_bytes = 1073741825", "must be 1 to 1073741824"),
        (
            "[plugins.\"io.containerd.snapshotter.v1.overlayfs\"]\nmount_options = \"x\"",
            "overlayfs\".mount_options must be a list of texts",
        ),
        (
            "[plugins.\"io.containerd.gc.v1.scheduler\"]\npause_threshold = -0.1",
            "pause_threshold must be a share of time",
        ),
        (
            "[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]\nplatform = \"\"",
            "unpack_config must be a list of tables with platform",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{text}");
        assert!(error.chain().contains("config.toml: "), "{}", error.chain());
        assert!(error.chain().contains(says), "{text}: {}", error.chain());
    }
    assert_eq!(load(Some(Path::new("/nowhere/x.toml"))).unwrap_err().kind(), Kind::NotFound);
}
