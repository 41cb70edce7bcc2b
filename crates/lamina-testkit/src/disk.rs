//! File systems of their own, on loop devices.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use lamina_sys::loopdev::{LoopDevice, LoopOptions};
use lamina_sys::mount::{MountFlags, UnmountFlags};
use lamina_sys::{mount, mountinfo};
use tempfile::TempDir;

/// A file system on a loop device, mounted in a directory of its own. Dropped, everything mounted in
/// it is unmounted and it is gone.
#[derive(Debug)]
pub struct Disk {
    // Dropped in this order.
    _mounted: Mounted,
    _dir: TempDir,
    path: PathBuf,
}

impl Disk {
    /// Makes it with `mkfs.<fs_type>`.
    ///
    /// # Errors
    /// What this machine lacks, for a line that says why a test was skipped.
    pub fn new(fs_type: &str, size: u64, mkfs_options: &[&str]) -> Result<Disk, String> {
        Self::make(fs_type, size, mkfs_options).map_err(|error| format!("{fs_type} disk: {error}"))
    }

    fn make(fs_type: &str, size: u64, mkfs_options: &[&str]) -> Result<Disk, String> {
        let text = |error: lamina_sys::SysError| error.to_string();
        if !lamina_sys::kernel::is_root() {
            return Err("needs root".to_owned());
        }
        let dir = tempfile::Builder::new()
            .prefix("lamina-disk-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let image = dir.path().join("image");
        let file = std::fs::File::create_new(&image).map_err(|error| error.to_string())?;
        file.set_len(size).map_err(|error| error.to_string())?;
        let options = std::iter::once(OsStr::new("-q")).chain(mkfs_options.iter().map(OsStr::new));
        run(&format!("mkfs.{fs_type}"), options.chain([image.as_os_str()]))?;

        let file = std::fs::OpenOptions::new().read(true).write(true).open(&image);
        let file = file.map_err(|error| error.to_string())?;
        let options = LoopOptions { read_only: false, autoclear: true, direct_io: false };
        let device = LoopDevice::attach(&file, &image, options).map_err(text)?;
        let path = dir.path().join("mnt");
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        let path = path.canonicalize().map_err(|error| error.to_string())?;
        mount::mount(device.path(), &path, fs_type, MountFlags::empty(), "").map_err(text)?;
        Ok(Disk { _mounted: Mounted(path.clone()), _dir: dir, path })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes an image with an empty ext4 at `path`, as `blockfile` wants one: it
/// has no `lost+found`.
///
/// # Errors
/// What this machine lacks, for a line that says why a test was skipped.
pub fn scratch_image(path: &Path, size: u64) -> Result<(), String> {
    let file = std::fs::File::create(path).map_err(|error| error.to_string())?;
    file.set_len(size).map_err(|error| error.to_string())?;
    let make = ["-q", "-F", "-E", "nodiscard,lazy_itable_init=1"].map(OsStr::new);
    run("mkfs.ext4", make.into_iter().chain([path.as_os_str()]))?;
    let remove = ["-w", "-R", "rmdir lost+found"].map(OsStr::new);
    run("debugfs", remove.into_iter().chain([path.as_os_str()]))
}

/// Unmounts everything at and below a path when dropped, also when the test failed. What cannot be
/// unmounted now is detached.
#[derive(Debug)]
pub struct Mounted(pub PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Best effort: the harness of the tests looks for what is left.
        let Ok(table) = mountinfo::read() else { return };
        for entry in mountinfo::below(&table, &self.0) {
            if mount::unmount(&entry.mount_point, UnmountFlags::empty()).is_err() {
                let _ = mount::unmount(&entry.mount_point, UnmountFlags::DETACH);
            }
        }
    }
}

pub(crate) fn run<'a>(program: &str, args: impl Iterator<Item = &'a OsStr>) -> Result<(), String> {
    let output =
        Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::or_skip;

    /// Whether a loop device has a file below `dir` behind it.
    fn has_loop(dir: &Path) -> bool {
        std::fs::read_dir("/sys/block").unwrap().any(|device| {
            let backing = device.unwrap().path().join("loop/backing_file");
            std::fs::read_to_string(backing).is_ok_and(|file| Path::new(&file).starts_with(dir))
        })
    }

    fn gone_after_a_panic(test: &str, fs_type: &str, size: u64) {
        let disk = or_skip!(test, Disk::new(fs_type, size, &[]));
        let (path, dir) = (disk.path().to_owned(), disk.path().parent().unwrap().to_owned());
        let table = mountinfo::read().unwrap();
        let mounted = mountinfo::find(&table, &path).unwrap();
        assert_eq!(mounted.mount_point, path);
        assert_eq!(mounted.fs_type, fs_type);
        assert!(has_loop(&dir));
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let sub = disk.path().join("sub");
            std::fs::create_dir(&sub).unwrap();
            mount::mount("x", &sub, "tmpfs", MountFlags::empty(), "").unwrap();
            panic!("as a test that fails");
        }));
        assert!(panicked.is_err());
        assert!(mountinfo::below(&mountinfo::read().unwrap(), &dir).is_empty());
        assert!(!dir.exists());
        // The kernel takes a loop device down after the unmount has returned.
        let deadline = Instant::now() + Duration::from_secs(10);
        while has_loop(&dir) {
            assert!(Instant::now() < deadline, "a loop device is left");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn privileged_ext4_is_gone_after_a_panic() {
        gone_after_a_panic("privileged_ext4_is_gone_after_a_panic", "ext4", 16 << 20);
    }

    #[test]
    fn privileged_xfs_is_gone_after_a_panic() {
        gone_after_a_panic("privileged_xfs_is_gone_after_a_panic", "xfs", 320 << 20);
    }

    #[test]
    fn privileged_btrfs_is_gone_after_a_panic() {
        gone_after_a_panic("privileged_btrfs_is_gone_after_a_panic", "btrfs", 128 << 20);
    }

    #[test]
    fn privileged_a_mkfs_that_refuses_is_named() {
        let test = "privileged_a_mkfs_that_refuses_is_named";
        or_skip!(test, crate::env::skip::require_root());
        or_skip!(test, crate::env::skip::require_tool("mkfs.ext4"));
        let reason = Disk::new("ext4", 16 << 20, &["-O", "no_such_feature"]).unwrap_err();
        assert!(reason.starts_with("ext4 disk: mkfs.ext4: "), "{reason}");
        assert!(Disk::new("nosuchfs", 1 << 20, &[]).unwrap_err().contains("mkfs.nosuchfs"));
    }
}
