use std::sync::Arc;

use lamina_core::introspection::{PluginInfo, PluginStatus};
use lamina_core::{Kind, Platform};
use lamina_store::Store;
use tempfile::TempDir;

use super::Site;
use crate::config::Config;
use crate::service;

/// A site of its own, whose native snapshotter cannot keep its files.
fn broken(change: impl FnOnce(&mut Config)) -> (TempDir, Site) {
    let temp = tempfile::tempdir().unwrap();
    let occupied = temp.path().join("occupied");
    std::fs::write(&occupied, "").unwrap();
    let mut config = Config {
        root: temp.path().join("root"),
        state: temp.path().join("state"),
        ..Config::default()
    };
    config.drivers.native.root_path = Some(occupied);
    change(&mut config);
    let store = Store::open(config.store()).unwrap();
    let services = Some(service::names(&config));
    (temp, Site { store, config: Arc::new(config), services, runtime: None })
}

fn find(plugins: &[PluginInfo], kind: &str, id: &str) -> PluginInfo {
    let found = plugins.iter().find(|plugin| plugin.kind == kind && plugin.id == id);
    found.unwrap_or_else(|| panic!("no {kind} {id} in {plugins:?}")).clone()
}

#[test]
fn a_broken_plugin_stops_no_other() {
    let (_temp, site) = broken(|_| ());
    let plugins = site.plugins();
    let native = find(&plugins, "io.containerd.snapshotter.v1", "native");
    assert_eq!(native.status(), PluginStatus::Error);
    assert!(native.init_error.unwrap().message.contains("occupied"));
    for (kind, id, status) in [
        ("io.containerd.content.v1", "content", PluginStatus::Ok),
        ("io.containerd.metadata.v1", "bolt", PluginStatus::Ok),
        ("io.containerd.event.v1", "exchange", PluginStatus::Ok),
        ("io.containerd.grpc.v1", "leases", PluginStatus::Ok),
        ("io.containerd.runtime.v2", "task", PluginStatus::Skip),
        ("io.containerd.snapshotter.v1", "zfs", PluginStatus::Skip),
    ] {
        assert_eq!(find(&plugins, kind, id).status(), status, "{kind} {id}");
    }
    site.check_required().unwrap();
}

#[test]
fn clients_find_what_they_look_for() {
    let (temp, site) = broken(|config| config.opt = "/opt/x".into());
    let plugins = site.plugins();
    let export = |kind, id, name: &str| find(&plugins, kind, id).exports[name].clone();
    let root = temp.path().join("root");
    let below = |path: &str| root.join(path).display().to_string();
    for (got, want) in [
        (export("io.containerd.internal.v1", "opt", "path"), "/opt/x".to_owned()),
        (
            export("io.containerd.content.v1", "content", "root"),
            below("io.containerd.content.v1.content"),
        ),
        (
            export("io.containerd.metadata.v1", "bolt", "path"),
            below("io.containerd.metadata.v1.sqlite/meta.db"),
        ),
        (export("io.containerd.metadata.v1", "bolt", "policy"), "shared".to_owned()),
        (export("io.containerd.gc.v1", "scheduler", "PauseThreshold"), "0.02".to_owned()),
        (
            export("io.containerd.snapshotter.v1", "native", "root"),
            temp.path().join("occupied").display().to_string(),
        ),
    ] {
        assert_eq!(got, want);
    }
    // BuildKit wants a runtime with platforms, whether it works or not.
    let task = find(&plugins, "io.containerd.runtime.v2", "task");
    assert_eq!(task.platforms, [Platform::host()]);
    // Types and ids are unique, and what is required is there.
    for plugin in &plugins {
        find(&plugins, &plugin.kind, &plugin.id);
        let same = |p: &&PluginInfo| p.kind == plugin.kind && p.id == plugin.id;
        assert_eq!(plugins.iter().filter(same).count(), 1, "{plugin:?}");
        for kind in &plugin.requires {
            assert!(plugins.iter().any(|p| p.kind == *kind), "{plugin:?} requires {kind}");
        }
    }
}

#[test]
fn every_service_that_is_served_has_its_row() {
    let (_temp, site) = broken(|_| ());
    let rows = site.plugins().into_iter().filter(|p| p.kind == "io.containerd.grpc.v1").count();
    assert_eq!(rows, service::names(&site.config).len());
}

#[test]
fn a_required_plugin_that_fails_is_named() {
    for (uri, says) in [
        ("io.containerd.snapshotter.v1.native", "occupied"),
        ("io.containerd.snapshotter.v1.zfs", "zfs dataset"),
        ("io.containerd.snapshotter.v1.none", "there is none, or it is disabled"),
        ("io.containerd.content.v1.content", ""),
    ] {
        let (_temp, site) = broken(|config| config.required_plugins = vec![uri.to_owned()]);
        match site.check_required() {
            Ok(()) => assert_eq!(says, "", "{uri}"),
            Err(error) => {
                assert_eq!(error.kind(), Kind::FailedPrecondition);
                assert!(!says.is_empty() && error.chain().contains(says), "{}", error.chain());
                assert!(error.chain().contains(uri), "{}", error.chain());
            }
        }
    }
}

#[test]
fn disabled_plugins_are_left_out() {
    let disabled = [
        "io.containerd.snapshotter.v1.native",
        "io.containerd.grpc.v1.leases",
        "io.containerd.grpc.v1.cri",
        "io.containerd.content.v1.content",
    ];
    let (_temp, site) =
        broken(|config| config.disabled_plugins = disabled.map(str::to_owned).to_vec());
    assert!(site.store.engine("native").is_err());
    assert!(!service::names(&site.config).contains(&"containerd.services.leases.v1.Leases"));
    for plugin in site.plugins() {
        let uri = format!("{}.{}", plugin.kind, plugin.id);
        assert!(!disabled.contains(&uri.as_str()), "{uri}");
    }
    let fixed = site.cannot_disable();
    assert_eq!(fixed.len(), 1, "{fixed:?}");
    assert!(fixed[0].contains("io.containerd.content.v1.content"));
}

#[test]
fn without_a_daemon_nothing_is_served() {
    let (_temp, mut site) = broken(|_| ());
    site.services = None;
    let plugins = site.plugins();
    let transfer = find(&plugins, "io.containerd.transfer.v1", "local");
    assert_eq!(transfer.status(), PluginStatus::Skip);
    assert!(!plugins.iter().any(|plugin| plugin.kind == "io.containerd.grpc.v1"));
}
