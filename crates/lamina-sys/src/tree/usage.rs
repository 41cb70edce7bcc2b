//! Disk usage of a tree.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::stack::DirStack;
use crate::Outcome;
use crate::error::{Result, SysError};
use crate::fs::{self, OFlags, Stat};

/// What a tree takes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeUsage {
    /// Allocated bytes: the sum of `st_blocks` times 512.
    pub size: u64,
    /// Distinct inodes, the root among them.
    pub inodes: u64,
}

/// Measures the tree below a directory, itself included. Each inode counts once, however many
/// links it has. Works while the tree is in use: what vanishes meanwhile is not counted; only a
/// directory moved away from more than 60 levels deep is an error (`ESTALE`). Mount points are
/// left out. `cancel` is asked at every entry; `true` ends with `ECANCELED`.
pub fn usage(dir: impl AsFd, cancel: &mut dyn FnMut() -> bool) -> Result<TreeUsage> {
    let root = fs::open_at(dir.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut counter = Counter::new(cancel);
    counter.add(&fs::stat(&root)?);
    let mut stack = DirStack::new(root);
    let mut pending = vec![counter.scan(stack.top())?];
    while let Some(subdirs) = pending.last_mut() {
        let Some(name) = subdirs.pop() else {
            pending.pop();
            stack.pop()?;
            continue;
        };
        match stack.push(&name) {
            Ok(()) => pending.push(counter.scan(stack.top())?),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(counter.total)
}

/// Measures `dir/name`, which may be a directory, a file or a link (itself).
pub fn usage_at(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    cancel: &mut dyn FnMut() -> bool,
) -> Result<TreeUsage> {
    let name = name.as_ref();
    let stat = fs::stat_at(dir.as_fd(), name)?;
    if stat.is_dir() {
        return usage(fs::open_dir_at(dir, name)?, cancel);
    }
    Ok(TreeUsage { size: stat.blocks.saturating_mul(512), inodes: 1 })
}

/// Adds inodes up, each once.
pub(super) struct Counter<'a> {
    pub(super) total: TreeUsage,
    /// Only what has several links can be met twice.
    linked: HashSet<((u32, u32), u64)>,
    cancel: &'a mut dyn FnMut() -> bool,
}

impl<'a> Counter<'a> {
    pub(super) fn new(cancel: &'a mut dyn FnMut() -> bool) -> Counter<'a> {
        Counter { total: TreeUsage::default(), linked: HashSet::new(), cancel }
    }

    pub(super) fn check_cancel(&mut self) -> Result<()> {
        if (self.cancel)() {
            return Err(SysError::new("usage", Errno::CANCELED));
        }
        Ok(())
    }

    /// Counts the entries of a directory and answers its subdirectories.
    fn scan(&mut self, dir: BorrowedFd<'_>) -> Result<Vec<OsString>> {
        let mut subdirs = Vec::new();
        for entry in fs::read_dir(dir)? {
            self.check_cancel()?;
            let entry = match entry {
                // The directory itself was removed while being read.
                Err(error) if error.is_not_found() => break,
                entry => entry?,
            };
            let stat = match fs::stat_at(dir, &entry.name) {
                Err(error) if error.is_not_found() => continue,
                stat => stat?,
            };
            if stat.mount_root {
                continue;
            }
            self.add(&stat);
            if stat.is_dir() {
                subdirs.push(entry.name);
            }
        }
        Ok(subdirs)
    }

    pub(super) fn add(&mut self, stat: &Stat) {
        if !stat.is_dir() && stat.nlink > 1 && !self.linked.insert(stat.identity()) {
            return;
        }
        self.total.size = self.total.size.saturating_add(stat.blocks.saturating_mul(512));
        self.total.inodes = self.total.inodes.saturating_add(1);
    }
}

/// Removed or replaced since it was listed, or mounted over.
pub(super) fn is_gone(error: &SysError) -> bool {
    matches!(
        error.outcome(),
        Outcome::NotFound | Outcome::NotADirectory | Outcome::SymlinkLoop | Outcome::CrossDevice
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{self, MountFlags};
    use crate::testing::{Mounted, TempDir, need_root, or_skip};

    fn measure(temp: &TempDir) -> TreeUsage {
        usage(temp.fd(), &mut || false).unwrap()
    }

    #[test]
    fn links_count_once_and_holes_nothing() {
        let temp = TempDir::new();
        let empty = measure(&temp);
        assert_eq!(empty.inodes, 1);
        temp.mkdir("a/b");
        temp.write("a/f", &[1; 100_000]);
        fs::link(temp.fd(), "a/f", temp.fd(), "a/b/g").unwrap();
        fs::make_symlink("a", temp.fd(), "link").unwrap();
        let sparse = fs::create_file(temp.fd(), "sparse", 0o600).unwrap();
        fs::truncate(&sparse, 1 << 30).unwrap();
        fs::sync_filesystem(temp.fd()).unwrap();
        let found = measure(&temp);
        assert_eq!(found.inodes, 1 + 2 + 1 + 1 + 1);
        let expected: u64 = [".", "a", "a/b", "a/f", "link", "sparse"]
            .iter()
            .map(|name| fs::stat_at(temp.fd(), name).unwrap().blocks * 512)
            .sum();
        assert_eq!(found.size, expected);
        assert!(found.size >= 100_000 && found.size < 1 << 20, "{found:?}");
        let one = usage_at(temp.fd(), "a/f", &mut || false).unwrap();
        assert_eq!(one.inodes, 1);
        assert_eq!(usage_at(temp.fd(), "a", &mut || false).unwrap().inodes, 3);
    }

    #[test]
    fn deep_trees_are_counted_and_cancel_is_heard() {
        let temp = TempDir::new();
        let mut stack = DirStack::new(fs::open_dir(temp.path()).unwrap());
        for _ in 0..200 {
            fs::make_dir(stack.top(), "d", 0o700).unwrap();
            fs::make_dir(stack.top(), "e", 0o700).unwrap();
            stack.push(OsStr::new("d")).unwrap();
        }
        assert_eq!(measure(&temp).inodes, 401);
        let mut asked = 0;
        let error = usage(temp.fd(), &mut || {
            asked += 1;
            asked > 10
        })
        .unwrap_err();
        assert_eq!(error.outcome(), Outcome::Cancelled);
    }

    #[test]
    fn privileged_mounts_are_left_out() {
        need_root!("privileged_mounts_are_left_out");
        let temp = TempDir::new();
        let target = temp.mkdir("m");
        let _mounted = Mounted(target.clone());
        or_skip!(
            "privileged_mounts_are_left_out",
            mount::mount("none", &target, "tmpfs", MountFlags::empty(), "")
        );
        std::fs::write(target.join("f"), b"x").unwrap();
        assert_eq!(measure(&temp).inodes, 1);
    }
}
