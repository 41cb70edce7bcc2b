//! The content of files: space, holes, copies inside the kernel, early write-back.

use std::os::fd::{AsFd, AsRawFd};

pub use rustix::fs::Advice;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Call, Result, SysError, check};

/// Reserves space for a range and makes the file at least that long; a disk too full fails here
/// and not in the middle. `EOPNOTSUPP` where the filesystem cannot.
pub fn allocate(fd: impl AsFd, offset: u64, len: u64) -> Result<()> {
    let fd = fd.as_fd();
    retry_on_intr(|| rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, len))
        .call("fallocate")
}

/// Turns a range into a hole; the length stays.
pub fn punch_hole(fd: impl AsFd, offset: u64, len: u64) -> Result<()> {
    let fd = fd.as_fd();
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    retry_on_intr(|| rustix::fs::fallocate(fd, mode, offset, len)).call("fallocate")
}

/// Sets the length; what is added is a hole.
pub fn truncate(fd: impl AsFd, len: u64) -> Result<()> {
    let fd = fd.as_fd();
    retry_on_intr(|| rustix::fs::ftruncate(fd, len)).call("ftruncate")
}

/// Makes `dst` share all data of `src` (`FICLONE`). `EOPNOTSUPP`, `EXDEV` or `EINVAL` where the
/// filesystem cannot.
pub fn reflink(src: impl AsFd, dst: impl AsFd) -> Result<()> {
    rustix::fs::ioctl_ficlone(dst, src).call("ioctl(FICLONE)")
}

/// `copy_file_range` once, at explicit offsets: how many bytes were copied, 0 at the end of `src`.
pub fn copy_range(
    src: impl AsFd,
    src_offset: u64,
    dst: impl AsFd,
    dst_offset: u64,
    len: usize,
) -> Result<usize> {
    let (src, dst) = (src.as_fd(), dst.as_fd());
    retry_on_intr(|| {
        let (mut from, mut to) = (src_offset, dst_offset);
        rustix::fs::copy_file_range(src, Some(&mut from), dst, Some(&mut to), len)
    })
    .call("copy_file_range")
}

/// Where the next data at or after `offset` begins; `None` if only a hole is left.
/// Moves the descriptor's position.
pub fn next_data(fd: impl AsFd, offset: u64) -> Result<Option<u64>> {
    match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
        Err(Errno::NXIO) => Ok(None),
        result => result.map(Some).call("lseek(SEEK_DATA)"),
    }
}

/// Where the next hole at or after `offset` begins; the end of the file counts as one.
/// Moves the descriptor's position.
pub fn next_hole(fd: impl AsFd, offset: u64) -> Result<u64> {
    rustix::fs::seek(fd, SeekFrom::Hole(offset)).call("lseek(SEEK_HOLE)")
}

/// Starts write-back of a range (`len` 0: to the end) and does not wait for it: spreads the work
/// of a later sync. Gives no durability, and tells of no error.
pub fn start_writeback(fd: impl AsFd, offset: u64, len: u64) -> Result<()> {
    let signed =
        |value| i64::try_from(value).map_err(|_| SysError::new("sync_file_range", Errno::FBIG));
    let (offset, len) = (signed(offset)?, signed(len)?);
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: plain integers and a descriptor that is borrowed for the call.
    let answer = unsafe { libc::sync_file_range(fd, offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    check(answer.into()).map(drop).call("sync_file_range")
}

/// Tells the page cache how a range (`len` 0: to the end) will be used.
pub fn advise(fd: impl AsFd, offset: u64, len: u64, advice: Advice) -> Result<()> {
    rustix::fs::fadvise(fd, offset, std::num::NonZeroU64::new(len), advice).call("fadvise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs;
    use crate::testing::TempDir;

    #[test]
    fn holes_are_found() {
        let temp = TempDir::new();
        let fd = fs::open_at(temp.fd(), "f", fs::OFlags::RDWR | fs::OFlags::CREATE, 0o600).unwrap();
        const MIB: u64 = 1 << 20;
        truncate(&fd, 4 * MIB).unwrap();
        assert_eq!(next_data(&fd, 0).unwrap(), None);
        rustix::io::pwrite(&fd, b"x", 2 * MIB).unwrap();
        fs::sync_file(&fd).unwrap();
        let data = next_data(&fd, 0).unwrap().unwrap();
        assert!(data > 0 && data <= 2 * MIB, "{data}");
        assert!(next_hole(&fd, data).unwrap() < 4 * MIB);
        start_writeback(&fd, 0, 0).unwrap();
        start_writeback(&fd, u64::MAX, 0).unwrap_err();
        punch_hole(&fd, 0, 4 * MIB).unwrap();
        assert_eq!(next_data(&fd, 0).unwrap(), None);
    }

    #[test]
    fn ranges_are_copied_at_offsets() {
        let temp = TempDir::new();
        temp.write("src", b"0123456789");
        let flags = fs::OFlags::RDWR | fs::OFlags::CREATE;
        let src = fs::open_at(temp.fd(), "src", fs::OFlags::RDONLY, 0).unwrap();
        let dst = fs::open_at(temp.fd(), "dst", flags, 0o600).unwrap();
        assert_eq!(copy_range(&src, 4, &dst, 1, 3).unwrap(), 3);
        assert_eq!(temp.read("dst"), b"\x00456");
        assert_eq!(copy_range(&src, 10, &dst, 0, 3).unwrap(), 0);
    }
}
