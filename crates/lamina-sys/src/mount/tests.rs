//! Real mounts.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::*;
use crate::testing::{Mounted, TempDir, need_root, or_skip};
use crate::userns::{self, IdMap};
use crate::{Outcome, fs, mountinfo, thread};

fn tmpfs() -> crate::Result<Tree> {
    let context = FsContext::open("tmpfs")?;
    context.set_string("size", "1m")?;
    context.set_option("mode=0751")?;
    context.create()?;
    context.mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}

#[test]
fn privileged_tmpfs_by_the_new_api() {
    need_root!("privileged_tmpfs_by_the_new_api");
    let temp = TempDir::new();
    let target = temp.mkdir("m");
    let tree = or_skip!("privileged_tmpfs_by_the_new_api", tmpfs());
    // Usable before it is anywhere.
    fs::make_dir(&tree, "inside", 0o700).unwrap();
    let _mounted = Mounted(target.clone());
    tree.attach(fs::open_handle_at(temp.fd(), "m").unwrap()).unwrap();
    assert!(target.join("inside").is_dir());
    assert_eq!(fs::stat_at(temp.fd(), "m").unwrap().mode, 0o751);
    let entries = mountinfo::read().unwrap();
    let entry = mountinfo::find(&entries, &target.canonicalize().unwrap()).unwrap();
    assert_eq!(entry.fs_type, "tmpfs");
    assert!(entry.has_option("nosuid") && entry.has_option("nodev") && !entry.has_option("ro"));
    assert!(fs::stat_at(temp.fd(), "m").unwrap().mount_root);
    let error = unmount(temp.path(), UnmountFlags::empty()).unwrap_err();
    assert_eq!(error.outcome(), Outcome::InvalidArgument);
    drop(tree);
    unmount(&target, UnmountFlags::empty()).unwrap();
}

#[test]
fn privileged_the_kernels_message_is_in_the_error() {
    need_root!("privileged_the_kernels_message_is_in_the_error");
    let context =
        or_skip!("privileged_the_kernels_message_is_in_the_error", FsContext::open("overlay"));
    let error = context.set_string("no_such_option", "x").unwrap_err();
    assert_eq!(error.outcome(), Outcome::InvalidArgument);
    assert!(error.to_string().contains("Unknown parameter 'no_such_option'"), "{error}");
    let error = FsContext::open("no-such-fs").unwrap_err();
    assert_eq!(error.outcome(), Outcome::NoDevice);
}

/// Layers `0..count`, each with a file of its own and one they all have.
fn layers(temp: &TempDir, count: usize) {
    for n in 0..count {
        temp.mkdir(&format!("layers/{n}/fs"));
        temp.write(&format!("layers/{n}/fs/file-{n}"), b"");
        temp.write(&format!("layers/{n}/fs/top"), n.to_string().as_bytes());
    }
    temp.mkdir("upper");
    temp.mkdir("work");
    temp.mkdir("merged");
}

fn check_merged(merged: &Path, count: usize) {
    assert_eq!(std::fs::read_to_string(merged.join("top")).unwrap(), "0");
    for n in 0..count {
        assert!(merged.join(format!("file-{n}")).exists(), "layer {n}");
    }
    std::fs::write(merged.join("new"), b"x").unwrap();
}

#[test]
fn privileged_overlay_of_200_layers_by_name() {
    need_root!("privileged_overlay_of_200_layers_by_name");
    let temp = TempDir::new();
    layers(&temp, 200);
    let mount_it = || -> crate::Result<Tree> {
        let context = FsContext::open("overlay")?;
        for n in 0..200 {
            context.set_string("lowerdir+", temp.path().join(format!("layers/{n}/fs")))?;
        }
        context.set_string("upperdir", temp.path().join("upper"))?;
        context.set_string("workdir", temp.path().join("work"))?;
        context.set_flag("userxattr").and_then(|()| context.create())?;
        context.mount(MountAttrFlags::empty())
    };
    let tree = or_skip!("privileged_overlay_of_200_layers_by_name", mount_it());
    let merged = temp.path().join("merged");
    let _mounted = Mounted(merged.clone());
    tree.attach_at(&merged).unwrap();
    check_merged(&merged, 200);
    assert!(temp.path().join("upper/new").exists());
}

