//! Unmounting: patience, stacks, trees.

use std::time::{Duration, Instant};

use lamina_core::{Kind, Mount};

use super::super::testing::{MountDir, need_root, or_skip};
use super::super::{How, all, is_mounted, unmount, unmount_all, unmount_recursive};

fn tmpfs() -> [Mount; 1] {
    [Mount::new("tmpfs", "tmpfs", ["size=64k"])]
}

#[test]
fn privileged_a_busy_mount_is_waited_for() {
    need_root!("privileged_a_busy_mount_is_waited_for");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    or_skip!("privileged_a_busy_mount_is_waited_for", all(&tmpfs(), &target));
    let file = std::fs::File::create(target.join("file")).unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(file);
    });
    let start = Instant::now();
    unmount(&target, How::Plain).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(250));
    holder.join().unwrap();
    assert!(!is_mounted(&target).unwrap());
}

#[test]
fn privileged_a_mount_that_stays_busy_is_named() {
    need_root!("privileged_a_mount_that_stays_busy_is_named");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    or_skip!("privileged_a_mount_that_stays_busy_is_named", all(&tmpfs(), &target));
    let file = std::fs::File::create(target.join("file")).unwrap();
    let error = unmount(&target, How::Plain).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains(&target.display().to_string()), "{error}");
    assert!(is_mounted(&target).unwrap());
    unmount(&target, How::Detach).unwrap();
    assert!(!is_mounted(&target).unwrap());
    drop(file);
}

#[test]
fn privileged_stacks_and_trees() {
    need_root!("privileged_stacks_and_trees");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    for _ in 0..3 {
        or_skip!("privileged_stacks_and_trees", all(&tmpfs(), &target));
    }
    unmount_all(&target, How::Plain).unwrap();
    assert!(!is_mounted(&target).unwrap());

    all(&tmpfs(), &target).unwrap();
    let deep = dir.mkdir("target/a/b");
    all(&tmpfs(), &deep).unwrap();
    all(&tmpfs(), &deep).unwrap();
    // Covers the way to the two before it.
    all(&tmpfs(), &dir.mkdir("target/a")).unwrap();
    // A name that only begins alike is somebody else's.
    let other = dir.mkdir("target-other");
    all(&tmpfs(), &other).unwrap();
    unmount_recursive(&target, How::Plain).unwrap();
    assert!(!is_mounted(&target).unwrap() && is_mounted(&other).unwrap());
}

#[test]
fn privileged_one_that_is_busy_keeps_only_what_it_is_on() {
    need_root!("privileged_one_that_is_busy_keeps_only_what_it_is_on");
    let dir = MountDir::new();
    let target = dir.mkdir("target");

    or_skip!("privileged_one_that_is_busy_keeps_only_what_it_is_on", all(&tmpfs(), &target));
    let [busy, idle] = ["target/busy", "target/idle"].map(|name| dir.mkdir(name));
    all(&tmpfs(), &busy).unwrap();
    all(&tmpfs(), &idle).unwrap();
    let file = std::fs::File::create(busy.join("file")).unwrap();
    let error = unmount_recursive(&target, How::Plain).unwrap_err();
    assert!(error.message().contains("target/busy"), "{error}");
    assert!(is_mounted(&busy).unwrap() && !is_mounted(&idle).unwrap());
    drop(file);
    unmount_recursive(&target, How::Plain).unwrap();
    assert!(!is_mounted(&target).unwrap());
}

#[test]
fn what_is_not_mounted_is_no_error() {
    let dir = MountDir::new();
    let missing = dir.path().join("missing");
    unmount_all(std::path::Path::new(""), How::Plain).unwrap();
    unmount_all(&missing, How::Plain).unwrap();
    unmount_recursive(&missing, How::Plain).unwrap();
    unmount_recursive(dir.path(), How::Plain).unwrap();
    if super::super::testing::is_root() {
        unmount(dir.path(), How::Plain).unwrap();
        assert_eq!(unmount(&missing, How::Plain).unwrap_err().kind(), Kind::NotFound);
    }
}
