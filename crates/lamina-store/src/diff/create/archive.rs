//! Changes, one after the other, become entries of the archive.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use lamina_core::{Error, Result};
use lamina_sys::fs::{self, FileKind, OFlags, Stat};

use super::header::{Header, Type, padding};
use super::same::Entry;
use super::{CreateOptions, content, error};
use crate::diff::encode::Blocks;

/// What tells an inode from every other.
type Inode = ((u32, u32), u64);

/// The archive so far.
pub(super) struct Archive<'a, 'b> {
    /// The upper tree's root.
    root: OwnedFd,
    out: &'a mut Blocks<'b>,
    options: &'a CreateOptions<'a>,
    /// Directories that are in it, without the slash.
    dirs: HashSet<Vec<u8>>,
    /// By which name files that have several are in it.
    files: HashMap<Inode, Vec<u8>>,
    /// Names that did not change, of files that are not in it yet.
    unchanged: HashMap<Inode, Vec<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl<'a, 'b> Archive<'a, 'b> {
    /// An empty archive of what lies below `root`.
    pub(super) fn new(
        root: &OwnedFd,
        out: &'a mut Blocks<'b>,
        options: &'a CreateOptions<'a>,
    ) -> Result<Self> {
        let root = fs::open_at(root, ".", OFlags::PATH | OFlags::DIRECTORY, 0);
        Ok(Archive {
            root: root.map_err(|cause| error::sys("open the tree", cause))?,
            out,
            options,
            dirs: HashSet::new(),
            files: HashMap::new(),
            unchanged: HashMap::new(),
            buffer: Vec::new(),
        })
    }

    /// The lower tree's entry of that path went.
    pub(super) fn deleted(&mut self, path: &[u8]) -> Result<()> {
        self.options.steps.reach("diff.create.entry")?;
        let (dir, name) = split(path);
        check_name(name)?;
        self.parents(path)?;
        let header = Header {
            kind: Type::File,
            path: [dir, WHITEOUT, name].concat().into(),
            target: Cow::default(),
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            modified: 0,
            device: (0, 0),
            capability: None,
        };
        self.put(&header)
    }

    /// The entry is as it was. If it is a name of a file that the archive has, or will have, it is one
    /// there, too: a layer replaces the file, not what it holds.
    pub(super) fn unchanged(&mut self, path: &[u8], entry: &Entry<'_>) -> Result<()> {
        let stat = entry.stat;
        if stat.is_dir() || stat.nlink < 2 || stat.kind == FileKind::Socket {
            return Ok(());
        }
        if self.files.contains_key(&stat.identity()) {
            return self.changed(path, entry);
        }
        self.unchanged.entry(stat.identity()).or_default().push(path.to_vec());
        Ok(())
    }

    /// The entry is new, or another than it was.
    pub(super) fn changed(&mut self, path: &[u8], entry: &Entry<'_>) -> Result<()> {
        let stat = entry.stat;
        // A layer cannot hold one, and nothing answers at one that nobody listens to.
        if stat.kind == FileKind::Socket {
            return Ok(());
        }
        self.options.steps.reach("diff.create.entry")?;
        check_name(split(path).1)?;
        if path.len() > PATH_MOST {
            return Err(Error::invalid_argument(format!(
                "its path has {} bytes, and a layer can hold paths of {PATH_MOST}",
                path.len()
            )));
        }
        let capability = entry.capability()?;
        let mut header = self.header(path, stat, capability.as_deref())?;
        if header.kind == Type::Symlink {
            header.target = entry.target()?.into();
        }
        let mut others = Vec::new();
        if !stat.is_dir() && stat.nlink > 1 {
            if let Some(first) = self.files.get(&stat.identity()) {
                header.kind = Type::Link;
                header.target = first.clone().into();
                header.size = 0;
            } else {
                self.files.insert(stat.identity(), path.to_vec());
                others = self.unchanged.remove(&stat.identity()).unwrap_or_default();
            }
        }
        self.parents(path)?;
        match header.kind {
            Type::File => self.file(&header, entry)?,
            Type::Dir => {
                self.dirs.insert(path.to_vec());
                self.put(&header)?;
            }
            _ => self.put(&header)?,
        }
        header.kind = Type::Link;
        header.size = 0;
        header.target = path.into();
        for other in others {
            self.parents(&other)?;
            header.path = other.into();
            self.put(&header)?;
        }
        Ok(())
    }

    /// Two blocks of zeros.
    pub(super) fn finish(self) -> Result<()> {
        self.options.steps.reach("diff.create.end")?;
        self.out.write(&[0; 1024])
    }

    /// Puts the directories there in which an entry lies, outermost first.
    fn parents(&mut self, path: &[u8]) -> Result<()> {
        let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        // With a directory come those that it lies in.
        let missing =
            slashes.map(|(end, _)| end).take_while(|end| !self.dirs.contains(&path[..*end]));
        let missing: Vec<usize> = missing.collect();
        for end in missing.into_iter().rev() {
            let dir = &path[..end];
            let (up, name) = split(dir);
            let up = self.open(up)?;
            let stat = fs::stat_at(&up, OsStr::from_bytes(name))
                .map_err(|cause| error::sys("look at a directory above it", cause))?;
            if !stat.is_dir() {
                return Err(error::changed());
            }
            self.changed_dir(dir, up.as_fd(), OsStr::from_bytes(name), &stat)?;
        }
        Ok(())
    }

    fn changed_dir(
        &mut self,
        path: &[u8],
        dir: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
    ) -> Result<()> {
        check_name(name.as_bytes())?;
        let capability = Entry { dir, name, stat }.capability()?;
        let header = self.header(path, stat, capability.as_deref())?;
        self.dirs.insert(path.to_vec());
        self.put(&header)
    }

    /// A directory of the upper tree, by a path that ends in `/` or is empty.
    fn open(&self, path: &[u8]) -> Result<OwnedFd> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        fs::open_same_mount(&self.root, OsStr::from_bytes(path), flags)
            .map_err(|cause| error::sys("open a directory above it", cause))
    }