#[test]
fn privileged_overlay_of_descriptors() {
    need_root!("privileged_overlay_of_descriptors");
    let temp = TempDir::new();
    layers(&temp, 130);
    let mount_it = || -> crate::Result<Tree> {
        let context = FsContext::open("overlay")?;
        for n in 0..130 {
            let layer = fs::open_handle(temp.path().join(format!("layers/{n}/fs")))?;
            context.set_fd("lowerdir+", layer)?;
        }
        context.set_fd("upperdir", fs::open_dir_at(temp.fd(), "upper")?)?;
        context.set_fd("workdir", fs::open_dir_at(temp.fd(), "work")?)?;
        context.create()?;
        context.mount(MountAttrFlags::empty())
    };
    let tree = or_skip!("privileged_overlay_of_descriptors", mount_it());
    let merged = temp.path().join("merged");
    let _mounted = Mounted(merged.clone());
    tree.attach_at(&merged).unwrap();
    check_merged(&merged, 130);
}

#[test]
fn privileged_overlay_by_relative_lowerdirs() {
    need_root!("privileged_overlay_by_relative_lowerdirs");
    let temp = TempDir::new();
    layers(&temp, 128);
    let path = |name: &str| temp.path().join(name).display().to_string();
    let lower = |prefix: &str| {
        let names: Vec<_> = (0..128).map(|n| format!("{prefix}{n}/fs")).collect();
        format!("workdir={},upperdir={},lowerdir={}", path("work"), path("upper"), names.join(":"))
    };
    let merged = temp.path().join("merged");
    let overlay = |data: String| mount("overlay", &merged, "overlay", MountFlags::empty(), data);
    let error = overlay(lower(&path("layers/"))).unwrap_err();
    assert_eq!(error.outcome(), Outcome::TooLarge);
    let dir = fs::open_dir_at(temp.fd(), "layers").unwrap();
    let _mounted = Mounted(merged.clone());
    or_skip!(
        "privileged_overlay_by_relative_lowerdirs",
        thread::in_dir(&dir, || overlay(lower(""))).unwrap()
    );
    check_merged(&merged, 128);
}

#[test]
fn privileged_option_values_end_at_255_bytes() {
    need_root!("privileged_option_values_end_at_255_bytes");
    let context = or_skip!("privileged_option_values_end_at_255_bytes", FsContext::open("overlay"));
    let error = context.set_string("upperdir", format!("/{}", "x".repeat(255))).unwrap_err();
    assert_eq!(error.outcome(), Outcome::InvalidArgument);
}

