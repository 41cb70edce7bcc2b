//! The directory a layer is laid in: how its parts are reached, replaced and dated.
//!
//! Owns the descriptors of the directories used last, by their clean paths. A path may lead
//! through links of the tree, so whenever a directory or a link goes, all of them are dropped.
//!
//! Owns the times of directories, too: making an entry changes its directory's time, so the times
//! that are to stay are remembered by inode and set in [`Tree::finish`].

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use lamina_core::{Error, Result};
use lamina_sys::fs::{self, FileKind, OFlags, Stat, Time, Times};
use lamina_sys::{Errno, Outcome, SysError, tree};

use super::error;
use super::header::Record;
use super::inherit::{copy_xattrs, model};
use super::name::split;
use super::options::{Owners, Target};
use super::plain::{Born, Plain};
use crate::snapshot::driver::Whiteouts;

/// Device and inode.
pub(super) type Identity = ((u32, u32), u64);

/// An open directory of the tree.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) id: Identity,
}

/// A target while a layer is laid in it.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) target: &'a Target,
    owners: Owners,
    top: Rc<Dir>,
    open: HashMap<Vec<u8>, Rc<Dir>>,
    dated: HashMap<Identity, Dated>,
    /// Paths where this layer hides what lies below.
    opaque: HashSet<Vec<u8>>,
    /// Entries of this layer, and directories some lie in or below. Kept only where deletions are
    /// carried out: an opaque marker that comes late spares them.
    laid: HashSet<u128>,
    /// Directories with whiteouts, by their paths without links.
    whiteouts: HashMap<Identity, PathBuf>,
    pub(super) laid_below: HashSet<Identity>,
    plain: Plain,
    hash: (RandomState, RandomState),
}

/// A directory's times to be.
#[derive(Debug)]
struct Dated {
    path: Vec<u8>,
    times: Times,
    /// It had to be made, and no tree below has it.
    implied: bool,
}

impl<'a> Tree<'a> {
    pub(super) fn new(target: &'a Target, owners: Owners) -> Result<Self> {
        let fd = fs::open_at(&target.root, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)
            .map_err(|cause| Error::internal("open the layer's root").with_source(cause))?;
        let stat = stat(&fd)?;
        let top = Rc::new(Dir { fd, id: stat.identity() });
        let mut tree = Tree {
            target,
            owners,
            top,
            open: HashMap::new(),
            dated: HashMap::new(),
            opaque: HashSet::new(),
            laid: HashSet::new(),
            whiteouts: HashMap::new(),
            laid_below: HashSet::new(),
            plain: Plain::new(),
            hash: (RandomState::new(), RandomState::new()),
        };
        tree.keep_times(b"", &stat);
        let bare = match fs::xattr::get(&tree.top.fd, DEFAULT_ACL) {
            Ok(acl) => acl.is_none(),
            Err(cause) => cause.outcome() == Outcome::NotSupported,
        };
        tree.plain.set(tree.top.id, bare, stat.mode, stat.gid);
        Ok(tree)
    }

    pub(super) fn overlay(&self) -> bool {
        self.target.whiteouts == Whiteouts::Overlay
    }

    /// The directory at a clean path, made with all that is missing on the way.
    pub(super) fn dir(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        // Paths of a layer may be a thousand directories deep: no recursion.
        let mut missing = Vec::new();
        let mut at = path;
        let mut dir = loop {
            if let Some(dir) = self.find(at)? {
                break dir;
            }
            missing.push(at.len());
            at = split(at).0;
        };
        while let Some(end) = missing.pop() {
            dir = self.make(&path[..end], &dir)?;
        }
        Ok(dir)
    }

    /// Has overlayfs show nothing from below in a directory.
    pub(super) fn set_opaque(&mut self, path: &[u8], dir: &Dir) -> Result<()> {
        // What is open only as a handle still takes attributes, by way of /proc.
        fs::xattr::set(&dir.fd, OPAQUE, b"y")
            .map_err(|cause| error::sys("mark a directory as opaque", cause))?;
        self.opaque.insert(path.to_vec());
        Ok(())
    }

