//! Mounts that show other owners than the disk has.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use lamina_core::{Kind, Mount};

use super::super::testing::{MountDir, need_root, or_skip};
use super::super::{Api, How, is_mounted, unmount};
use super::by;

const MAPS: [&str; 2] = ["uidmap=0:100000:1000", "gidmap=0:200000:1000"];

fn owner(path: &Path) -> (u32, u32) {
    let found = std::fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

#[test]
fn privileged_mapped_bind() {
    need_root!("privileged_mapped_bind");
    let dir = MountDir::new();
    let (source, target) = (dir.mkdir("source"), dir.mkdir("target"));
    chown(dir.write("source/five", ""), Some(5), Some(6)).unwrap();
    let options = ["rbind", "ro"].into_iter().chain(MAPS);
    let mount = [Mount::new("bind", source.display().to_string(), options)];
    or_skip!("privileged_mapped_bind", by(Api::Newest).all(&mount, &target));
    assert_eq!(owner(&target), (100_000, 200_000));
    assert_eq!(owner(&target.join("five")), (100_005, 200_006));
    assert_eq!(owner(&source.join("five")), (5, 6));
    // Upstream loses the map of a read-only bind; here both hold.
    assert!(std::fs::write(target.join("new"), "").is_err());
    let error = by(Api::Classic).all(&mount, &dir.mkdir("other")).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{}", error.chain());
}

#[test]
fn privileged_mapped_layers_of_an_overlay() {
    need_root!("privileged_mapped_layers_of_an_overlay");
    for api in [Api::Newest, Api::AttachedLayers] {
        let dir = MountDir::new();
        let target = dir.mkdir("target");
        let [upper, work] = ["upper", "work"].map(|name| dir.mkdir(name));
        chown(&upper, Some(100_000), Some(200_000)).unwrap();
        let mut lower = Vec::new();
        for number in 0..130 {
            let file = dir.write(&format!("layers/{number}/file-{number}"), "old");
            chown(file, Some(number), Some(number)).unwrap();
            lower.push(dir.path().join(format!("layers/{number}")).display().to_string());
        }
        let options = MAPS.into_iter().map(str::to_owned).chain([
            format!("workdir={}", work.display()),
            format!("upperdir={}", upper.display()),
            format!("lowerdir={}", lower.join(":")),
        ]);
        let mount = Mount::new("overlay", "overlay", options);
        or_skip!("privileged_mapped_layers_of_an_overlay", by(api).all(&[mount], &target));
        for number in [0, 7, 129] {
            let found = owner(&target.join(format!("file-{number}")));
            assert_eq!(found, (100_000 + number, 200_000 + number), "{api:?}");
        }
        // Copied up, it keeps the owner it shows; the layer is untouched.
        std::fs::write(target.join("file-7"), "new").unwrap();
        assert_eq!(owner(&upper.join("file-7")), (100_007, 200_007));
        assert_eq!(owner(&dir.path().join("layers/7/file-7")), (7, 7));
        unmount(&target, How::Plain).unwrap();
        assert!(!is_mounted(&target).unwrap(), "{api:?}: layers are left at the target");
    }
}

#[test]
fn privileged_mapped_file_system() {
    need_root!("privileged_mapped_file_system");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    let mount = Mount::new("tmpfs", "tmpfs", MAPS.into_iter().chain(["size=64k"]));
    or_skip!("privileged_mapped_file_system", by(Api::Newest).all(&[mount], &target));
    assert_eq!(owner(&target), (100_000, 200_000));
}

#[test]
fn privileged_a_failed_mapped_overlay_leaves_nothing() {
    need_root!("privileged_a_failed_mapped_overlay_leaves_nothing");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    let [a, b] = ["a", "b"].map(|name| dir.mkdir(name).display().to_string());
    let options = MAPS.into_iter().map(str::to_owned);
    let options = options.chain([format!("lowerdir={a}:{b}"), "no_such_option".to_owned()]);
    let mount = [Mount::new("overlay", "overlay", options)];
    for api in [Api::Newest, Api::AttachedLayers] {
        by(api).all(&mount, &target).unwrap_err();
        assert!(!is_mounted(&target).unwrap());
    }
}
