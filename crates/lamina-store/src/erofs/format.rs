//! The numbers of the format: superblock, inodes, entries of directories, xattrs.

use std::io;

use super::tree::Meta;

pub(super) const BLOCK: usize = 4096;
pub(super) const BLOCK_U64: u64 = 4096;
/// Inodes are counted in slots of this size.
pub(super) const SLOT: usize = 32;
/// An extended inode.
pub(super) const INODE: usize = 64;
/// Where the superblock lies in the first block.
const SUPER: usize = 1024;
const MAGIC: u32 = 0xE0F5_E1E2;
/// The superblock has a checksum; inodes have times.
const COMPATIBLE: u32 = 1 | 2;
const DIRENT: usize = 12;
const XATTR_HEADER: usize = 12;

/// Where an inode's data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In whole blocks.
    Plain,
    /// In whole blocks, and the rest right behind the inode.
    Inline,
}

/// What an inode says besides the entry's own metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    pub(super) size: u64,
    /// The first block of data, or the device's number.
    pub(super) place: u32,
    pub(super) links: u32,
    pub(super) number: u32,
}

pub(super) fn inode(meta: &Meta, kind: u32, shape: &Shape, xattrs: usize) -> io::Result<Vec<u8>> {
    let count = if xattrs == 0 { 0 } else { (xattrs - XATTR_HEADER) / 4 + 1 };
    let count = u16::try_from(count).map_err(|_| too_large("extended attributes"))?;
    let layout: u16 = match shape.layout {
        Layout::Plain => 0,
        Layout::Inline => 2,
    };
    let mut out = Vec::with_capacity(INODE);
    out.extend((1 | layout << 1).to_le_bytes());
    out.extend(count.to_le_bytes());
    // The mode's 16 bits.
    out.extend(&((kind & 0o170_000) | (meta.mode & 0o7777)).to_le_bytes()[..2]);
    out.extend([0; 2]);
    out.extend(shape.size.to_le_bytes());
    out.extend(shape.place.to_le_bytes());
    out.extend(shape.number.to_le_bytes());
    out.extend(meta.uid.to_le_bytes());
    out.extend(meta.gid.to_le_bytes());
    out.extend(meta.mtime.0.to_le_bytes());
    out.extend(meta.mtime.1.to_le_bytes());
    out.extend(shape.links.to_le_bytes());
    out.resize(INODE, 0);
    Ok(out)
}

/// A device's number as Linux keeps it in 32 bits.
pub(super) fn device(major: u32, minor: u32) -> io::Result<u32> {
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(too_large("device number"));
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

/// The xattrs of one inode, as they lie behind it; empty when there are none.
pub(super) fn xattrs(meta: &Meta) -> io::Result<Vec<u8>> {
    const PREFIXES: [(u8, &[u8]); 5] = [
        (2, b"system.posix_acl_access"),
        (3, b"system.posix_acl_default"),
        (1, b"user."),
        (4, b"trusted."),
        (6, b"security."),
    ];
    let mut out = Vec::new();
    for (name, value) in &meta.xattrs {
        let found = PREFIXES.iter().find_map(|&(index, prefix)| {
            let rest = name.strip_prefix(prefix)?;
            // Those of ACLs are whole names, the others need something behind them.
            (rest.is_empty() == (index == 2 || index == 3)).then_some((index, rest))
        });
        let Some((index, rest)) = found else {
            let name = String::from_utf8_lossy(name);
            let what = format!("EROFS has no extended attribute {name}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        if out.is_empty() {
            out.resize(XATTR_HEADER, 0);
        }
        out.push(u8::try_from(rest.len()).map_err(|_| too_large("name of an xattr"))?);
        out.push(index);
        let size = u16::try_from(value.len()).map_err(|_| too_large("extended attribute"))?;
        out.extend(size.to_le_bytes());
        out.extend(rest);
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    Ok(out)
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) nid: u64,
    pub(super) kind: u8,
}

/// How many of the next names fill one block, and how long that block's contents are.
fn fill<'a>(names: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    let (mut count, mut used) = (0, 0);
    for name in names {
        if used + DIRENT + name.len() > BLOCK {
            break;
        }
        count += 1;
        used += DIRENT + name.len();
    }
    (count, used)
}

/// The size of a directory with these names, in their order.
pub(super) fn directory_size(names: &[&[u8]]) -> u64 {
    let (mut at, mut size) = (0, 0);
    while at < names.len() {
        let (count, used) = fill(names[at..].iter().copied());
        at += count;
        size += if at < names.len() { BLOCK } else { used };
    }
    size as u64
}

/// A directory's data. Entries are in the order of their names' bytes.
pub(super) fn directory(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (count, _) = fill(rest.iter().map(|entry| entry.name));
        let (now, later) = rest.split_at(count);
        let mut offset = count * DIRENT;
        for entry in now {
            out.extend(entry.nid.to_le_bytes());
            // Below the size of a block.
            out.extend(&(offset as u32).to_le_bytes()[..2]);
            out.extend([entry.kind, 0]);
            offset += entry.name.len();
        }
        for entry in now {
            out.extend(entry.name);
        }
        rest = later;
        if !rest.is_empty() {
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
    }
    out
}

/// What the superblock says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Super {
    pub(super) root: u16,
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) metadata: u32,
    pub(super) uuid: [u8; 16],
}

/// The first block.
pub(super) fn superblock(about: &Super) -> Vec<u8> {
    let mut out = vec![0; SUPER];
    out.extend(MAGIC.to_le_bytes());
    out.extend([0; 4]);
    out.extend(COMPATIBLE.to_le_bytes());
    out.extend([12, 0]);
    out.extend(about.root.to_le_bytes());
    out.extend(about.inodes.to_le_bytes());
    out.extend([0; 12]);
    out.extend(about.blocks.to_le_bytes());
    out.extend(about.metadata.to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    out.extend(about.uuid);
    out.resize(BLOCK, 0);
    let sum = checksum(&out[SUPER..]);
    out[SUPER + 4..SUPER + 8].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Where the root's inode lies, and how many blocks there are; none for what is no superblock of ours.
pub(super) fn read_superblock(block: &[u8; BLOCK]) -> Option<(u64, u32)> {
    let word = |at: usize| {
        let bytes = block.get(SUPER + at..SUPER + at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let mut bare = block[SUPER..].to_vec();
    bare[4..8].fill(0);
    if word(0)? != MAGIC || word(4)? != checksum(&bare) {
        return None;
    }
    // The root's number shares its word with two bytes before it.
    let (root, blocks, metadata) = (word(12)? >> 16, word(36)?, word(40)?);
    Some((u64::from(metadata) * BLOCK_U64 + u64::from(root) * SLOT as u64, blocks))
}

/// User and group of an extended inode.
pub(super) fn owner(inode: &[u8; INODE]) -> (u32, u32) {
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&inode[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    (word(24), word(28))
}

/// CRC-32C as the kernel computes it here: from all ones, and not inverted at the end.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0x82F6_3B78 }
        })
    })
}

pub(super) fn too_large(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} too large for EROFS"))
}
