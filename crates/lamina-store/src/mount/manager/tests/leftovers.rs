//! What a start finds and clears.

use super::super::super::testing::{MountDir, need_root, or_skip};
use super::super::super::{How, unmount};
use super::super::Manager;
use super::{
    database, mounts_below, names, namespace, open, options, scope, targets, temporary, tmpfs,
};

#[test]
fn privileged_a_restart_keeps_what_is_whole() {
    need_root!("privileged_a_restart_keeps_what_is_whole");
    let dir = MountDir::new();
    let found = or_skip!(
        "privileged_a_restart_keeps_what_is_whole",
        open(dir.path()).activate(&scope(), "a", &[tmpfs()], &temporary())
    );
    let manager = open(dir.path());
    assert_eq!(manager.info(&namespace(), "a").unwrap(), found);
    let second = manager.activate(&scope(), "b", &[tmpfs()], &temporary()).unwrap();
    assert_ne!(second.active[0].mount_point, found.active[0].mount_point);
    manager.deactivate(&namespace(), "a").unwrap();
    manager.deactivate(&namespace(), "b").unwrap();
}

#[test]
fn privileged_rows_of_another_boot_are_void() {
    need_root!("privileged_rows_of_another_boot_are_void");
    let dir = MountDir::new();
    or_skip!(
        "privileged_rows_of_another_boot_are_void",
        open(dir.path()).activate(&scope(), "a", &[tmpfs()], &temporary())
    );
    let mut later = options(dir.path());
    later.boot = "boot-b".to_owned();
    let manager = Manager::open(database(dir.path()), later).unwrap();
    assert!(names(&manager).is_empty() && targets(dir.path()).is_empty());
    assert_eq!(mounts_below(dir.path()), 0);
    let rows = database(dir.path()).read(|read| read.all_activations()).unwrap();
    assert!(rows.is_empty());
}

#[test]
fn privileged_rows_without_mounts_and_mounts_without_rows() {
    need_root!("privileged_rows_without_mounts_and_mounts_without_rows");
    let dir = MountDir::new();
    let manager = open(dir.path());
    let gone = or_skip!(
        "privileged_rows_without_mounts_and_mounts_without_rows",
        manager.activate(&scope(), "gone", &[tmpfs()], &temporary())
    );
    manager.activate(&scope(), "kept", &[tmpfs()], &temporary()).unwrap();
    manager.activate(&scope(), "lost", &[tmpfs(), tmpfs()], &temporary()).unwrap();
    drop(manager);
    // As if the host's mounts had been cleared, and as if the database were an older copy.
    unmount(gone.active[0].mount_point.as_ref(), How::Plain).unwrap();
    let at = namespace();
    database(dir.path()).write(move |tx| tx.delete_activation(&at, "lost")).unwrap();
    let manager = open(dir.path());
    assert_eq!(names(&manager), ["kept"]);
    assert_eq!((targets(dir.path()).len(), mounts_below(dir.path())), (1, 1));
    manager.deactivate(&namespace(), "kept").unwrap();
    assert_eq!((targets(dir.path()).len(), mounts_below(dir.path())), (0, 0));
}

#[test]
fn privileged_what_is_busy_at_the_start_does_not_stop_it() {
    need_root!("privileged_what_is_busy_at_the_start_does_not_stop_it");
    let dir = MountDir::new();
    let found = or_skip!(
        "privileged_what_is_busy_at_the_start_does_not_stop_it",
        open(dir.path()).activate(&scope(), "a", &[tmpfs()], &temporary())
    );
    let file = std::fs::File::create(format!("{}/f", found.active[0].mount_point)).unwrap();
    let mut later = options(dir.path());
    later.boot = "boot-b".to_owned();
    let manager = Manager::open(database(dir.path()), later).unwrap();
    assert!(names(&manager).is_empty());
    assert_eq!(mounts_below(dir.path()), 1);
    drop(file);
    // The name is free for whoever comes next; what was left goes first.
    manager.activate(&scope(), "a", &[tmpfs()], &temporary()).unwrap();
    assert_eq!((targets(dir.path()).len(), mounts_below(dir.path())), (1, 1));
    manager.deactivate(&namespace(), "a").unwrap();
}
