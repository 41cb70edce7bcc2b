use std::os::unix::fs::MetadataExt;

use lamina_testkit::disk::Disk;
use lamina_testkit::or_skip;

use super::super::testing::{commit, layer, make, snapshot};
use super::*;

fn disk() -> Result<Disk, String> {
    Disk::new("btrfs", 256 << 20, &[])
}

#[test]
fn privileged_mounts_are_containerds() {
    let disk = or_skip!("privileged_mounts_are_containerds", disk());
    let driver = Btrfs::open(&disk.path().join("root")).unwrap();
    let base = snapshot(1, Kind::Active, &[]);
    make(&driver, &base);
    let subvolume = |path: &str| {
        btrfs::subvolume_id(fs::open_dir(disk.path().join("root").join(path)).unwrap()).unwrap()
    };
    let table = mountinfo::read().unwrap();
    let device = mountinfo::find(&table, disk.path()).unwrap().source.clone();
    let want = |path: &str, ro: &[&str]| {
        let mut options = vec![format!("subvolid={}", subvolume(path))];
        options.extend(ro.iter().map(|word| (*word).to_owned()));
        [Mount::new("btrfs", device.to_str().unwrap(), options)]
    };
    assert_eq!(driver.mounts(&base).unwrap(), want("active/1", &[]));
    commit(&driver, &base);
    let child = snapshot(2, Kind::Active, &[1]);
    make(&driver, &child);
    assert_eq!(driver.mounts(&child).unwrap(), want("active/2", &[]));
    for (id, parents) in [(3, &[][..]), (4, &[1])] {
        let view = snapshot(id, Kind::View, parents);
        make(&driver, &view);
        assert_eq!(driver.mounts(&view).unwrap(), want(&format!("view/{id}"), &["ro"]));
    }
    for dir in ["active", "view", "snapshots"] {
        let mode = disk.path().join("root").join(dir).metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
}

#[test]
fn privileged_a_commit_can_be_cut_anywhere() {
    let disk = or_skip!("privileged_a_commit_can_be_cut_anywhere", disk());
    let root = disk.path().join("root");
    let driver = Btrfs::open(&root).unwrap();
    let base = snapshot(1, Kind::Active, &[]);
    let committed = Snapshot { kind: Kind::Committed, ..base.clone() };
    make(&driver, &base);
    let dir = layer(&driver, &base);
    std::fs::write(dir.join("early"), "x").unwrap();
    driver.seal(&base).unwrap();

    // Cut before the row: the active goes on, and what it gets later is in the next commit.
    let driver = Btrfs::open(&root).unwrap();
    let live = BTreeSet::from([SnapshotId(1)]);
    driver.recover(&live, SnapshotId(2)).unwrap();
    std::fs::write(dir.join("late"), "x").unwrap();
    assert_eq!(driver.seal(&base).unwrap().inodes, 3);
    driver.flush(&[], &[SnapshotId(1)]).unwrap();

    // Cut after the row: the active is still there until it is settled.
    let driver = Btrfs::open(&root).unwrap();
    driver.recover(&live, SnapshotId(2)).unwrap();
    driver.settle(&committed).unwrap();
    driver.settle(&committed).unwrap();
    assert!(!dir.exists());
    assert!(root.join("snapshots/1/late").exists() && root.join("snapshots/1/early").exists());
    assert!(std::fs::write(root.join("snapshots/1/late"), "y").is_err(), "it is read-only");

    // A sealed active that is removed instead leaves nothing.
    let child = snapshot(2, Kind::Active, &[1]);
    make(&driver, &child);
    driver.seal(&child).unwrap();
    assert_eq!(driver.remove(SnapshotId(2)).unwrap(), Removed::Gone);
    assert_eq!(driver.list().unwrap().unwrap(), live);
}

#[test]
fn privileged_usage_counts_what_the_parent_has_not() {
    let disk = or_skip!("privileged_usage_counts_what_the_parent_has_not", disk());
    let driver = Btrfs::open(&disk.path().join("root")).unwrap();
    let base = snapshot(1, Kind::Active, &[]);
    make(&driver, &base);
    std::fs::write(layer(&driver, &base).join("big"), vec![1; 1 << 20]).unwrap();
    assert!(commit(&driver, &base).size >= 1 << 20);
    let child = snapshot(2, Kind::Active, &[1]);
    make(&driver, &child);
    // Publishing renamed its root, which shows if the clock has ticked since the parent's.
    let usage = driver.usage(&child, &|| false).unwrap();
    assert!(usage.inodes <= 1 && usage.size == 0, "{usage:?}");
    std::fs::write(layer(&driver, &child).join("new"), vec![1; 64 << 10]).unwrap();
    let usage = commit(&driver, &child);
    assert_eq!(usage.inodes, 2, "the file and the root");
    assert!((64 << 10..512 << 10).contains(&usage.size), "{usage:?}");
}

#[test]
fn privileged_nested_subvolumes_do_not_keep_a_snapshot() {
    let disk = or_skip!("privileged_nested_subvolumes_do_not_keep_a_snapshot", disk());
    let driver = Btrfs::open(&disk.path().join("root")).unwrap();
    let base = snapshot(1, Kind::Active, &[]);
    make(&driver, &base);
    let dir = layer(&driver, &base).join("dir");
    std::fs::create_dir(&dir).unwrap();
    btrfs::create_subvolume(fs::open_dir(&dir).unwrap(), "nested").unwrap();
    std::fs::write(dir.join("nested/file"), "x").unwrap();
    commit(&driver, &base);
    assert!(driver.exists(&Snapshot { kind: Kind::Committed, ..base }).unwrap());
    assert_eq!(driver.remove(SnapshotId(1)).unwrap(), Removed::Gone);
    assert!(driver.list().unwrap().unwrap().is_empty());
}