    /// Notes that a directory has a whiteout.
    pub(super) fn note_whiteout(&mut self, dir: &Dir) -> Result<()> {
        if dir.id == self.top.id || self.whiteouts.contains_key(&dir.id) {
            return Ok(());
        }
        let place = |fd: &OwnedFd| {
            std::fs::read_link(fs::fd_path(fd))
                .map_err(|cause| Error::internal("find a directory's path").with_source(cause))
        };
        let (top, at) = (place(&self.top.fd)?, place(&dir.fd)?);
        // What cannot be named is left as it is.
        if let Ok(path) = at.strip_prefix(&top) {
            self.whiteouts.insert(dir.id, path.to_path_buf());
        }
        Ok(())
    }

    /// The directories with whiteouts, by path.
    pub(super) fn whiteouts(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.whiteouts.values().cloned().collect();
        paths.sort();
        paths
    }

    /// Makes room for an entry; answers what was there.
    pub(super) fn clear(&mut self, dir: &Dir, name: &OsStr) -> Result<Option<Stat>> {
        let stat = match fs::stat_at(&dir.fd, name) {
            Ok(stat) => stat,
            Err(cause) if cause.is_not_found() => return Ok(None),
            Err(cause) => return Err(error::sys("look at what it replaces", cause)),
        };
        if matches!(stat.kind, FileKind::Dir | FileKind::Symlink) {
            self.open.clear();
            self.dated.remove(&stat.identity());
            self.laid_below.remove(&stat.identity());
        }
        let removed = match stat.kind {
            FileKind::Dir => tree::remove_tree(&dir.fd, name).map(drop),
            _ => fs::remove_file(&dir.fd, name),
        };
        removed.map_err(|cause| error::sys("remove what it replaces", cause))?;
        Ok(Some(stat))
    }

    /// Opens the directory `dir/name` that an entry made or met, as the one at `path`.
    pub(super) fn enter(&mut self, path: &[u8], dir: &Dir, name: &OsStr) -> Result<Rc<Dir>> {
        let fd = fs::open_dir_at(&dir.fd, name)
            .map_err(|cause| error::sys("open the directory", cause))?;
        let stat = stat(&fd)?;
        if dir.id == self.top.id || self.laid_below.contains(&dir.id) {
            // What it lies in was marked already.
            self.laid_below.insert(stat.identity());
        }
        self.remember(path, fd, &stat)
    }

    /// How an entry of that record comes out when it is made in `dir` with its final mode.
    pub(super) fn born(&self, dir: &Dir, record: &Record) -> Born {
        self.plain.born(dir.id, record, self.owners)
    }

    /// Notes what an entry of the layer made of the directory `made`, which lies in `dir`.
    pub(super) fn note_dir(&mut self, made: &Dir, dir: &Dir, record: &Record, fresh: bool) {
        // One that was there goes on as it was at best.
        let before = if fresh { dir.id } else { made.id };
        let bare = record.xattrs.is_empty() && self.plain.has(before);
        let gid = if self.owners == Owners::Layer { record.gid } else { self.plain.gid() };
        self.plain.set(made.id, bare, record.mode, gid);
    }

    /// Has a directory's times set at the end.
    pub(super) fn date(&mut self, path: &[u8], id: Identity, times: Times) {
        self.dated.insert(id, Dated { path: path.to_vec(), times, implied: false });
    }

    /// Marks an entry as this layer's.
    pub(super) fn mark(&mut self, dir: &Dir, name: &OsStr) {
        if !self.overlay() {
            let key = self.key(dir.id, name);
            self.laid.insert(key);
        }
    }

    /// Whether an entry is this layer's.
    pub(super) fn is_marked(&self, dir: Identity, name: &OsStr) -> bool {
        self.laid.contains(&self.key(dir, name))
    }

    /// Forgets every open directory, because some were removed.
    pub(super) fn forget_open(&mut self) {
        self.open.clear();
    }

