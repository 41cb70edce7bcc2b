//! The directories from the root of a walk down to where it is, with a bounded number open.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{Result, SysError};
use crate::fs::{self, OFlags};

/// Holds at least the root of the walk; the innermost directory is always open.
#[derive(Debug)]
pub struct DirStack {
    above: Vec<Level>,
    top: OwnedFd,
}

#[derive(Debug)]
enum Level {
    Open(OwnedFd),
    /// To be opened again through `..` of its child, which must lead to this inode.
    Closed(((u32, u32), u64)),
}

impl DirStack {
    /// Starts at a readable directory descriptor.
    pub fn new(root: OwnedFd) -> DirStack {
        DirStack { above: Vec::new(), top: root }
    }

    /// The innermost directory.
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Goes into a subdirectory of the innermost one. `EXDEV` if that is a mount point, `ENOTDIR`
    /// or `ELOOP` if it is something else; the stack stays as it was.
    pub fn push(&mut self, name: &OsStr) -> Result<()> {
        let child = fs::open_same_mount(self.top(), name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        if let Some(index) = (self.above.len() + 1).checked_sub(MAX_OPEN)
            && let Some(level) = self.above.get_mut(index)
            && let Level::Open(fd) = level
        {
            *level = Level::Closed(fs::stat(fd.as_fd())?.identity());
        }
        self.above.push(Level::Open(std::mem::replace(&mut self.top, child)));
        Ok(())
    }

    /// Goes back up. `false` at the root of the walk, which stays. `ESTALE` if a directory was
    /// moved elsewhere meanwhile.
    pub fn pop(&mut self) -> Result<bool> {
        self.top = match self.above.pop() {
            None => return Ok(false),
            Some(Level::Open(fd)) => fd,
            Some(Level::Closed(identity)) => {
                let parent = fs::open_at(self.top(), "..", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
                if fs::stat(&parent)?.identity() != identity {
                    return Err(SysError::new("openat", Errno::STALE)
                        .on("..")
                        .because("a directory was moved during the walk"));
                }
                parent
            }
        };
        Ok(true)
    }
}

/// Enough that `..` is hardly ever needed, few enough for a process with 1024 descriptors and a
/// walk on each of many threads.
pub(super) const MAX_OPEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::TempDir;

    fn descend(stack: &mut DirStack, levels: usize) {
        for _ in 0..levels {
            fs::make_dir(stack.top(), "d", 0o700).unwrap();
            stack.push(OsStr::new("d")).unwrap();
        }
    }

    #[test]
    fn deep_walks_hold_few_descriptors_and_come_back() {
        let temp = TempDir::new();
        let mut stack = DirStack::new(fs::open_dir(temp.path()).unwrap());
        descend(&mut stack, 300);
        let open = stack.above.iter().filter(|level| matches!(level, Level::Open(_))).count();
        assert_eq!(open + 1, MAX_OPEN);
        for _ in 0..300 {
            assert!(stack.pop().unwrap());
        }
        assert!(!stack.pop().unwrap());
        let root = fs::stat(temp.fd()).unwrap().identity();
        assert_eq!(fs::stat(stack.top()).unwrap().identity(), root);
    }

    #[test]
    fn a_moved_directory_is_noticed() {
        let temp = TempDir::new();
        temp.mkdir("elsewhere");
        let mut stack = DirStack::new(fs::open_dir(temp.path()).unwrap());
        descend(&mut stack, MAX_OPEN + 10);
        std::fs::rename(temp.path().join("d/d"), temp.path().join("elsewhere/d")).unwrap();
        let error = loop {
            match stack.pop() {
                Ok(more) => assert!(more, "came back to a wrong root"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.outcome(), Outcome::Stale);
    }
}
