//! Where a file's bytes lie (`linux/fiemap.h`).

use std::os::fd::AsFd;

use rustix::ioctl::{Opcode, Updater, opcode};

use crate::error::{Call, Result};

/// Bytes on disk that no other file shares, as of now: what is not written yet is written first.
/// `EOPNOTSUPP` where the filesystem does not tell.
pub fn unshared(fd: impl AsFd) -> Result<u64> {
    let fd = fd.as_fd();
    let (mut bytes, mut start) = (0_u64, 0);
    loop {
        let mut map = Map::from(start);
        // SAFETY: the opcode reads and writes `struct fiemap` and the extents behind it, of which it
        // is told how many there are: Map has those.
        unsafe { rustix::ioctl::ioctl(fd, Updater::<FIEMAP, _>::new(&mut map)) }
            .call("ioctl(FIEMAP)")?;
        let extents = map.extents.get(..map.header.mapped as usize).unwrap_or_default();
        for extent in extents.iter().filter(|extent| extent.flags & SHARED == 0) {
            bytes = bytes.saturating_add(extent.length);
        }
        match extents.last() {
            Some(last) if last.flags & LAST == 0 => start = last.logical + last.length,
            _ => return Ok(bytes),
        }
    }
}

const EXTENTS: usize = 128;

/// `struct fiemap` with room for extents.
#[repr(C)]
struct Map {
    header: Header,
    extents: [Extent; EXTENTS],
}

impl Map {
    fn from(start: u64) -> Map {
        let header = Header {
            start,
            length: u64::MAX - start,
            flags: SYNC,
            mapped: 0,
            count: EXTENTS as u32,
            reserved: 0,
        };
        Map { header, extents: [Extent::default(); EXTENTS] }
    }
}

#[repr(C)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

const FIEMAP: Opcode = opcode::read_write::<Header>(b'f', 11);
const SYNC: u32 = 1;
const LAST: u32 = 1;
const SHARED: u32 = 0x2000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::fs::{self, OFlags};
    use crate::testing::TempDir;

    #[test]
    fn holes_do_not_count() {
        let temp = TempDir::new();
        let fd = fs::open_at(temp.fd(), "f", OFlags::RDWR | OFlags::CREATE, 0o600).unwrap();
        const MIB: u64 = 1 << 20;
        // A filesystem that does not tell (tmpfs) says so each time.
        let unsupported = |error: &crate::SysError| error.outcome() == Outcome::NotSupported;
        match unshared(&fd) {
            Err(error) if unsupported(&error) => return,
            bytes => assert_eq!(bytes.unwrap(), 0),
        }
        fs::truncate(&fd, 400 * MIB).unwrap();
        // More extents than one call tells of.
        for at in 0..200 {
            rustix::io::pwrite(&fd, &[7; 4096], at * 2 * MIB).unwrap();
        }
        let bytes = unshared(&fd).unwrap();
        assert!((200 * 4096..200 * 65536).contains(&bytes), "{bytes}");
    }
}
