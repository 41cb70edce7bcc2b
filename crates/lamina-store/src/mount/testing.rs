//! What the tests of mounts share.

use std::path::{Path, PathBuf};

use lamina_core::Kind;

use super::{How, unmount_recursive};

/// A directory of its own that takes every mount below it along when it goes, also when the test
/// failed.
pub(crate) struct MountDir(Option<tempfile::TempDir>);

impl MountDir {
    pub(crate) fn new() -> MountDir {
        MountDir(Some(tempfile::Builder::new().prefix("lamina-mount-test-").tempdir().unwrap()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }

    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, data: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, data).unwrap();
        path
    }
}

impl Drop for MountDir {
    fn drop(&mut self) {
        let Some(dir) = self.0.take() else { return };
        if unmount_recursive(dir.path(), How::Detach).is_err() {
            // Never delete through a mount that stayed.
            drop(dir.keep());
        }
    }
}

pub(crate) fn is_root() -> bool {
    lamina_sys::kernel::is_root()
}

/// Ends the test with a note unless it runs as root.
macro_rules! need_root {
    ($name:literal) => {
        if !$crate::mount::testing::is_root() {
            eprintln!("SKIP {}: needs root", $name);
            return;
        }
    };
}
pub(crate) use need_root;

/// Why a test is skipped; anything but a lack of the machine fails it.
pub(crate) trait Reason {
    fn reason(&self) -> String;
}

impl Reason for lamina_core::Error {
    fn reason(&self) -> String {
        let lack = match self.kind() {
            // What the kernel has not, or does not allow in this place (a container).
            Kind::FailedPrecondition | Kind::PermissionDenied => true,
            // An overlay can be no upper directory of another, and takes no id maps.
            Kind::InvalidArgument => {
                let temp = lamina_sys::fs::fs_info_of(std::env::temp_dir()).unwrap();
                temp.magic == lamina_sys::fs::space::magic::OVERLAY
            }
            _ => false,
        };
        assert!(lack, "{}", self.chain());
        self.chain()
    }
}

impl Reason for String {
    fn reason(&self) -> String {
        self.clone()
    }
}

/// Ends the test with a note if the machine lacks something.
macro_rules! or_skip {
    ($name:literal, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => {
                let reason = $crate::mount::testing::Reason::reason(&error);
                eprintln!("SKIP {}: {reason}", $name);
                return;
            }
        }
    };
}
pub(crate) use or_skip;