    /// Sets the times of directories; answers those that were implied and had no model below.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>> {
        let mut dated: Vec<(Identity, Dated)> = self.dated.drain().collect();
        dated.sort_by(|(_, one), (_, other)| one.path.cmp(&other.path));
        let mut implied = Vec::new();
        for (id, Dated { path, times, implied: is_implied }) in dated {
            let name = OsStr::from_bytes(if path.is_empty() { b"." } else { &path });
            // The path may lead through links; the inode says whether it is still the one meant.
            let fd = match self.target.root.open_file(name, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(fd) => fd,
                // Gone or something else by now.
                Err(cause) if is_other(&cause) => continue,
                Err(cause) => {
                    return Err(error::at(
                        name.as_ref(),
                        error::sys("open it for its times", cause),
                    ));
                }
            };
            if stat(&fd)?.identity() != id {
                continue;
            }
            fs::set_times(&fd, &times)
                .map_err(|cause| error::at(name.as_ref(), error::sys("set its times", cause)))?;
            if is_implied {
                implied.push(PathBuf::from(name));
            }
        }
        Ok(implied)
    }

    /// The directory at a clean path, if it is there.
    fn find(&mut self, path: &[u8]) -> Result<Option<Rc<Dir>>> {
        if path.is_empty() {
            return Ok(Some(Rc::clone(&self.top)));
        }
        if let Some(dir) = self.open.get(path) {
            return Ok(Some(Rc::clone(dir)));
        }
        match self.target.root.open_file(OsStr::from_bytes(path), OFlags::PATH | OFlags::DIRECTORY)
        {
            Ok(fd) => {
                let stat = stat(&fd)?;
                self.keep_times(path, &stat);
                self.remember(path, fd, &stat).map(Some)
            }
            Err(cause) if cause.is_not_found() => Ok(None),
            // Perhaps a whiteout of this layer.
            Err(cause) if cause.outcome() == Outcome::NotADirectory && self.overlay() => Ok(None),
            Err(cause) => Err(error::sys(PARENT, cause)),
        }
    }

    /// Makes the directory at `path`, whose parent is `dir`, because it is missing.
    fn make(&mut self, path: &[u8], dir: &Dir) -> Result<Rc<Dir>> {
        let name = split(path).1;
        let make = || fs::make_dir(&dir.fd, name, 0o700);
        match make() {
            Ok(()) => return self.make_up(path, dir, name),
            Err(cause) if cause.is_exists() => {}
            Err(cause) => return Err(error::sys(PARENT, cause)),
        }
        let found = fs::stat_at(&dir.fd, name).map_err(|cause| error::sys(PARENT, cause))?;
        match found.kind {
            FileKind::Symlink => self.make_behind_link(path),
            FileKind::CharDevice if self.overlay() && found.rdev == (0, 0) => {
                // This layer's whiteout: the directory is there, with nothing from below.
                self.clear(dir, name)?;
                make().map_err(|cause| error::sys(PARENT, cause))?;
                self.opaque.insert(path.to_vec());
                let made = self.make_up(path, dir, name)?;
                self.set_opaque(path, &made)?;
                Ok(made)
            }
            _ => Err(error::sys(PARENT, SysError::new("openat2", Errno::NOTDIR).on(name))),
        }
    }

    /// Makes the place inside the root that a link leads to.
    fn make_behind_link(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        let made = self.target.root.make_dirs(OsStr::from_bytes(path), 0o755);
        let made = made.map_err(|cause| error::sys(PARENT, cause))?;
        for path in &made.created {
            let path = path.as_os_str().as_bytes();
            let (up, name) = split(path);
            // It is there, so this goes no deeper.
            let dir = self.dir(up)?;
            self.make_up(path, &dir, name)?;
        }
        let stat = stat(&made.dir)?;
        self.remember(path, made.dir, &stat)
    }

    /// Gives a directory that was made because it was missing the attributes it has below.
    fn make_up(&mut self, path: &[u8], dir: &Dir, name: &OsStr) -> Result<Rc<Dir>> {
        self.mark(dir, name);
        let made = self.enter(path, dir, name)?;
        let model = self.model(path)?;
        let mode = model.as_ref().map_or(0o755, |(_, stat)| stat.mode);
        // Without a model root's, also where a setgid directory above would give its group.
        let (uid, gid) = model.as_ref().map_or((0, 0), |(_, stat)| (stat.uid, stat.gid));
        // A model may have attributes that what is made in it gets as well.
        let bare = model.is_none() && self.plain.has(dir.id);
        let group = if self.owners == Owners::Layer { gid } else { self.plain.gid() };
        self.plain.set(made.id, bare, mode, group);
        if self.owners == Owners::Layer {
            fs::set_owner(&made.fd, uid, gid)
                .map_err(|cause| error::sys("set the owner of a directory above it", cause))?;
        }
        if let Some((below, _)) = &model {
            copy_xattrs(below, &made.fd)
                .map_err(|cause| error::sys("set xattrs of a directory above it", cause))?;
        }
        fs::set_mode(&made.fd, mode)
            .map_err(|cause| error::sys("set the mode of a directory above it", cause))?;
        // Without a model there is no true time; this one is the same wherever the layer is laid.
        let epoch = Times { accessed: Some(Time::default()), modified: Some(Time::default()) };
        let times = model.as_ref().map_or(epoch, |(_, stat)| stat.times());
        let implied = model.is_none() && !self.is_hidden(path);
        let dated = Dated { path: path.to_vec(), times, implied };
        self.dated.insert(made.id, dated);
        Ok(made)
    }

    /// The directory of that path in the first tree below that has it.
    fn model(&self, path: &[u8]) -> Result<Option<(OwnedFd, Stat)>> {
        if self.is_hidden(path) {
            return Ok(None);
        }
        model(&self.target.lowers, path)
    }

    /// Whether an opaque directory lies on the way to a path.
    pub(super) fn is_hidden(&self, path: &[u8]) -> bool {
        if self.opaque.is_empty() {
            return false;
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut ends = slashes.map(|(at, _)| at).chain([0, path.len()]);
        ends.any(|end| self.opaque.contains(&path[..end]))
    }

    fn remember(&mut self, path: &[u8], fd: OwnedFd, stat: &Stat) -> Result<Rc<Dir>> {
        let dir = Rc::new(Dir { fd, id: stat.identity() });
        if !self.overlay() && !self.laid_below.contains(&dir.id) {
            self.mark_way(&dir)?;
        }
        if self.open.len() >= OPEN_MOST {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), Rc::clone(&dir));
        Ok(dir)
    }

    /// Marks a directory and those it lies in as holding entries of this layer.
    fn mark_way(&mut self, dir: &Rc<Dir>) -> Result<()> {
        let mut at = Rc::clone(dir);
        while at.id != self.top.id && self.laid_below.insert(at.id) {
            let fd = fs::open_at(&at.fd, "..", OFlags::PATH | OFlags::DIRECTORY, 0)
                .map_err(|cause| error::sys("find the directory above", cause))?;
            let id = stat(&fd)?.identity();
            if id == at.id {
                break;
            }
            at = Rc::new(Dir { fd, id });
        }
        Ok(())
    }

    /// A directory that was there keeps its times, unless an entry speaks of it.
    pub(super) fn keep_times(&mut self, path: &[u8], stat: &Stat) {
        self.dated.entry(stat.identity()).or_insert_with(|| Dated {
            path: path.to_vec(),
            times: stat.times(),
            implied: false,
        });
    }

    /// 128 bits with keys nobody outside knows stand for a path: 16 bytes instead of a hundred.
    fn key(&self, dir: Identity, name: &OsStr) -> u128 {
        let entry = (dir, name);
        let (one, other) = (self.hash.0.hash_one(entry), self.hash.1.hash_one(entry));
        (u128::from(one) << 64) | u128::from(other)
    }
}

pub(super) fn stat(fd: &OwnedFd) -> Result<Stat> {
    fs::stat(fd).map_err(|cause| error::sys("look at a directory", cause))
}

/// Whether a path that was asked for as a directory is none.
pub(super) fn is_other(cause: &SysError) -> bool {
    matches!(cause.outcome(), Outcome::NotFound | Outcome::NotADirectory | Outcome::SymlinkLoop)
}

/// Decides the modes of what is made in a directory.
const DEFAULT_ACL: &str = "system.posix_acl_default";
/// The attribute by which overlayfs knows a directory that hides what lies below.
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";
/// What was being done when the way to an entry could not be gone.
const PARENT: &str = "open the directory it lies in";
/// More open directories than one branch of a tree is deep, far fewer than a process may have.
const OPEN_MOST: usize = 64;
