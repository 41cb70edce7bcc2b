//! A full copy of a tree.
//!
//! Kept: kinds, content with holes, hard links inside the tree, owners, modes, xattrs, access and
//! modification times. The order per inode is data, owner, xattrs, mode, times, because each one
//! may reset what comes after it; a directory gets its own after its children.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::data::{DataCopier, check_cancel};
use super::stack::DirStack;
use crate::error::{Result, SysError};
use crate::fs::{self, FileKind, OFlags, Stat, xattr};

/// What an xattr that cannot be read or written means. Many `security.*` cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrErrors {
    /// Count it and go on.
    Ignore,
    /// Fail the copy.
    Fail,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Inodes made, the root (which was there) not among them.
    pub inodes: u64,
    /// Bytes of regular files, holes included.
    pub bytes: u64,
    /// Attributes left out under [`XattrErrors::Ignore`].
    pub xattrs_skipped: u64,
}

/// Copies everything below `src`, and the attributes of `src` itself, to the empty directory
/// `dst`. A mount point inside `src` is an error (`EXDEV`). `cancel` is asked at every entry and
/// every 64 MiB; `true` ends with `ECANCELED`. After an error `dst` holds a part.
pub fn copy_tree(
    src: impl AsFd,
    dst: impl AsFd,
    xattr_errors: XattrErrors,
    cancel: &mut dyn FnMut() -> bool,
) -> Result<Copied> {
    let open = |dir: BorrowedFd<'_>| fs::open_at(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0);
    let (src, dst) = (src.as_fd(), dst.as_fd());
    let mut copier = Copier {
        dst_root: open(dst)?,
        src: DirStack::new(open(src)?),
        dst: DirStack::new(open(dst)?),
        path: Vec::new(),
        linked: HashMap::new(),
        data: DataCopier::new(),
        xattr_errors,
        cancel,
        done: Copied::default(),
    };
    copier.run()?;
    Ok(copier.done)
}

struct Copier<'a> {
    dst_root: OwnedFd,
    src: DirStack,
    dst: DirStack,
    /// From the root to the innermost directory.
    path: Vec<OsString>,
    /// Where the first name of an inode with several was made, and how many are still to come.
    linked: HashMap<((u32, u32), u64), FirstName>,
    data: DataCopier,
    xattr_errors: XattrErrors,
    cancel: &'a mut dyn FnMut() -> bool,
    done: Copied,
}

struct FirstName {
    dir: Vec<OsString>,
    name: OsString,
    left: u32,
}

/// A directory whose children are being copied.
struct Frame {
    stat: Stat,
    subdirs: Vec<(OsString, Stat)>,
}

