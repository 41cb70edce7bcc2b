//! What becomes of mount lists.

use std::path::Path;
use std::time::{Duration, Instant};

use lamina_core::mount::ActivateOptions;
use lamina_core::{Kind, Mount};

use super::super::super::testing::{MountDir, need_root, or_skip};
use super::super::super::{How, all, unmount_all};
use super::{mounts_below, names, namespace, open, scope, targets, temporary, tmpfs};

#[test]
fn nothing_to_do_is_the_callers_part() {
    let dir = MountDir::new();
    let manager = open(dir.path());
    let bind = [Mount::new("bind", "/", ["rbind"])];
    let error = manager.activate(&scope(), "a", &bind, &ActivateOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unimplemented);
    let options = ActivateOptions { allow: vec!["format/*".into()], ..ActivateOptions::default() };
    let allowed = [Mount::new("format/overlay", "x", ["y"])];
    let error = manager.activate(&scope(), "a", &allowed, &options).unwrap_err();
    assert_eq!(error.kind(), Kind::Unimplemented);
    assert!(names(&manager).is_empty() && targets(dir.path()).is_empty());
}

#[test]
fn privileged_an_overlay_on_what_was_mounted_before() {
    need_root!("privileged_an_overlay_on_what_was_mounted_before");
    let dir = MountDir::new();
    let manager = open(dir.path());
    dir.write("lower/file", "lower");
    let lower = dir.path().join("lower").display().to_string();
    let mounts = [
        tmpfs(),
        Mount::new("bind", lower, ["bind", "ro"]),
        Mount::new(
            "format/mkdir/overlay",
            "overlay",
            [
                "X-containerd.mkdir.path={{ mount 0 }}/upper:0755",
                "X-containerd.mkdir.path={{ mount 0 }}/work",
                "upperdir={{ mount 0 }}/upper",
                "workdir={{ mount 0 }}/work",
                "lowerdir={{ overlay 1 1 }}",
            ],
        ),
    ];
    let before = mounts.clone();
    let found = or_skip!(
        "privileged_an_overlay_on_what_was_mounted_before",
        manager.activate(&scope(), "a", &mounts, &ActivateOptions::default())
    );
    assert_eq!(mounts, before);
    assert_eq!((found.active.len(), found.system.len()), (2, 1));
    let point = |n: usize| found.active[n].mount_point.clone();
    assert_eq!(found.system[0].kind, "overlay");
    assert_eq!(
        found.system[0].options,
        [
            format!("upperdir={}/upper", point(0)),
            format!("workdir={}/work", point(0)),
            format!("lowerdir={}", point(1))
        ]
    );
    let target = dir.mkdir("target");
    all(&found.system, &target).unwrap();
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "lower");
    std::fs::write(target.join("file"), "upper").unwrap();
    unmount_all(&target, How::Plain).unwrap();
    manager.deactivate(&namespace(), "a").unwrap();
    assert_eq!(mounts_below(dir.path()), 0);
    assert!(targets(dir.path()).is_empty());
}

#[test]
fn privileged_temporary_is_one_bind_of_everything() {
    need_root!("privileged_temporary_is_one_bind_of_everything");
    let dir = MountDir::new();
    let manager = open(dir.path());
    dir.write("source/below/file", "x");
    let source = dir.path().join("source").display().to_string();
    let mounts = [
        Mount::new("bind", &source, ["rbind", "rw"]),
        Mount { target: "/below".into(), ..tmpfs() },
    ];
    let found = or_skip!(
        "privileged_temporary_is_one_bind_of_everything",
        manager.activate(&scope(), "a", &mounts, &temporary())
    );
    assert_eq!(found.active.len(), 2);
    assert_eq!(found.system, [Mount::new("bind", &found.active[0].mount_point, ["rbind"])]);
    let target = dir.mkdir("target");
    all(&found.system, &target).unwrap();
    assert!(target.join("below").is_dir() && !target.join("below/file").exists());
    super::super::super::unmount_recursive(&target, How::Plain).unwrap();
    manager.deactivate(&namespace(), "a").unwrap();
    assert_eq!(mounts_below(dir.path()), 0);
    // The source was never theirs to clear.
    assert!(dir.path().join("source/below/file").exists());

    let read_only = [Mount::new("bind", &source, ["ro", "rbind"])];
    let found = manager.activate(&scope(), "b", &read_only, &temporary()).unwrap();
    assert!(found.system[0].is_read_only());
    all(&found.system, &target).unwrap();
    assert!(std::fs::write(target.join("new"), "").is_err());
    unmount_all(&target, How::Plain).unwrap();
    manager.deactivate(&namespace(), "b").unwrap();
}

