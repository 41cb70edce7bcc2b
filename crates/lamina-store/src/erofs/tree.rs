//! The tree of an image while it is made: inodes, and the names that lead to them.

use std::collections::BTreeMap;

use super::writer::Made;

/// Owner, mode, time and attributes of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Seconds since 1970, which may be negative, and nanoseconds.
    pub mtime: (i64, u32),
    /// Full names and values; `BTreeMap`, so that their order is always the same.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// An entry that has no data of its own in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory, empty at first.
    Dir,
    /// A symbolic link and where it leads.
    Symlink(Vec<u8>),
    /// A character device: major, minor. 0:0 is overlayfs's whiteout.
    Char(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

#[derive(Debug)]
pub(super) enum Body {
    Dir { names: BTreeMap<Vec<u8>, Made>, parent: Made },
    File { block: u32, size: u64 },
    Symlink(Vec<u8>),
    Char(u32),
    Block(u32),
    Fifo,
    Socket,
}

impl Body {
    /// Whether its data is kept in memory to the end.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Body::Dir { .. } | Body::Symlink(_))
    }

    /// The file type in a mode, and in an entry of a directory.
    pub(super) fn kind(&self) -> (u32, u8) {
        match self {
            Body::File { .. } => (0o100_000, 1),
            Body::Dir { .. } => (0o040_000, 2),
            Body::Char(_) => (0o020_000, 3),
            Body::Block(_) => (0o060_000, 4),
            Body::Fifo => (0o010_000, 5),
            Body::Socket => (0o140_000, 6),
            Body::Symlink(_) => (0o120_000, 7),
        }
    }
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) meta: Meta,
    pub(super) body: Body,
    /// Names that lead to it; for a directory, 2 and its directories.
    pub(super) links: u32,
}