    fn header<'h>(
        &self,
        path: &'h [u8],
        stat: &Stat,
        capability: Option<&'h [u8]>,
    ) -> Result<Header<'h>> {
        let kind = match stat.kind {
            FileKind::File => Type::File,
            FileKind::Dir => Type::Dir,
            FileKind::Symlink => Type::Symlink,
            FileKind::CharDevice => Type::Char,
            FileKind::BlockDevice => Type::Block,
            FileKind::Fifo => Type::Fifo,
            FileKind::Socket | FileKind::Unknown => {
                return Err(Error::invalid_argument("a layer cannot hold what it is"));
            }
        };
        let path = if kind == Type::Dir { [path, b"/"].concat().into() } else { path.into() };
        let modified = stat.modified.sec;
        Ok(Header {
            kind,
            path,
            target: Cow::default(),
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: if kind == Type::File { stat.size } else { 0 },
            modified: self.options.latest.map_or(modified, |latest| modified.min(latest)),
            device: stat.rdev,
            capability,
        })
    }

    fn file(&mut self, header: &Header<'_>, entry: &Entry<'_>) -> Result<()> {
        if header.size == 0 {
            return self.put(header);
        }
        let file = content::open(entry.dir, entry.name, entry.stat)?;
        self.put(header)?;
        let options = self.options;
        let read =
            self.out.copy(&file, header.size, &mut || options.check_cancelled(), &error::read)?;
        if read < header.size {
            return Err(error::changed());
        }
        content::check_unchanged(&file, entry.stat)?;
        self.out.write(&[0; super::header::BLOCK][..padding(header.size)])
    }

    fn put(&mut self, header: &Header<'_>) -> Result<()> {
        self.buffer.clear();
        header.encode(&mut self.buffer);
        self.out.write(&self.buffer)
    }
}

/// Directory, with its slash, and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let cut = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    path.split_at(cut)
}

/// Refuses a name that every reader of the layer would take for a deletion.
fn check_name(name: &[u8]) -> Result<()> {
    if !name.starts_with(WHITEOUT) {
        return Ok(());
    }
    Err(Error::invalid_argument(
        "a name that begins with \".wh.\" stands for a deletion in a layer, so that a layer cannot \
         hold it",
    ))
}

/// What the names of deletions begin with (OCI image spec, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// What Linux takes, and so what a layer can be laid with.
const PATH_MOST: usize = 4095;
