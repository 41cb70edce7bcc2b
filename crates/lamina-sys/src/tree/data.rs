//! Copies the content of one file, with its holes, the cheapest way the two filesystems have.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::Outcome;
use crate::error::{Call, Result, SysError};
use crate::fs;

/// Copies the content of the file `src` to the empty file `dst`: shared where the filesystem can,
/// and with its holes. `cancel` is asked every 64 MiB; `true` ends with `ECANCELED`.
pub fn copy_file(src: impl AsFd, dst: impl AsFd, cancel: &mut dyn FnMut() -> bool) -> Result<()> {
    let (src, dst) = (src.as_fd(), dst.as_fd());
    DataCopier::new().copy(src, dst, fs::stat(src)?.size, cancel)
}

/// Remembers what the pair of filesystems cannot do, so that it is tried once and not per file.
#[derive(Debug)]
pub(super) struct DataCopier {
    reflink: bool,
    in_kernel: bool,
}

impl DataCopier {
    pub(super) fn new() -> DataCopier {
        DataCopier { reflink: true, in_kernel: true }
    }

    /// Copies `size` bytes of `src` to the empty file `dst`; bytes shared by reflink if possible,
    /// holes kept. If `src` shrinks meanwhile, the rest is a hole.
    pub(super) fn copy(
        &mut self,
        src: BorrowedFd<'_>,
        dst: BorrowedFd<'_>,
        size: u64,
        cancel: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        if self.reflink {
            match fs::reflink(src, dst) {
                Ok(()) => return Ok(()),
                // Out of space and damage are the same for any other way.
                Err(error) if matches!(error.outcome(), Outcome::NoSpace | Outcome::Io) => {
                    return Err(error);
                }
                // EINVAL is about this file (its attributes), anything else about the pair.
                Err(error) if error.outcome() == Outcome::InvalidArgument => {}
                Err(_) => self.reflink = false,
            }
        }
        fs::truncate(dst, size)?;
        let mut offset = 0;
        while offset < size {
            let start = match fs::next_data(src, offset) {
                Ok(Some(start)) => start,
                Ok(None) => break,
                // No SEEK_DATA here: all is data.
                Err(error) if error.outcome() == Outcome::InvalidArgument => offset,
                Err(error) => return Err(error),
            };
            let end = match fs::next_hole(src, start) {
                Ok(end) => end.min(size),
                Err(error) if error.outcome() == Outcome::InvalidArgument => size,
                // Shrunk in between.
                Err(error) if error.errno() == Errno::NXIO => break,
                Err(error) => return Err(error),
            };
            if !self.copy_range(src, dst, start..end, cancel)? {
                break;
            }
            offset = end.max(start);
            if end <= start {
                break;
            }
        }
        Ok(())
    }

    /// `false` if `src` ended early.
    fn copy_range(
        &mut self,
        src: BorrowedFd<'_>,
        dst: BorrowedFd<'_>,
        range: std::ops::Range<u64>,
        cancel: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let mut offset = range.start;
        while self.in_kernel && offset < range.end {
            check_cancel(cancel)?;
            let len = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(KERNEL_CHUNK);
            match fs::copy_range(src, offset, dst, offset, len) {
                // The end, or a filesystem whose files have no length of their own: read on.
                Ok(0) => break,
                Ok(done) => offset += done as u64,
                Err(error) if cannot_copy(&error) => self.in_kernel = false,
                Err(error) => return Err(error),
            }
        }
        if offset >= range.end {
            return Ok(true);
        }
        read_and_write(src, dst, offset..range.end, cancel)
    }
}

fn cannot_copy(error: &SysError) -> bool {
    matches!(
        error.outcome(),
        Outcome::NotSupported
            | Outcome::InvalidArgument
            | Outcome::CrossDevice
            | Outcome::PermissionDenied
    )
}

fn read_and_write(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    range: std::ops::Range<u64>,
    cancel: &mut dyn FnMut() -> bool,
) -> Result<bool> {
    let mut buf = vec![0; BUFFER];
    let mut offset = range.start;
    while offset < range.end {
        check_cancel(cancel)?;
        let want = usize::try_from(range.end - offset).unwrap_or(BUFFER).min(BUFFER);
        let part = buf.get_mut(..want).unwrap_or_default();
        let len = rustix::io::retry_on_intr(|| rustix::io::pread(src, &mut *part, offset))
            .call("pread")?;
        let mut rest = part.get(..len).unwrap_or_default();
        if rest.is_empty() {
            return Ok(false);
        }
        while !rest.is_empty() {
            let len = rustix::io::retry_on_intr(|| rustix::io::pwrite(dst, rest, offset))
                .call("pwrite")?;
            if len == 0 {
                return Err(SysError::new("pwrite", Errno::IO));
            }
            rest = rest.get(len..).unwrap_or_default();
            offset += len as u64;
        }
    }
    Ok(true)
}

pub(super) fn check_cancel(cancel: &mut dyn FnMut() -> bool) -> Result<()> {
    if cancel() { Err(SysError::new("copy", Errno::CANCELED)) } else { Ok(()) }
}

/// One copy_file_range that is not a reflink cannot be cancelled inside.
const KERNEL_CHUNK: usize = 64 << 20;
const BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::OFlags;
    use crate::testing::TempDir;

    #[test]
    fn every_way_keeps_bytes_and_holes() {
        let temp = TempDir::new();
        let flags = OFlags::RDWR | OFlags::CREATE;
        let src = fs::open_at(temp.fd(), "src", flags, 0o600).unwrap();
        const MIB: u64 = 1 << 20;
        fs::truncate(&src, 8 * MIB + 5).unwrap();
        let block: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        rustix::io::pwrite(&src, &block, MIB).unwrap();
        rustix::io::pwrite(&src, b"end", 8 * MIB).unwrap();
        fs::sync_file(&src).unwrap();
        let expected = temp.read("src");
        for (name, reflink, in_kernel) in
            [("a", true, true), ("b", false, true), ("c", false, false)]
        {
            let dst = fs::open_at(temp.fd(), name, flags, 0o600).unwrap();
            let mut copier = DataCopier { reflink, in_kernel };
            let size = fs::stat(&src).unwrap().size;
            copier.copy(src.as_fd(), dst.as_fd(), size, &mut || false).unwrap();
            assert!(temp.read(name) == expected, "{name}");
            fs::sync_file(&dst).unwrap();
            let blocks = fs::stat(&dst).unwrap().blocks;
            assert!(blocks * 512 < 2 * MIB, "{name}: {blocks} blocks");
        }
        let dst = fs::open_at(temp.fd(), "d", flags, 0o600).unwrap();
        let mut copier = DataCopier { reflink: false, in_kernel: false };
        let error = copier.copy(src.as_fd(), dst.as_fd(), MIB * 2, &mut || true).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Cancelled);
        // Claimed longer than it is: ends with the source.
        copier.copy(src.as_fd(), dst.as_fd(), 9 * MIB, &mut || false).unwrap();
        assert_eq!(fs::stat(&dst).unwrap().size, 9 * MIB);
    }
}
