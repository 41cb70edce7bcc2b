//! What the tests of this crate share.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::fs::OFlags;
use crate::loopdev::{LoopDevice, LoopOptions};
use crate::mount::MountFlags;

/// A directory of its own, with a descriptor.
pub(crate) struct TempDir {
    fd: OwnedFd,
    dir: tempfile::TempDir,
}

impl TempDir {
    pub(crate) fn new() -> TempDir {
        let dir = tempfile::Builder::new().prefix("lamina-sys-").tempdir().unwrap();
        let fd = crate::fs::open_dir(dir.path()).unwrap();
        TempDir { fd, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, data: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, data).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }
}

/// Unmounts everything stacked at a path when dropped, also when the test failed.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        while rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).is_ok() {}
    }
}

/// A filesystem of its own on a loop device, at `mnt` in a directory of its own.
/// The fields are dropped in this order.
pub(crate) struct Disk {
    pub(crate) fd: OwnedFd,
    _mounted: Mounted,
    _dir: TempDir,
}

impl Disk {
    /// Makes it with `mkfs.<fs_type>`; the error says what this machine lacks.
    pub(crate) fn new(fs_type: &str, size: u64, mkfs_options: &[&str]) -> Result<Disk, String> {
        let dir = TempDir::new();
        let flags = OFlags::RDWR | OFlags::CREATE;
        let image = crate::fs::open_at(dir.fd(), "image", flags, 0o600).unwrap();
        crate::fs::truncate(&image, size).unwrap();
        let path = dir.path().join("image");
        let mut args: Vec<&OsStr> = vec!["-q".as_ref()];
        args.extend(mkfs_options.iter().map(OsStr::new));
        args.push(path.as_os_str());
        run(&format!("mkfs.{fs_type}"), &args)?;
        let options = LoopOptions { read_only: false, autoclear: true, direct_io: false };
        let device =
            LoopDevice::attach(&image, &path, options).map_err(|error| error.to_string())?;
        let target = dir.mkdir("mnt");
        let mounted = Mounted(target.clone());
        crate::mount::mount(device.path(), &target, fs_type, MountFlags::empty(), "")
            .map_err(|error| error.to_string())?;
        let fd = crate::fs::open_dir(&target).unwrap();
        Ok(Disk { fd, _mounted: mounted, _dir: dir })
    }
}

/// Runs a program; an error text if it is missing or fails.
pub(crate) fn run(program: &str, args: &[&OsStr]) -> Result<(), String> {
    let output = std::process::Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Ends the test with a note unless it runs as root.
macro_rules! need_root {
    ($name:literal) => {
        if !$crate::testing::is_root() {
            eprintln!("SKIP {}: needs root", $name);
            return;
        }
    };
}
pub(crate) use need_root;

/// Ends the test with a note unless it runs in the guest of `cargo xtask vm`.
macro_rules! need_vm {
    ($name:literal) => {
        if std::env::var_os("LAMINA_VM").is_none() {
            eprintln!("SKIP {}: runs in the guest of cargo xtask vm", $name);
            return;
        }
    };
}
pub(crate) use need_vm;

/// Ends the test with a note if something the machine may lack fails.
macro_rules! or_skip {
    ($name:literal, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => {
                eprintln!("SKIP {}: {error}", $name);
                return;
            }
        }
    };
}
pub(crate) use or_skip;
