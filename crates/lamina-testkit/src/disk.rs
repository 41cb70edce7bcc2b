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

/// Ends a test with the line that `cargo xtask test` counts as skipped, unless there is a value.
#[macro_export]
macro_rules! or_skip {
    ($test:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => {
                eprintln!("SKIP {}: {reason}", $test);
                return;
            }
        }
    };
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

fn run<'a>(program: &str, args: impl Iterator<Item = &'a OsStr>) -> Result<(), String> {
    let output =
        Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)))
}
