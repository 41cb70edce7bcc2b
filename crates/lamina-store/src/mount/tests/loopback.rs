//! A file mounted through a loop device.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lamina_core::Mount;

use super::super::testing::{MountDir, need_root, or_skip};
use super::super::{How, lookup, unmount};
use super::{APIS, by};

fn image(dir: &MountDir, mkfs: &mut Command, size: u64) -> Result<PathBuf, String> {
    let path = dir.path().join("image");
    std::fs::File::create(&path).unwrap().set_len(size).unwrap();
    let output = mkfs.arg("-q").arg(&path).output().map_err(|error| error.to_string())?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(path)
}

/// Whether a loop device still has the file; autoclear works a moment after the last user went.
fn detaches(file: &Path) -> bool {
    let file = file.canonicalize().unwrap();
    let attached = || {
        std::fs::read_dir("/sys/block").unwrap().any(|entry| {
            let backing = entry.unwrap().path().join("loop/backing_file");
            std::fs::read_to_string(backing).is_ok_and(|text| Path::new(text.trim_end()) == file)
        })
    };
    let end = Instant::now() + Duration::from_secs(5);
    while attached() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn privileged_ext4_in_a_file() {
    need_root!("privileged_ext4_in_a_file");
    for api in APIS {
        let dir = MountDir::new();
        let target = dir.mkdir("target");
        let file = or_skip!(
            "privileged_ext4_in_a_file",
            image(&dir, &mut Command::new("mkfs.ext4"), 8 << 20)
        );
        let mount = |options: &[&str]| {
            by(api).all(
                &[Mount::new("ext4", file.display().to_string(), options.iter().copied())],
                &target,
            )
        };
        if !Path::new("/dev/loop-control").exists() {
            return eprintln!("SKIP privileged_ext4_in_a_file: no loop devices");
        }
        or_skip!("privileged_ext4_in_a_file", mount(&["loop", "rw", "direct-io"]));
        std::fs::write(target.join("file"), "kept").unwrap();
        assert!(lookup(&target).unwrap().source.to_string_lossy().starts_with("/dev/loop"));
        unmount(&target, How::Plain).unwrap();
        assert!(detaches(&file), "{api:?}: the device is left");

        mount(&["loop", "ro"]).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "kept");
        assert!(std::fs::write(target.join("file"), "x").is_err());
        unmount(&target, How::Plain).unwrap();
        assert!(detaches(&file));

        // Nothing to mount in it: the device goes with the error.
        std::fs::write(&file, vec![0; 1 << 20]).unwrap();
        mount(&["loop"]).unwrap_err();
        assert!(detaches(&file), "{api:?}: the device of a failed mount is left");
    }
}

#[test]
fn privileged_subvolumes_of_one_btrfs_are_read_only_each_for_itself() {
    need_root!("privileged_subvolumes_of_one_btrfs_are_read_only_each_for_itself");
    for api in APIS {
        let dir = MountDir::new();
        let file = or_skip!(
            "privileged_subvolumes_of_one_btrfs_are_read_only_each_for_itself",
            image(&dir, &mut Command::new("mkfs.btrfs"), 256 << 20)
        );
        let [top, one, two] = ["top", "one", "two"].map(|name| dir.mkdir(name));
        if !Path::new("/dev/loop-control").exists() {
            return eprintln!(
                "SKIP privileged_subvolumes_of_one_btrfs_are_read_only_each_for_itself: no loop \
                 devices"
            );
        }
        let whole = Mount::new("btrfs", file.display().to_string(), ["loop"]);
        or_skip!(
            "privileged_subvolumes_of_one_btrfs_are_read_only_each_for_itself",
            by(api).all(&[whole], &top)
        );
        let device = lookup(&top).unwrap().source.to_string_lossy().into_owned();
        let at = lamina_sys::fs::open_dir(&top).unwrap();
        for name in ["one", "two"] {
            lamina_sys::btrfs::create_subvolume(&at, name).unwrap();
        }
        drop(at);
        let subvolume = |name: &str, options: &[&str], target: &Path| {
            let subvol = format!("subvol={name}");
            let options = std::iter::once(subvol.as_str()).chain(options.iter().copied());
            by(api).all(&[Mount::new("btrfs", &device, options)], target).unwrap();
        };
        // Beside one that is mounted for writing, and the other way round.
        subvolume("one", &["ro"], &one);
        assert!(std::fs::write(one.join("file"), "x").is_err(), "{api:?}");
        unmount(&top, How::Plain).unwrap();
        subvolume("two", &[], &two);
        std::fs::write(two.join("file"), "x").unwrap();
        assert!(std::fs::write(one.join("file"), "x").is_err(), "{api:?}");
        unmount(&one, How::Plain).unwrap();
        unmount(&two, How::Plain).unwrap();
        assert!(detaches(&file), "{api:?}");
    }
}