impl Copier<'_> {
    fn run(&mut self) -> Result<()> {
        let stat = fs::stat(self.src.top())?;
        let mut frames = vec![Frame { stat, subdirs: self.copy_entries()? }];
        while let Some(frame) = frames.last_mut() {
            if let Some((name, stat)) = frame.subdirs.pop() {
                self.src.push(&name)?;
                self.dst.push(&name)?;
                self.path.push(name);
                frames.push(Frame { stat, subdirs: self.copy_entries()? });
                continue;
            }
            let stat = frame.stat;
            frames.pop();
            self.done.xattrs_skipped +=
                apply(self.xattr_errors, self.src.top(), self.dst.top(), &stat)?;
            self.src.pop()?;
            self.dst.pop()?;
            self.path.pop();
        }
        Ok(())
    }

    /// Copies the entries of the innermost directory but not what lies below them.
    fn copy_entries(&mut self) -> Result<Vec<(OsString, Stat)>> {
        let mut subdirs = Vec::new();
        for entry in fs::read_dir(self.src.top())? {
            check_cancel(self.cancel)?;
            let name = entry?.name;
            let stat = fs::stat_at(self.src.top(), &name)?;
            if stat.is_dir() {
                // Nobody else gets in before it has its own mode.
                fs::make_dir(self.dst.top(), &name, 0o700)?;
                self.done.inodes += 1;
                subdirs.push((name, stat));
            } else if !self.link_again(&name, &stat)? {
                self.copy_leaf(&name, &stat)?;
                self.done.inodes += 1;
            }
        }
        Ok(subdirs)
    }

    /// Makes a further name of an inode that is already copied; `false` if this is its first.
    fn link_again(&mut self, name: &OsStr, stat: &Stat) -> Result<bool> {
        if stat.nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.linked.get_mut(&stat.identity()) else {
            let first =
                FirstName { dir: self.path.clone(), name: name.to_owned(), left: stat.nlink - 1 };
            self.linked.insert(stat.identity(), first);
            return Ok(false);
        };
        if first.dir == self.path {
            fs::link(self.dst.top(), &first.name, self.dst.top(), name)?;
        } else {
            let dir = open_deep(&self.dst_root, &first.dir)?;
            fs::link(&dir, &first.name, self.dst.top(), name)?;
        }
        first.left = first.left.saturating_sub(1);
        if first.left == 0 {
            self.linked.remove(&stat.identity());
        }
        Ok(true)
    }

    fn copy_leaf(&mut self, name: &OsStr, stat: &Stat) -> Result<()> {
        let (from, to) = (self.src.top(), self.dst.top());
        let (src, dst) = match stat.kind {
            FileKind::File => {
                // Nonblocking: if it has become a fifo, do not wait for a writer.
                let src = fs::open_at(from, name, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
                let dst = fs::create_file(to, name, 0o600)?;
                self.data.copy(src.as_fd(), dst.as_fd(), stat.size, self.cancel)?;
                self.done.bytes = self.done.bytes.saturating_add(stat.size);
                (src, dst)
            }
            kind => {
                if kind == FileKind::Symlink {
                    fs::make_symlink(fs::read_link(from, name)?, to, name)?;
                } else {
                    fs::make_node(to, name, kind, 0o600, stat.rdev)?;
                }
                (fs::open_handle_at(from, name)?, fs::open_handle_at(to, name)?)
            }
        };
        self.done.xattrs_skipped += apply(self.xattr_errors, src.as_fd(), dst.as_fd(), stat)?;
        Ok(())
    }
}

/// Gives a copy the attributes of its original; how many xattrs were left out.
fn apply(
    xattr_errors: XattrErrors,
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    stat: &Stat,
) -> Result<u64> {
    match fs::set_owner(dst, stat.uid, stat.gid) {
        // Not root: fine as long as there is nothing to change.
        Err(error) if error.errno() == Errno::PERM && same_owner(dst, stat)? => {}
        result => result?,
    }
    let skipped = copy_xattrs(xattr_errors, src, dst)?;
    if stat.kind != FileKind::Symlink {
        fs::set_mode(dst, stat.mode)?;
    }
    fs::set_times(dst, &stat.times())?;
    Ok(skipped)
}

fn same_owner(fd: BorrowedFd<'_>, stat: &Stat) -> Result<bool> {
    let found = fs::stat(fd)?;
    Ok((found.uid, found.gid) == (stat.uid, stat.gid))
}

fn copy_xattrs(errors: XattrErrors, src: BorrowedFd<'_>, dst: BorrowedFd<'_>) -> Result<u64> {
    let tolerate = |error: SysError| match errors {
        XattrErrors::Ignore => Ok(1),
        XattrErrors::Fail => Err(error),
    };
    let names = match xattr::list(src) {
        Ok(names) => names,
        Err(error) => return tolerate(error),
    };
    let mut skipped = 0;
    for name in names {
        let copied = match xattr::get(src, &name) {
            Ok(Some(value)) => xattr::set(dst, &name, &value),
            // Removed since it was listed.
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        skipped += match copied {
            Ok(()) => 0,
            Err(error) => tolerate(error)?,
        };
    }
    Ok(skipped)
}

/// A handle of a directory however deep: in steps, as one path may be longer than `PATH_MAX`.
fn open_deep(root: &OwnedFd, path: &[OsString]) -> Result<OwnedFd> {
    // 15 names of at most 255 bytes and their slashes stay below 4096.
    let mut dir = fs::open_same_mount(root, ".", OFlags::PATH | OFlags::DIRECTORY)?;
    for names in path.chunks(15) {
        let part = names.join(OsStr::new("/"));
        dir = fs::open_same_mount(&dir, part, OFlags::PATH | OFlags::DIRECTORY)?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests;
