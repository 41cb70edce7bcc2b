//! What back ends do that live in a pool: full, in use, taken by somebody else.

// Helpers of tests fail by panicking, and each program uses a part of the harness.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

#[path = "support/fake_driver.rs"]
mod fake_driver;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/snapshot_harness.rs"]
mod snapshot_harness;

use std::path::Path;
use std::time::{Duration, Instant};

use lamina_core::snapshot::CommitOptions;
use lamina_core::{Kind, Labels, Namespace, Scope};
use lamina_store::Store;
use lamina_store::snapshot::Handle;
use lamina_store::snapshot::drivers::{Config, open_driver};
use lamina_testkit::or_skip;
use lamina_testkit::suite::snapshots::Harness;
use snapshot_harness::StoreHarness;

fn handle(store: &Store, name: &str) -> Handle {
    store.snapshots(&Scope::new(Namespace::new("testing").unwrap()), name).unwrap()
}

fn commit(snapshots: &Handle, name: &str, key: &str) {
    snapshots.commit_now(name, key, CommitOptions::default()).unwrap();
}

/// Reaps until nothing is busy: the kernel lets go of a device a moment after its unmount.
fn reap(snapshots: &Handle) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !snapshots.engine().reap().unwrap().busy.is_empty() {
        assert!(Instant::now() < deadline, "something stays busy");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn vm_a_full_thin_pool_is_exhausted_and_works_again() {
    let test = "vm_a_full_thin_pool_is_exhausted_and_works_again";
    let harness = or_skip!(test, StoreHarness::devmapper_of(40 << 20));
    let snapshots = handle(harness.store(), "devmapper");
    let at = harness.attach(&snapshots.prepare_now("kept", "", Labels::new()).unwrap());
    std::fs::write(at.join("file"), "kept").unwrap();
    harness.detach(&at);
    commit(&snapshots, "base", "kept");

    let at = harness.attach(&snapshots.prepare_now("full", "base", Labels::new()).unwrap());
    // It fits the file system and not the pool.
    let file = std::fs::File::create(at.join("large")).unwrap();
    let filled = std::io::copy(&mut std::io::Read::take(std::io::repeat(7), 48 << 20), &mut &file)
        .and_then(|_| file.sync_all());
    assert!(filled.is_err(), "{}", harness.thin_pool().status());
    drop(file);
    harness.detach(&at);
    let error = snapshots.commit_now("half", "full", CommitOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
    let error = snapshots.prepare_now("more", "base", Labels::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());

    snapshots.remove_now("full").unwrap();
    reap(&snapshots);
    let at = harness.attach(&snapshots.prepare_now("more", "base", Labels::new()).unwrap());
    assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "kept");
    std::fs::write(at.join("more"), "x").unwrap();
    harness.detach(&at);
    commit(&snapshots, "top", "more");
    harness.store().close().unwrap();
}

#[test]
fn vm_a_snapshot_that_is_mounted_is_busy() {
    let test = "vm_a_snapshot_that_is_mounted_is_busy";
    let mut ran = false;
    for harness in [StoreHarness::devmapper("ext4"), StoreHarness::zfs()] {
        let (harness, name) = match harness {
            Ok(harness) => (harness, "devmapper"),
            Err(reason) => {
                eprintln!("SKIP {test}: {reason}");
                continue;
            }
        };
        let name = if harness.has_thin_pool() { name } else { "zfs" };
        let snapshots = handle(harness.store(), name);
        let at = harness.attach(&snapshots.prepare_now("active", "", Labels::new()).unwrap());
        snapshots.remove_now("active").unwrap();
        assert_eq!(snapshots.engine().reap().unwrap().busy.len(), 1, "{name}");
        std::fs::write(at.join("file"), "still there").unwrap();
        harness.detach(&at);
        reap(&snapshots);
        harness.store().close().unwrap();
        ran = true;
    }
    assert!(ran || std::env::var_os("LAMINA_VM").is_none());
}

#[test]
fn vm_a_pool_of_somebody_else_is_refused() {
    let test = "vm_a_pool_of_somebody_else_is_refused";
    let harness = or_skip!(test, StoreHarness::devmapper("ext4"));
    handle(harness.store(), "devmapper").prepare_now("active", "", Labels::new()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.devmapper.base_image_size = "64MB".to_owned();
    let refused = |config: &Config, dir: &Path| {
        open_driver("devmapper", dir, config).map(drop).unwrap_err().to_string()
    };
    config.devmapper.pool_name = harness.thin_pool().name().to_owned();
    assert!(refused(&config, dir.path()).contains("not empty"));
    config.devmapper.pool_name = "lamina-no-such-pool".to_owned();
    assert!(refused(&config, dir.path()).contains("lamina-no-such-pool"));
    harness.store().close().unwrap();
}

#[test]
fn vm_xfs_in_thin_devices() {
    let harness = or_skip!("vm_xfs_in_thin_devices", StoreHarness::devmapper("xfs"));
    let snapshots = handle(harness.store(), "devmapper");
    let at = harness.attach(&snapshots.prepare_now("active", "", Labels::new()).unwrap());
    std::fs::write(at.join("file"), "x").unwrap();
    // A commit while it is mounted takes what was written.
    commit(&snapshots, "base", "active");
    let mounts = snapshots.view_now("view", "base", Labels::new()).unwrap();
    assert_eq!(
        (mounts[0].kind.as_str(), mounts[0].options.join(" ")),
        ("xfs", "nouuid ro".to_owned())
    );
    let view = harness.attach(&mounts);
    assert_eq!(std::fs::read_to_string(view.join("file")).unwrap(), "x");
    assert!(std::fs::write(view.join("file"), "y").is_err());
    harness.detach(&view);
    harness.detach(&at);
    harness.store().close().unwrap();
}
