//! Where a mount with a sub-path goes: into the target, whatever the tree there says.

use std::os::unix::fs::symlink;

use lamina_core::{Kind, Mount};

use super::super::testing::{MountDir, need_root, or_skip};
use super::super::{How, is_mounted, lookup, unmount_all, unmount_mounts};
use super::{APIS, by};

fn below(target: &str) -> Mount {
    Mount { target: target.to_owned(), ..Mount::new("tmpfs", "tmpfs", ["size=64k"]) }
}

#[test]
fn privileged_a_sub_path_stays_inside() {
    need_root!("privileged_a_sub_path_stays_inside");
    for api in APIS {
        let dir = MountDir::new();
        let root = dir.mkdir("root");
        dir.mkdir("root/etc");
        let outside = dir.mkdir("etc");
        symlink(dir.path().join("etc"), root.join("absolute")).unwrap();
        symlink("../../../etc", root.join("relative")).unwrap();
        symlink("/etc", root.join("rooted")).unwrap();
        let real = root.canonicalize().unwrap();
        for name in ["etc", "/etc", "../etc", "../../etc", "rooted", "relative"] {
            let mounts = [below(name)];
            or_skip!("privileged_a_sub_path_stays_inside", by(api).all(&mounts, &root));
            assert_eq!(lookup(&root.join("etc")).unwrap().mount_point, real.join("etc"), "{name}");
            assert!(!is_mounted(&outside).unwrap(), "{api:?} {name}");
            unmount_mounts(&mounts, &root, How::Plain).unwrap();
            assert!(!is_mounted(&root.join("etc")).unwrap(), "{api:?} {name}");
        }
        // The absolute link means a path that the root does not have.
        let error = by(api).all(&[below("absolute")], &root).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
        assert!(error.message().contains("absolute"), "{error}");
        assert!(!is_mounted(&outside).unwrap());
    }
}

#[test]
fn privileged_a_list_builds_a_tree_and_comes_apart() {
    need_root!("privileged_a_list_builds_a_tree_and_comes_apart");
    for api in APIS {
        let dir = MountDir::new();
        let target = dir.mkdir("target");
        dir.mkdir("source/sub");
        let source = dir.path().join("source").display().to_string();
        let mounts =
            [below(""), Mount::new("bind", &source, ["bind"]), below("sub"), below("/sub")];
        or_skip!("privileged_a_list_builds_a_tree_and_comes_apart", by(api).all(&mounts, &target));
        assert!(is_mounted(&target.join("sub")).unwrap());
        unmount_mounts(&mounts, &target, How::Plain).unwrap();
        assert!(!is_mounted(&target).unwrap() && !target.join("sub").exists());

        // The last one cannot be mounted: nothing of the list stays.
        let mut broken = mounts.to_vec();
        broken.push(below("missing"));
        by(api).all(&broken, &target).unwrap_err();
        assert!(!is_mounted(&target).unwrap() && !target.join("sub").exists(), "{api:?}");

        // A remount is none of the list's mounts: undoing it undoes no other.
        let first = [below("")];
        by(api).all(&first, &target).unwrap();
        let change = Mount::new("none", "none", ["remount,ro"]);
        by(api).all(&[change.clone(), below("missing")], &target).unwrap_err();
        unmount_mounts(&[change], &target, How::Plain).unwrap();
        assert!(is_mounted(&target).unwrap(), "{api:?}");
        unmount_all(&target, How::Plain).unwrap();
    }
}

#[test]
fn privileged_a_target_behind_a_link_is_found_again() {
    need_root!("privileged_a_target_behind_a_link_is_found_again");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    let link = dir.path().join("link");
    symlink(&target, &link).unwrap();
    or_skip!(
        "privileged_a_target_behind_a_link_is_found_again",
        super::super::all(&[below("")], &link)
    );
    assert!(is_mounted(&link).unwrap() && is_mounted(&target).unwrap());
    unmount_all(&link, How::Plain).unwrap();
    assert!(!is_mounted(&target).unwrap());
}
