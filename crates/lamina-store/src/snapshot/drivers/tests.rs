//! What every driver must do, asked of the built-in ones.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use lamina_core::Kind as ErrorKind;
use lamina_core::snapshot::Kind;
use lamina_testkit::disk::Disk;
use lamina_testkit::env::unknown_dtype::{UnknownFuse, unknown_dtype};
use lamina_testkit::or_skip;

use super::testing::{commit, layer, make, snapshot, stage};
use super::{BUILTIN, Config, open_driver, root_of};
use crate::snapshot::driver::{Driver, OpenError, Removed, Snapshot, SnapshotId};

fn ids(ids: &[u64]) -> BTreeSet<SnapshotId> {
    ids.iter().copied().map(SnapshotId).collect()
}

fn open(name: &str, store: &Path) -> Arc<dyn Driver> {
    open_driver(name, store, &Config::default()).unwrap()
}

fn list(driver: &dyn Driver) -> BTreeSet<SnapshotId> {
    driver.list().unwrap().unwrap()
}

/// Names below the root, two levels deep, but the fixed ones.
fn left(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for dir in std::fs::read_dir(root).unwrap() {
        for entry in std::fs::read_dir(dir.unwrap().path()).unwrap() {
            names.push(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    names
}

fn lives(name: &str, store: &Path) {
    let root = root_of(name, store, &Config::default());
    let driver = open(name, store);
    driver.recover(&ids(&[]), SnapshotId(1)).unwrap();
    // What a commit counts: an image is one file.
    let counted = |inodes| if name == "erofs" { 1 } else { inodes };

    // A stage can be dropped at any time, and is no snapshot.
    let base = snapshot(1, Kind::Active, &[]);
    driver.discard(&stage("new-1")).unwrap();
    driver.create(&base, &stage("new-1")).unwrap();
    assert!(!driver.exists(&base).unwrap() && list(&*driver).is_empty());
    driver.discard(&stage("new-1")).unwrap();
    assert_eq!(left(&root), [""; 0]);

    make(&*driver, &base);
    assert!(driver.exists(&base).unwrap());
    assert_eq!(list(&*driver), ids(&[1]));
    let dir = layer(&*driver, &base);
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o7777, 0o755, "{name}");
    std::fs::write(dir.join("file"), vec![7; 40_000]).unwrap();

    // Sealing can be repeated, and does not end the active.
    let first = driver.seal(&base).unwrap();
    assert!(first.inodes == counted(2) && first.size >= 40_000 || name == "btrfs", "{first:?}");
    std::fs::write(dir.join("more"), "x").unwrap();
    assert_eq!(commit(&*driver, &base).inodes, counted(3), "{name}");
    let committed = Snapshot { kind: Kind::Committed, ..base };
    if driver.settles() {
        driver.settle(&committed).unwrap();
    }
    assert!(driver.exists(&committed).unwrap());
    assert_eq!(driver.mounts(&committed).unwrap_err().kind(), ErrorKind::FailedPrecondition);

    let child = snapshot(2, Kind::Active, &[1]);
    let view = snapshot(3, Kind::View, &[1]);
    make(&*driver, &child);
    make(&*driver, &view);
    assert!(driver.exists(&child).unwrap() && driver.exists(&view).unwrap());
    for snapshot in [&child, &view] {
        let mounts = driver.mounts(snapshot).unwrap();
        assert_eq!(driver.mounts(snapshot).unwrap(), mounts);
        assert_eq!(mounts.last().unwrap().is_read_only(), snapshot.kind == Kind::View);
    }
    std::fs::write(layer(&*driver, &child).join("mine"), "x").unwrap();
    assert!(driver.usage(&child, &|| true).is_err(), "{name}: a cancelled measurement");
    driver.usage(&child, &|| false).unwrap();

    // A crash: a stage, an id without a row; id 1 lives.
    driver.create(&snapshot(9, Kind::Active, &[1]), &stage("new-9")).unwrap();
    drop(driver);
    let driver = open(name, store);
    driver.recover(&ids(&[1, 3]), SnapshotId(10)).unwrap();
    driver.empty_trash().unwrap();
    assert!(driver.exists(&committed).unwrap() && driver.exists(&view).unwrap());
    assert!(!driver.exists(&child).unwrap());
    assert!(list(&*driver).is_subset(&ids(&[1, 3])));

    // What an earlier crash left at an id is replaced.
    make(&*driver, &child);
    std::fs::write(layer(&*driver, &child).join("old"), "").unwrap();
    make(&*driver, &child);
    assert!(!layer(&*driver, &child).join("old").exists());

    for id in [3, 2, 1, 1, 77] {
        assert_eq!(driver.remove(SnapshotId(id)).unwrap(), Removed::Gone);
    }
    assert_eq!(list(&*driver), ids(&[]));
    driver.empty_trash().unwrap();
    assert_eq!(left(&root), [""; 0], "{name}");
}

#[test]
fn overlayfs_lives() {
    lives("overlayfs", tempfile::tempdir().unwrap().path());
}

#[test]
fn native_lives() {
    lives("native", tempfile::tempdir().unwrap().path());
}

#[test]
fn erofs_lives() {
    let dir = tempfile::tempdir().unwrap();
    match open_driver("erofs", dir.path(), &Config::default()) {
        Err(OpenError::Skip(why)) => println!("SKIP erofs_lives: {why}"),
        _ => lives("erofs", dir.path()),
    }
}

#[test]
fn privileged_all_live_on_btrfs() {
    let disk = or_skip!("privileged_all_live_on_btrfs", Disk::new("btrfs", 256 << 20, &[]));
    for name in ["overlayfs", "native", "btrfs"] {
        lives(name, disk.path());
    }
}

#[test]
fn privileged_native_lives_on_ext4_without_entry_types() {
    let test = "privileged_native_lives_on_ext4_without_entry_types";
    let disk = or_skip!(test, unknown_dtype());
    lives("native", disk.path());
}

#[test]
fn privileged_native_lives_on_fuse_without_entry_types() {
    let test = "privileged_native_lives_on_fuse_without_entry_types";
    let fuse = or_skip!(test, UnknownFuse::new());
    lives("native", fuse.path());
}

#[test]
fn btrfs_is_skipped_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    match open_driver("btrfs", dir.path(), &Config::default()) {
        Err(OpenError::Skip(reason)) => assert!(reason.contains("not on btrfs"), "{reason}"),
        // The machine's own temporary directory may lie on it.
        other => assert!(other.is_ok(), "{other:?}"),
    }
}

#[test]
fn unusable_roots() {
    let dir = tempfile::tempdir().unwrap();
    let kind = |name: &str, root: &Path| match open_driver(name, root, &Config::default()) {
        Err(OpenError::Failed(error)) => Some(error.kind()),
        _ => None,
    };
    assert_eq!(kind("nosuch", dir.path()), Some(ErrorKind::InvalidArgument));
    for builtin in BUILTIN {
        assert_eq!(kind(builtin.name, Path::new("relative")), Some(ErrorKind::InvalidArgument));
        let root = root_of(builtin.name, dir.path(), &Config::default());
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("metadata.db"), "").unwrap();
        assert_eq!(kind(builtin.name, dir.path()), Some(ErrorKind::FailedPrecondition));
    }
    for bad in ["a:b", "a,b", "a\\b"] {
        for name in ["overlayfs", "erofs"] {
            assert_eq!(kind(name, &dir.path().join(bad)), Some(ErrorKind::InvalidArgument));
            assert!(!dir.path().join(bad).exists());
        }
    }
}

#[test]
fn roots_are_private_and_can_be_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("deep/elsewhere");
    let mut config = Config::default();
    config.native.root_path = Some(elsewhere.clone());
    open_driver("native", Path::new("/nonexistent"), &config).unwrap();
    for path in [&elsewhere, &elsewhere.join("snapshots"), &elsewhere.join("trash")] {
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700, "{path:?}");
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = root_of("native", dir.path(), &Config::default());
    let driver = open("native", dir.path());
    for name in ["notes", "007", "+7", "18446744073709551616"] {
        std::fs::create_dir(root.join("snapshots").join(name)).unwrap();
    }
    driver.recover(&ids(&[]), SnapshotId(9)).unwrap();
    driver.empty_trash().unwrap();
    assert_eq!(list(&*driver), ids(&[]));
    assert_eq!(left(&root).len(), 4);
}
