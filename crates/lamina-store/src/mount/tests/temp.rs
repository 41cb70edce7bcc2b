//! Temporary mounts: held, dropped, and cleared after a crash.

use std::process::{Command, Stdio};

use lamina_core::{Error, Mount};

use super::super::temp::TempMounts;
use super::super::testing::{MountDir, need_root, or_skip};
use super::super::{all, is_mounted};

fn count(dir: &std::path::Path) -> usize {
    std::fs::read_dir(dir).map_or(0, |entries| entries.count())
}

fn tmpfs() -> Mount {
    Mount::new("tmpfs", "tmpfs", ["size=64k"])
}

#[test]
fn privileged_held_and_gone() {
    need_root!("privileged_held_and_gone");
    let dir = MountDir::new();
    let place = dir.path().join("deep/tmpmounts");
    let temp = TempMounts::new(&place);
    let held = or_skip!("privileged_held_and_gone", temp.mount(&[tmpfs()]));
    let other = temp.mount(&[tmpfs()]).unwrap();
    assert!(is_mounted(held.path()).unwrap() && held.path() != other.path());
    held.unmount().unwrap();
    drop(other);
    assert_eq!(count(&place), 0);

    let seen = temp.with(&[tmpfs()], |path| Ok(path.to_owned())).unwrap();
    assert!(!seen.exists());
    let error = temp.with::<()>(&[tmpfs()], |_| Err(Error::aborted("mine"))).unwrap_err();
    assert_eq!(error.message(), "mine");
    // The second one fails: the first one and the directory go.
    let sub = Mount { target: "missing".into(), ..tmpfs() };
    temp.mount(&[tmpfs(), sub]).unwrap_err();
    assert_eq!(count(&place), 0);
}

#[test]
fn privileged_read_only_and_not_volatile() {
    need_root!("privileged_read_only_and_not_volatile");
    let dir = MountDir::new();
    let temp = TempMounts::new(dir.path().join("tmpmounts"));
    dir.write("lower/a", "lower");
    dir.write("upper/b", "upper");
    let at = dir.path().display();
    dir.mkdir("work");
    let mounts = [Mount::new(
        "overlay",
        "overlay",
        [
            format!("workdir={at}/work,upperdir={at}/upper"),
            format!("lowerdir={at}/lower"),
            "volatile".into(),
        ],
    )];
    // A volatile mount leaves a mark that makes the next one fail: two in a row are the proof.
    for _ in 0..2 {
        let work = |path: &std::path::Path| {
            std::fs::write(path.join("b"), "new").unwrap();
            Ok(())
        };
        or_skip!("privileged_read_only_and_not_volatile", temp.with(&mounts, work));
    }
    let held = temp.mount_read_only(&mounts).unwrap();
    assert_eq!(std::fs::read_to_string(held.path().join("a")).unwrap(), "lower");
    assert_eq!(std::fs::read_to_string(held.path().join("b")).unwrap(), "new");
    assert!(std::fs::write(held.path().join("b"), "x").is_err());
}

#[test]
fn privileged_an_unmount_that_fails_deletes_nothing() {
    need_root!("privileged_an_unmount_that_fails_deletes_nothing");
    let dir = MountDir::new();
    let place = dir.path().join("tmpmounts");
    let temp = TempMounts::new(&place);
    let source = dir.mkdir("source");
    let bind = [Mount::new("bind", source.display().to_string(), ["bind"])];
    let held = or_skip!("privileged_an_unmount_that_fails_deletes_nothing", temp.mount(&bind));
    let path = held.path().to_owned();
    let file = std::fs::File::create(path.join("precious")).unwrap();
    held.unmount().unwrap_err();
    let swept = temp.sweep().unwrap();
    assert_eq!((swept.removed, swept.kept.len()), (0, 1));
    assert_eq!(swept.kept[0].0, path);
    assert!(source.join("precious").exists() && is_mounted(&path).unwrap());
    drop(file);
    assert_eq!(temp.sweep().unwrap().removed, 1);
    assert!(source.join("precious").exists() && !path.exists());
}

/// Where the child of the next test mounts.
const CHILD: &str = "LAMINA_TEST_TEMP_MOUNTS";

#[test]
fn privileged_what_a_crash_leaves_is_swept() {
    need_root!("privileged_what_a_crash_leaves_is_swept");
    if let Some(place) = std::env::var_os(CHILD) {
        // The child: holds two mounts, one with another below it, and never returns.
        let temp = TempMounts::new(place);
        let one = temp.mount(&[tmpfs()]).unwrap();
        std::fs::create_dir(one.path().join("sub")).unwrap();
        all(&[tmpfs(), tmpfs()], &one.path().join("sub")).unwrap();
        let _two = temp.mount(&[tmpfs()]).unwrap();
        std::process::abort();
    }
    let dir = MountDir::new();
    let place = dir.path().join("tmpmounts");
    or_skip!(
        "privileged_what_a_crash_leaves_is_swept",
        TempMounts::new(&place).with(&[tmpfs()], |_| Ok(()))
    );
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mount::tests::temp::privileged_what_a_crash_leaves_is_swept"])
        .env(CHILD, &place)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    assert_eq!(count(&place), 2, "the child did not get as far as it should");
    let swept = TempMounts::new(&place).sweep().unwrap();
    assert_eq!((swept.removed, swept.kept.len()), (2, 0));
    assert_eq!(count(&place), 0);
    assert_eq!(TempMounts::new(&place).sweep().unwrap().removed, 0);
}