#[test]
fn privileged_read_only_bind_and_remount() {
    need_root!("privileged_read_only_bind_and_remount");
    let temp = TempDir::new();
    let (source, target) = (temp.mkdir("source"), temp.mkdir("target"));
    let _mounted = Mounted(target.clone());
    or_skip!(
        "privileged_read_only_bind_and_remount",
        mount(&source, &target, "", MountFlags::BIND, "")
    );
    std::fs::write(target.join("a"), b"").unwrap();
    remount(&target, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    let dir = fs::open_dir(&target).unwrap();
    let error = fs::create_file(&dir, "b", 0o600).unwrap_err();
    assert_eq!(error.outcome(), Outcome::ReadOnly);
    assert!(fs::fs_info(&dir).unwrap().locked_flags().contains(MountFlags::RDONLY));
    assert_eq!(unmount(&target, UnmountFlags::empty()).unwrap_err().outcome(), Outcome::Busy);
    drop(dir);
    // The new API the other way round.
    let attr = MountAttr { clear: MountAttrFlags::MOUNT_ATTR_RDONLY, ..MountAttr::NONE };
    let mount = open_mount(&target).unwrap();
    set_attributes(&mount, &attr, Recursive::No).unwrap();
    std::fs::write(target.join("b"), b"").unwrap();
    set_propagation(&target, Propagation::PRIVATE).unwrap();
    let entries = mountinfo::read().unwrap();
    let entry = mountinfo::find(&entries, &target.canonicalize().unwrap()).unwrap();
    assert!(entry.tags.is_empty(), "{:?}", entry.tags);
}

#[test]
fn privileged_recursive_clone_takes_submounts_along() {
    need_root!("privileged_recursive_clone_takes_submounts_along");
    let temp = TempDir::new();
    let source = temp.mkdir("source");
    let sub = temp.mkdir("source/sub");
    let target = temp.mkdir("target");
    let _sub = Mounted(sub.clone());
    or_skip!("privileged_recursive_clone_takes_submounts_along", tmpfs()).attach_at(&sub).unwrap();
    std::fs::write(sub.join("f"), b"x").unwrap();
    let dir = fs::open_dir(&source).unwrap();
    let alone = clone_tree(&dir, Recursive::No).unwrap();
    let missing = fs::stat_at(fs::open_dir_at(&alone, "sub").unwrap(), "f").unwrap_err();
    assert!(missing.is_not_found());
    let tree = clone_tree(&dir, Recursive::Yes).unwrap();
    let attr = MountAttr {
        set: MountAttrFlags::MOUNT_ATTR_RDONLY,
        propagation: Some(Propagation::PRIVATE),
        ..MountAttr::NONE
    };
    tree.set_attributes(&attr, Recursive::Yes).unwrap();
    let _target = Mounted(target.clone());
    tree.attach_at(&target).unwrap();
    let error = std::fs::write(target.join("sub/f"), b"y").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    unmount(target.join("sub"), UnmountFlags::empty()).unwrap();
}

const MAP: [IdMap; 1] = [IdMap { inside: 0, outside: 70_000, size: 1000 }];

#[test]
fn privileged_id_mapped_bind_mount() {
    need_root!("privileged_id_mapped_bind_mount");
    let temp = TempDir::new();
    let (source, target) = (temp.mkdir("source"), temp.mkdir("target"));
    temp.write("source/root", b"");
    temp.write("source/five", b"");
    std::os::unix::fs::chown(source.join("five"), Some(5), Some(6)).unwrap();
    let names = userns::create(&MAP, &MAP).unwrap();
    let tree = clone_tree(fs::open_dir(&source).unwrap(), Recursive::No).unwrap();
    let attr = MountAttr { id_map: Some(names.as_fd()), ..MountAttr::NONE };
    or_skip!("privileged_id_mapped_bind_mount", tree.set_attributes(&attr, Recursive::No));
    let _mounted = Mounted(target.clone());
    tree.attach_at(&target).unwrap();
    let owner = |name: &str| {
        let found = std::fs::metadata(target.join(name)).unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("root"), (70_000, 70_000));
    assert_eq!(owner("five"), (70_005, 70_006));
    // What is outside the map cannot be stored.
    let error = std::fs::write(target.join("new"), b"").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EOVERFLOW));
}

#[test]
fn privileged_clone_with_attributes() {
    need_root!("privileged_clone_with_attributes");
    let temp = TempDir::new();
    let names = userns::create(&MAP, &MAP).unwrap();
    let attr = MountAttr { id_map: Some(names.as_fd()), ..MountAttr::NONE };
    let tree = or_skip!(
        "privileged_clone_with_attributes",
        clone_tree_with(temp.fd(), &attr, Recursive::No)
    );
    assert_eq!(fs::stat(&tree).unwrap().uid, 70_000);
}
