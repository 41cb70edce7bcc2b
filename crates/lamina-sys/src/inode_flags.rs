//! Inode flags (`FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS`; `ioctl_iflags(2)`).

use std::os::fd::AsFd;

pub use rustix::fs::IFlags;

use crate::error::{Call, Result};

/// The flags of an open file or directory (no `O_PATH` handle). `ENOTTY` or `EOPNOTSUPP` where
/// the filesystem has none.
pub fn get(fd: impl AsFd) -> Result<IFlags> {
    rustix::fs::ioctl_getflags(fd).call("ioctl(FS_IOC_GETFLAGS)")
}

/// Sets all flags. Immutable and append-only need `CAP_LINUX_IMMUTABLE`.
pub fn set(fd: impl AsFd, flags: IFlags) -> Result<()> {
    rustix::fs::ioctl_setflags(fd, flags).call("ioctl(FS_IOC_SETFLAGS)")
}

/// Makes a file immutable (no write, link, rename or removal by anybody) or mutable again;
/// `Ok(false)` if it was so already.
pub fn set_immutable(fd: impl AsFd, immutable: bool) -> Result<bool> {
    let fd = fd.as_fd();
    let old = get(fd)?;
    let mut new = old;
    new.set(IFlags::IMMUTABLE, immutable);
    if new == old {
        return Ok(false);
    }
    set(fd, new).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::fs;
    use crate::testing::{TempDir, need_root};

    #[test]
    fn privileged_immutable_files_cannot_be_removed() {
        need_root!("privileged_immutable_files_cannot_be_removed");
        let temp = TempDir::new();
        temp.write("f", b"");
        let fd = fs::open_at(temp.fd(), "f", fs::OFlags::RDONLY, 0).unwrap();
        match set_immutable(&fd, true) {
            Ok(changed) => assert!(changed),
            Err(error) => {
                return eprintln!("SKIP privileged_immutable_files_cannot_be_removed: {error}");
            }
        }
        let refused = fs::remove_file(temp.fd(), "f");
        assert!(!set_immutable(&fd, true).unwrap());
        assert!(set_immutable(&fd, false).unwrap());
        assert_eq!(refused.unwrap_err().outcome(), Outcome::PermissionDenied);
        fs::remove_file(temp.fd(), "f").unwrap();
    }

    #[test]
    fn proc_has_no_flags() {
        let error = get(std::fs::File::open("/proc/self/status").unwrap()).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSupported);
    }
}
