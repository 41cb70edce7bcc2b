//! FUSE types go to a program; here a script that writes down what it was told.

use std::os::unix::fs::PermissionsExt;

use lamina_core::{Kind, Mount};

use super::super::testing::MountDir;
use super::super::{Api, Mounter};

fn script(dir: &MountDir, text: &str) -> Mounter {
    let path = dir.write("bin/mount.fuse3", &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Mounter { api: Api::Newest, helpers: Some(dir.path().join("bin")) }
}

/// Runs what a test just wrote; another test may have forked with it open for writing (ETXTBSY).
fn mount(mounter: &Mounter, mount: &Mount, dir: &MountDir) -> lamina_core::Result<()> {
    let target = dir.mkdir("target");
    for _ in 0..100 {
        match mounter.all(std::slice::from_ref(mount), &target) {
            Err(error) if error.chain().contains("Text file busy") => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            result => return result,
        }
    }
    panic!("the script stays busy")
}

#[test]
fn the_program_gets_everything() {
    let dir = MountDir::new();
    let told = dir.path().join("told");
    let mounter = script(&dir, &format!("printf '%s\\n' \"$@\" > '{}'", told.display()));
    let fuse = Mount::new("fuse3.fuse-overlayfs", "a source", ["lowerdir=/a:/b", "ro"]);
    mount(&mounter, &fuse, &dir).unwrap();
    let target = dir.path().join("target").canonicalize().unwrap();
    assert_eq!(
        std::fs::read_to_string(told).unwrap(),
        format!("a source\n{}\n-o\nlowerdir=/a:/b\n-o\nro\n-t\nfuse-overlayfs\n", target.display())
    );
}

#[test]
fn its_failure_and_its_absence_are_told() {
    let dir = MountDir::new();
    let mounter = script(&dir, "echo no such device >&2; exit 3");
    let error = mount(&mounter, &Mount::new("fuse3.x", "s", ["a"]), &dir).unwrap_err();
    assert!(error.message().contains("no such device"), "{error}");
    assert!(error.message().contains("exit status: 3"), "{error}");
    let error = mount(&mounter, &Mount::new("fuse.x", "s", ["a"]), &dir).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.message().contains("mount.fuse:"), "{error}");
}
