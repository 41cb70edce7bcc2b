//! Every kind of mount, and that read-only is read-only.

use std::io::ErrorKind;
use std::path::Path;

use lamina_core::{Kind, Mount};

use super::super::testing::{MountDir, need_root, or_skip};
use super::super::{How, is_mounted, lookup, read_only, unmount, unmount_all};
use super::{APIS, by};

fn refused(path: &Path) -> bool {
    std::fs::write(path, "x").is_err_and(|error| error.kind() == ErrorKind::ReadOnlyFilesystem)
}

#[test]
fn privileged_bind_is_what_its_options_say() {
    need_root!("privileged_bind_is_what_its_options_say");
    for api in APIS {
        let dir = MountDir::new();
        let (source, target) = (dir.mkdir("source"), dir.mkdir("target"));
        dir.write("source/file", "a");
        let source = source.display().to_string();
        let mount = |options: &[&str]| {
            by(api).all(&[Mount::new("bind", &source, options.iter().copied())], &target)
        };
        or_skip!("privileged_bind_is_what_its_options_say", mount(&["rbind", "rw"]));
        std::fs::write(target.join("new"), "b").unwrap();
        assert!(Path::new(&source).join("new").exists());
        unmount(&target, How::Plain).unwrap();

        mount(&["rbind", "ro", "nosuid", "noatime"]).unwrap();
        assert!(refused(&target.join("file")) && refused(&target.join("other")), "{api:?}");
        let entry = lookup(&target).unwrap();
        for word in ["ro", "nosuid", "noatime"] {
            assert!(entry.has_option(word), "{api:?}: {entry:?}");
        }
        // The source itself is as it was.
        std::fs::write(Path::new(&source).join("file"), "c").unwrap();
        unmount(&target, How::Plain).unwrap();
        assert!(!is_mounted(&target).unwrap());
    }
}

#[test]
fn privileged_a_file_is_bound_on_a_file() {
    need_root!("privileged_a_file_is_bound_on_a_file");
    for api in APIS {
        let dir = MountDir::new();
        let (source, target) = (dir.write("source", "from"), dir.write("target", "below"));
        let mount = Mount::new("bind", source.display().to_string(), ["bind", "ro"]);
        or_skip!("privileged_a_file_is_bound_on_a_file", by(api).all(&[mount], &target));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "from", "{api:?}");
        assert!(refused(&target), "{api:?}");
        unmount(&target, How::Plain).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "below");
    }
}

#[test]
fn privileged_rbind_shows_what_is_mounted_below() {
    need_root!("privileged_rbind_shows_what_is_mounted_below");
    for api in APIS {
        let dir = MountDir::new();
        let (source, target) = (dir.mkdir("source"), dir.mkdir("target"));
        let below = dir.mkdir("source/below");
        or_skip!(
            "privileged_rbind_shows_what_is_mounted_below",
            by(api).all(&[Mount::new("tmpfs", "tmpfs", ["size=1m"])], &below)
        );
        std::fs::write(below.join("file"), "x").unwrap();
        let bind = |option: &str| {
            let mount = Mount::new("bind", source.display().to_string(), [option, "ro"]);
            by(api).all(&[mount], &target).unwrap();
            let seen = target.join("below/file").exists();
            super::super::unmount_recursive(&target, How::Plain).unwrap();
            seen
        };
        assert!(bind("rbind"), "{api:?}");
        assert!(!bind("bind"), "{api:?}");
    }
}

#[test]
fn privileged_overlay_writes_up_and_reads_down() {
    need_root!("privileged_overlay_writes_up_and_reads_down");
    for api in APIS {
        let dir = MountDir::new();
        let [upper, work, target] = ["upper", "work", "target"].map(|name| dir.mkdir(name));
        dir.write("a/file", "a");
        dir.write("b/file", "b");
        dir.write("b/deep", "b");
        let at = dir.path().display();
        let mounts = [Mount::new(
            "overlay",
            "overlay",
            [
                format!("workdir={}", work.display()),
                format!("upperdir={}", upper.display()),
                format!("lowerdir={at}/a:{at}/b"),
                "index=off".to_owned(),
            ],
        )];
        or_skip!("privileged_overlay_writes_up_and_reads_down", by(api).all(&mounts, &target));
        assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "a");
        assert_eq!(std::fs::read_to_string(target.join("deep")).unwrap(), "b");
        std::fs::write(target.join("file"), "new").unwrap();
        unmount(&target, How::Plain).unwrap();
        assert_eq!(std::fs::read_to_string(upper.join("file")).unwrap(), "new");

        by(api).all(&read_only(&mounts).unwrap(), &target).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "new", "{api:?}");
        assert!(refused(&target.join("file")) && refused(&target.join("x")), "{api:?}");
        unmount(&target, How::Plain).unwrap();
    }
}

#[test]
fn privileged_flags_and_data_reach_the_kernel() {
    need_root!("privileged_flags_and_data_reach_the_kernel");
    for api in APIS {
        let dir = MountDir::new();
        let target = dir.mkdir("target");
        let options = ["ro,noexec", "nodev", "defaults", "mode=0710,size=64k"];
        let mount = Mount::new("tmpfs", "my-source", options);
        or_skip!("privileged_flags_and_data_reach_the_kernel", by(api).all(&[mount], &target));
        let entry = lookup(&target).unwrap();
        assert!(["ro", "noexec", "nodev"].iter().all(|word| entry.has_option(word)), "{entry:?}");
        assert_eq!(entry.source, "my-source");
        assert!(entry.super_options.to_string_lossy().contains("mode=710"), "{entry:?}");
        assert!(refused(&target.join("file")));
        // Other flags for what is mounted.
        by(api).all(&[Mount::new("none", "none", ["remount", "rw"])], &target).unwrap();
        std::fs::write(target.join("file"), "x").unwrap();
        unmount_all(&target, How::Plain).unwrap();
    }
}

#[test]
fn privileged_errors_name_the_mount_and_say_why() {
    need_root!("privileged_errors_name_the_mount_and_say_why");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    let at = dir.path().display().to_string();
    for api in APIS {
        let cases = [
            (Mount::new("bind", format!("{at}/none"), ["bind"]), Kind::NotFound, "none"),
            (Mount::new("no-such-fs", "x", ["a=b"]), Kind::FailedPrecondition, "no-such-fs"),
            (
                Mount::new("overlay", "overlay", [format!("lowerdir={at}/none:{at}")]),
                Kind::NotFound,
                "overlay",
            ),
            (Mount::new("tmpfs", "t", ["size=banana"]), Kind::InvalidArgument, "tmpfs"),
            (Mount::new("tmpfs", "t", ["no_such_option"]), Kind::InvalidArgument, "tmpfs"),
        ];
        for (mount, kind, says) in cases {
            let error = by(api).all(&[mount], &target).unwrap_err();
            assert_eq!(error.kind(), kind, "{api:?}: {}", error.chain());
            for word in [says, "target"] {
                assert!(error.message().contains(word), "{api:?}: {}", error.chain());
            }
            assert!(!is_mounted(&target).unwrap());
        }
    }
    let error = super::super::all(&[Mount::new("tmpfs", "t", ["no_such_option"])], &target);
    let chain = error.unwrap_err().chain();
    assert!(chain.contains("Unknown parameter 'no_such_option'"), "{chain}");
    let error = super::super::all(&[Mount::new("tmpfs", "t", ["ro"])], &dir.path().join("no"));
    assert_eq!(error.unwrap_err().kind(), Kind::NotFound);
}
