//! Disk usage of what changed in a tree since a snapshot of it was taken.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::stack::DirStack;
use super::usage::{Counter, TreeUsage, is_gone};
use crate::error::{Result, SysError};
use crate::fs::{self, OFlags, Stat};

/// Measures those inodes of `dir` that `base` does not have in the same state.
///
/// `base` is an earlier snapshot of the same tree in which inodes kept their numbers (btrfs): an
/// inode is unchanged when `base` has it at the same path with the same change time, which every
/// write, link, rename and attribute change moves. `base` must not change meanwhile; what vanishes
/// from `dir` is not counted. Otherwise as [`usage`](super::usage()).
pub fn usage_since(
    dir: impl AsFd,
    base: impl AsFd,
    cancel: &mut dyn FnMut() -> bool,
) -> Result<TreeUsage> {
    let open = |dir: BorrowedFd<'_>| fs::open_at(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0);
    let mut walk = Walk {
        dir: DirStack::new(open(dir.as_fd())?),
        base: DirStack::new(open(base.as_fd())?),
        counter: Counter::new(cancel),
    };
    let root = fs::stat(walk.dir.top())?;
    if is_changed(&root, &fs::stat(walk.base.top())?) {
        walk.counter.add(&root);
    }
    let mut frames = vec![Frame { subdirs: walk.scan(true)?, in_base: true }];
    while let Some(frame) = frames.last_mut() {
        let Some(subdir) = frame.subdirs.pop() else {
            walk.leave(frame.in_base)?;
            frames.pop();
            continue;
        };
        match walk.enter(&subdir) {
            Ok(()) => {
                let subdirs = walk.scan(subdir.in_base)?;
                frames.push(Frame { subdirs, in_base: subdir.in_base });
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(walk.counter.total)
}

struct Walk<'a> {
    dir: DirStack,
    /// Where `dir` is, as far as the base has that directory.
    base: DirStack,
    counter: Counter<'a>,
}

struct Frame {
    subdirs: Vec<Subdir>,
    in_base: bool,
}

struct Subdir {
    name: OsString,
    /// The base has a directory of that name too.
    in_base: bool,
}

impl Walk<'_> {
    fn enter(&mut self, subdir: &Subdir) -> Result<()> {
        self.dir.push(&subdir.name)?;
        if subdir.in_base {
            // Not "gone": the base does not change, so any failure here is real.
            self.base.push(&subdir.name).map_err(|error| {
                SysError::new("openat", Errno::IO).on(&subdir.name).because(error.to_string())
            })?;
        }
        Ok(())
    }

    fn leave(&mut self, in_base: bool) -> Result<()> {
        self.dir.pop()?;
        if in_base {
            self.base.pop()?;
        }
        Ok(())
    }

    /// Counts what changed in the innermost directory and answers its subdirectories.
    fn scan(&mut self, in_base: bool) -> Result<Vec<Subdir>> {
        let (dir, base) = (self.dir.top(), in_base.then(|| self.base.top()));
        let mut subdirs = Vec::new();
        for entry in fs::read_dir(dir)? {
            self.counter.check_cancel()?;
            let entry = match entry {
                Err(error) if error.is_not_found() => break,
                entry => entry?,
            };
            let Some(stat) = present(fs::stat_at(dir, &entry.name))? else { continue };
            if stat.mount_root {
                continue;
            }
            let before = match base {
                Some(base) => present(fs::stat_at(base, &entry.name))?,
                None => None,
            };
            if before.as_ref().is_none_or(|before| is_changed(&stat, before)) {
                self.counter.add(&stat);
            }
            if stat.is_dir() {
                let in_base = before.is_some_and(|before| before.is_dir());
                subdirs.push(Subdir { name: entry.name, in_base });
            }
        }
        Ok(subdirs)
    }
}

fn present(stat: Result<Stat>) -> Result<Option<Stat>> {
    match stat {
        Err(error) if error.is_not_found() => Ok(None),
        stat => stat.map(Some),
    }
}

fn is_changed(now: &Stat, before: &Stat) -> bool {
    now.ino != before.ino || now.changed != before.changed
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Outcome;
    use crate::testing::TempDir;

    fn since(dir: &TempDir, base: &TempDir) -> TreeUsage {
        usage_since(dir.fd(), base.fd(), &mut || false).unwrap()
    }

    #[test]
    fn a_tree_has_nothing_that_it_does_not_have() {
        let temp = TempDir::new();
        temp.mkdir("a/b");
        temp.write("a/b/f", &[1; 9000]);
        symlink("f", temp.path().join("a/l")).unwrap();
        assert_eq!(since(&temp, &temp), TreeUsage::default());
    }

    #[test]
    fn everything_counts_once_against_a_base_without_it() {
        let (temp, base) = (TempDir::new(), TempDir::new());
        temp.mkdir("a/b");
        let file = temp.write("a/b/f", &[1; 9000]);
        std::fs::hard_link(file, temp.path().join("g")).unwrap();
        assert_eq!(since(&temp, &base), super::super::usage(temp.fd(), &mut || false).unwrap());
        // A base that has other inodes at the same paths, even another kind.
        base.mkdir("a/b/f");
        base.write("g", b"x");
        assert_eq!(since(&temp, &base).inodes, 4);
    }

    #[test]
    fn it_can_be_cancelled() {
        let temp = TempDir::new();
        temp.write("f", b"");
        let error = usage_since(temp.fd(), temp.fd(), &mut || true).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Cancelled);
    }

    #[test]
    fn deep_trees() {
        let temp = TempDir::new();
        let mut stack = DirStack::new(fs::open_dir(temp.path()).unwrap());
        for _ in 0..200 {
            fs::make_dir(stack.top(), "d", 0o700).unwrap();
            stack.push(OsStr::new("d")).unwrap();
        }
        fs::create_file(stack.top(), "f", 0o600).unwrap();
        assert_eq!(since(&temp, &temp), TreeUsage::default());
        assert_eq!(since(&temp, &TempDir::new()).inodes, 202);
    }
}