/// Whether no loop device has the file, soon.
fn detached(file: &Path) -> bool {
    let file = file.canonicalize().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let attached = std::fs::read_dir("/sys/block").unwrap().any(|entry| {
            let backing = entry.unwrap().path().join("loop/backing_file");
            std::fs::read_to_string(backing).is_ok_and(|text| Path::new(text.trim_end()) == file)
        });
        if !attached || Instant::now() > end {
            return !attached;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn privileged_a_new_file_system_behind_a_loop_device() {
    need_root!("privileged_a_new_file_system_behind_a_loop_device");
    let dir = MountDir::new();
    let manager = open(dir.path());
    let file = dir.path().join("allowed/image");
    let mounts = [
        Mount::new(
            "mkfs/loop",
            file.display().to_string(),
            ["X-containerd.mkfs.size=8MiB", "X-containerd.mkfs.fs=ext4"],
        ),
        Mount::new("format/ext4", "{{ mount 0 }}", ["rw"]),
    ];
    if !Path::new("/dev/loop-control").exists() {
        return eprintln!(
            "SKIP privileged_a_new_file_system_behind_a_loop_device: no loop devices"
        );
    }
    let target = dir.mkdir("target");
    for round in ["first", "second"] {
        let found = or_skip!(
            "privileged_a_new_file_system_behind_a_loop_device",
            manager.activate(&scope(), "a", &mounts, &ActivateOptions::default())
        );
        assert_eq!(found.active.len(), 1);
        assert_eq!(found.system, [Mount::new("ext4", &found.active[0].mount_point, ["rw"])]);
        all(&found.system, &target).unwrap();
        assert_eq!(target.join("first").exists(), round == "second");
        std::fs::write(target.join(round), "").unwrap();
        unmount_all(&target, How::Plain).unwrap();
        // Without a user, but not without its activation.
        all(&found.system, &target).unwrap();
        unmount_all(&target, How::Plain).unwrap();
        manager.deactivate(&namespace(), "a").unwrap();
        assert!(detached(&file), "{round}: the device is left");
        assert!(targets(dir.path()).is_empty());
    }
}

#[test]
fn privileged_a_mount_that_fails_takes_the_others_along() {
    need_root!("privileged_a_mount_that_fails_takes_the_others_along");
    let dir = MountDir::new();
    let manager = open(dir.path());
    let broken = [tmpfs(), Mount::new("tmpfs", "tmpfs", ["no_such_option"])];
    let error = manager.activate(&scope(), "a", &broken, &temporary()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
    let long = Mount { target: "x".repeat(10_000), ..tmpfs() };
    let error = manager.activate(&scope(), "a", &[tmpfs(), long], &temporary()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
    let template = [tmpfs(), Mount::new("format/bind", "{{ mount 1 }}", ["bind"])];
    let options = ActivateOptions::default();
    let error = manager.activate(&scope(), "a", &template, &options).unwrap_err();
    assert!(error.message().contains("mount 1 of 1"), "{error}");
    assert_eq!(mounts_below(dir.path()), 0);
    assert!(names(&manager).is_empty() && targets(dir.path()).is_empty());
    manager.activate(&scope(), "a", &[tmpfs()], &temporary()).unwrap();
    manager.deactivate(&namespace(), "a").unwrap();
}
