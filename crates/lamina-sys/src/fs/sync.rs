//! Durability.
//!
//! A failed sync is final: the kernel reports a write-back error once per open file description
//! and then forgets it, so calling again and getting `Ok` proves nothing.

use std::os::fd::AsFd;

use rustix::io::retry_on_intr;

use crate::error::{Call, Result};

/// `fsync`: content and metadata of a file, or the entries of a directory, are on the medium.
pub fn sync_file(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    retry_on_intr(|| rustix::fs::fsync(fd)).call("fsync")
}

/// `fdatasync`: content, and what is needed to read it back, is on the medium.
pub fn sync_data(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    retry_on_intr(|| rustix::fs::fdatasync(fd)).call("fdatasync")
}

/// `syncfs`: all of the filesystem `fd` lies on is on the medium. Since Linux 5.8 it reports
/// write-back errors that happened after `fd` was opened, so open it before the first write.
pub fn sync_filesystem(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    retry_on_intr(|| rustix::fs::syncfs(fd)).call("syncfs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs;
    use crate::testing::TempDir;

    #[test]
    fn directories_and_files_sync_and_handles_do_not() {
        let temp = TempDir::new();
        temp.write("f", b"x");
        sync_file(temp.fd()).unwrap();
        sync_filesystem(temp.fd()).unwrap();
        let file = fs::open_at(temp.fd(), "f", fs::OFlags::WRONLY, 0).unwrap();
        sync_data(&file).unwrap();
        sync_file(fs::open_handle_at(temp.fd(), "f").unwrap()).unwrap_err();
    }
}
