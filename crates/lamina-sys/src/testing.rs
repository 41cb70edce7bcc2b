//! What the tests of this crate share.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

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

/// Runs a program; an error text if it is missing or fails.
pub(crate) fn run(program: &str, args: &[&std::ffi::OsStr]) -> Result<(), String> {
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
