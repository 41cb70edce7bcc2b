//! A directory as an image: what clients wrote into the upper directory of an active.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use lamina_sys::fs::{self, FileKind, OFlags, Stat};

use super::tree::{Meta, Node};
use super::writer::{Made, Placed, Writer};

/// What overlayfs notes for itself in the trees it writes. Holds for one mount only.
const NOTES: [&[u8]; 4] = [
    b"trusted.overlay.origin",
    b"trusted.overlay.impure",
    b"trusted.overlay.nlink",
    b"trusted.overlay.uuid",
];

/// How overlayfs marks a directory through which nothing below shows.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// What becomes of overlayfs's marks for what is deleted below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletions {
    /// They are in the image.
    Kept,
    /// They are not: nothing is or will be below.
    LeftOut,
}

/// Where in the image the data of files is, by device and inode: such files are not read.
pub type Places = HashMap<((u32, u32), u64), Placed>;

/// A tree that is being read.
struct Walk<'a> {
    root: &'a OwnedFd,
    writer: Writer,
    /// Inodes that have further names.
    links: HashMap<((u32, u32), u64), Made>,
    buffer: Vec<u8>,
    deletions: Deletions,
    places: &'a Places,
}

/// Writes the tree below `root` into an image, behind what data it has. Names are taken in their order,
/// so the same tree gives the same bytes. Nobody may change the tree meanwhile.
pub fn image_of(
    root: &OwnedFd,
    mut writer: Writer,
    places: &Places,
    deletions: Deletions,
    uuid: [u8; 16],
) -> io::Result<File> {
    let xattrs = values(fs::xattr::list(root)?, deletions, |name| fs::xattr::get(root, name))?;
    let top = writer.root();
    *writer.meta(top) = meta(&fs::stat(root)?, xattrs);
    let buffer = vec![0; 256 << 10];
    let mut walk = Walk { root, writer, links: HashMap::new(), buffer, deletions, places };
    // Trees may be deeper than descriptors are allowed: each directory is found again by its path.
    let mut todo = vec![(Vec::new(), top)];
    while let Some((path, made)) = todo.pop() {
        let subs = walk.directory(&path, made)?;
        todo.extend(subs.into_iter().rev().map(|(name, made)| {
            let mut path = path.clone();
            path.push(name);
            (path, made)
        }));
    }
    walk.writer.finish(uuid)
}

impl Walk<'_> {
    fn open(&self, path: &[OsString]) -> io::Result<OwnedFd> {
        let mut dir = fs::open_dir_at(self.root, ".")?;
        for name in path {
            dir = fs::open_dir_at(&dir, name)?;
        }
        Ok(dir)
    }

    /// Writes what a directory holds; says which of it are directories.
    fn directory(&mut self, path: &[OsString], made: Made) -> io::Result<Vec<(OsString, Made)>> {
        let dir = self.open(path)?;
        let names: Result<Vec<_>, _> =
            fs::read_dir(&dir)?.map(|entry| entry.map(|e| e.name)).collect();
        let mut names = names?;
        names.sort();
        let mut subs = Vec::new();
        for name in names {
            let stat = fs::stat_at(&dir, &name)?;
            let whiteout = stat.kind == FileKind::CharDevice && stat.rdev == (0, 0);
            if whiteout && self.deletions == Deletions::LeftOut {
                continue;
            }
            if let Some(&first) = self.links.get(&stat.identity()) {
                self.writer.link(made, name.as_bytes(), first)?;
                continue;
            }
            let entry = self.entry(&dir, &name, &stat, made)?;
            if stat.is_dir() {
                subs.push((name, entry));
            } else if stat.nlink > 1 {
                self.links.insert(stat.identity(), entry);
            }
        }
        Ok(subs)
    }

    fn entry(&mut self, dir: &OwnedFd, name: &OsStr, stat: &Stat, into: Made) -> io::Result<Made> {
        let names = fs::xattr::list_at(dir, name)?;
        let get = |xattr: &OsStr| fs::xattr::get_at(dir, name, xattr);
        let xattrs = values(names, self.deletions, get)?;
        let meta = meta(stat, xattrs);
        let node = match stat.kind {
            FileKind::File => {
                return match self.places.get(&stat.identity()) {
                    Some(placed) => self.writer.place(into, name.as_bytes(), meta, *placed),
                    None => self.file(dir, name, stat.size, meta, into),
                };
            }
            FileKind::Dir => Node::Dir,
            FileKind::Symlink => Node::Symlink(fs::read_link(dir, name)?.into_vec()),
            FileKind::CharDevice => Node::Char(stat.rdev.0, stat.rdev.1),
            FileKind::BlockDevice => Node::Block(stat.rdev.0, stat.rdev.1),
            FileKind::Fifo => Node::Fifo,
            FileKind::Socket => Node::Socket,
            FileKind::Unknown => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.writer.make(into, name.as_bytes(), node, meta)
    }

    fn file(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        size: u64,
        meta: Meta,
        into: Made,
    ) -> io::Result<Made> {
        let made = self.writer.file(into, name.as_bytes(), meta)?;
        let mut file = File::from(fs::open_at(dir, name, OFlags::RDONLY, 0)?);
        let mut at = 0;
        while at < size {
            let data = fs::next_data(&file, at)?.unwrap_or(size).min(size);
            self.writer.skip(data - at)?;
            if data == size {
                break;
            }
            let end = fs::next_hole(&file, data)?.min(size);
            file.seek(SeekFrom::Start(data))?;
            at = data;
            while at < end {
                let want = self.buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let part = &mut self.buffer[..want];
                file.read_exact(part)?;
                self.writer.append(part)?;
                at += want as u64;
            }
        }
        Ok(made)
    }
}

/// The attributes that belong to the tree. Those of the file system beneath, like compression, stay.
fn values(
    names: Vec<OsString>,
    deletions: Deletions,
    get: impl Fn(&OsStr) -> lamina_sys::Result<Option<Vec<u8>>>,
) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    const KEPT: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system.posix_acl_"];
    let mut all = Vec::new();
    for name in names {
        let bytes = name.as_bytes();
        if NOTES.contains(&bytes) || !KEPT.iter().any(|prefix| bytes.starts_with(prefix)) {
            continue;
        }
        if bytes == OPAQUE && deletions == Deletions::LeftOut {
            continue;
        }
        if let Some(value) = get(&name)? {
            all.push((name.into_vec(), value));
        }
    }
    Ok(all)
}

fn meta(stat: &Stat, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Meta {
    Meta {
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        mtime: (stat.modified.sec, stat.modified.nsec),
        xattrs: xattrs.into_iter().collect(),
    }
}
