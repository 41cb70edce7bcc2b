//! Recursive removal.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::stack::DirStack;
use crate::error::{Result, SysError};
use crate::fs::{self, DirEntry, FileKind, OFlags};
use crate::{Outcome, kernel};

/// Removes `dir/name` with all below it; `Ok(false)` if there was nothing.
///
/// A mount point, the tree's root or below, is `EBUSY` and nothing behind it is touched; what was
/// removed before it was met is gone. Stops at the first error; calling again goes on.
pub fn remove_tree(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<bool> {
    let (dir, name) = (dir.as_fd(), name.as_ref());
    match remove_leaf(dir, name)? {
        Leaf::Gone => return Ok(true),
        Leaf::Missing => return Ok(false),
        Leaf::Dir => {}
    }
    let root = fs::open_at(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut stack = DirStack::new(root);
    let mut frames = Vec::new();
    enter(&mut stack, name, &mut frames)?;
    while let Some(frame) = frames.last_mut() {
        if let Some(child) = frame.subdirs.pop() {
            enter(&mut stack, &child, &mut frames)?;
            continue;
        }
        let Some(mut frame) = frames.pop() else { break };
        stack.pop()?;
        match fs::remove_dir(stack.top(), &frame.name) {
            Err(error) if error.outcome() == Outcome::NotEmpty && frame.rescans > 0 => {
                // Some filesystems skip entries while others are being removed.
                frame.rescans -= 1;
                stack.push(&frame.name).map_err(mount_is_busy)?;
                frame.subdirs = clear(stack.top())?;
                frames.push(frame);
            }
            Err(error) if error.is_not_found() => {}
            result => result?,
        }
    }
    Ok(true)
}

/// A directory being emptied.
struct Frame {
    name: OsString,
    subdirs: Vec<OsString>,
    rescans: u32,
}

/// Bounds the fight with somebody who keeps on creating entries.
const RESCANS: u32 = 8;

fn enter(stack: &mut DirStack, name: &OsStr, frames: &mut Vec<Frame>) -> Result<()> {
    let entered = match stack.push(name) {
        Err(error) if error.errno() == Errno::ACCESS && !kernel::is_root() => {
            // An owner who is not root may have shut himself out.
            fs::set_mode_at(stack.top(), name, 0o700)?;
            stack.push(name)
        }
        result => result,
    };
    match entered.map_err(mount_is_busy) {
        Ok(()) => {
            if !kernel::is_root() {
                // Best effort: what really hinders is reported by the removal.
                let _ = fs::set_mode(stack.top(), 0o700);
            }
            let subdirs = clear(stack.top())?;
            frames.push(Frame { name: name.to_owned(), subdirs, rescans: RESCANS });
            Ok(())
        }
        Err(error) => match error.outcome() {
            Outcome::NotFound => Ok(()),
            // Replaced by something else since it was listed.
            Outcome::NotADirectory | Outcome::SymlinkLoop => {
                remove_leaf(stack.top(), name).map(drop)
            }
            _ => Err(error),
        },
    }
}

/// Removes what is not a directory and answers what is.
fn clear(dir: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    clear_entries(dir, fs::read_dir(dir)?)
}

fn clear_entries(
    dir: BorrowedFd<'_>,
    entries: impl Iterator<Item = Result<DirEntry>>,
) -> Result<Vec<OsString>> {
    let mut subdirs = Vec::new();
    for entry in entries {
        let entry = match entry {
            // The directory itself was removed by another while being read.
            Err(error) if error.is_not_found() => break,
            entry => entry?,
        };
        if entry.kind == FileKind::Dir || matches!(remove_leaf(dir, &entry.name)?, Leaf::Dir) {
            subdirs.push(entry.name);
        }
    }
    Ok(subdirs)
}

enum Leaf {
    Gone,
    Missing,
    Dir,
}

/// `unlink` tells directories by its error, so a kind that is unknown, or was true only a moment
/// ago, does no harm.
fn remove_leaf(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Leaf> {
    match fs::remove_file(dir, name) {
        Ok(()) => Ok(Leaf::Gone),
        Err(error) => match error.outcome() {
            Outcome::NotFound => Ok(Leaf::Missing),
            Outcome::IsADirectory => Ok(Leaf::Dir),
            // POSIX's answer for a directory, given by some filesystems.
            Outcome::PermissionDenied if fs::stat_at(dir, name)?.is_dir() => Ok(Leaf::Dir),
            _ => Err(error),
        },
    }
}

fn mount_is_busy(error: SysError) -> SysError {
    if error.outcome() != Outcome::CrossDevice {
        return error;
    }
    let detail = format!("{error}: a mount point");
    SysError::new("rmdir", Errno::BUSY).because(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{self, MountFlags};
    use crate::testing::{Mounted, TempDir, need_root, or_skip};

    #[test]
    fn removes_every_kind_and_follows_nothing() {
        let temp = TempDir::new();
        temp.mkdir("tree/a/b");
        temp.mkdir("kept");
        temp.write("kept/file", b"kept");
        temp.write("tree/a/f", b"");
        fs::make_node(temp.fd(), "tree/fifo", FileKind::Fifo, 0o600, (0, 0)).unwrap();
        fs::make_symlink("../kept", temp.fd(), "tree/link").unwrap();
        fs::make_symlink("kept", temp.fd(), "link").unwrap();
        assert!(remove_tree(temp.fd(), "tree").unwrap());
        assert!(!remove_tree(temp.fd(), "tree").unwrap());
        assert!(remove_tree(temp.fd(), "link").unwrap());
        assert_eq!(temp.read("kept/file"), b"kept");
    }

    #[test]
    fn removes_a_tree_deeper_than_any_path() {
        let temp = TempDir::new();
        let mut stack = DirStack::new(fs::open_dir(temp.path()).unwrap());
        let name = OsString::from("n".repeat(200));
        for _ in 0..500 {
            fs::make_dir(stack.top(), &name, 0o700).unwrap();
            stack.push(&name).unwrap();
            fs::create_file(stack.top(), "f", 0o600).unwrap();
        }
        drop(stack);
        assert!(remove_tree(temp.fd(), &name).unwrap());
        assert_eq!(fs::read_dir(temp.fd()).unwrap().count(), 0);
    }

    /// Says something only when run by somebody else than root, who is let in anyway.
    #[test]
    fn an_owner_who_shut_himself_out_gets_in() {
        let temp = TempDir::new();
        temp.mkdir("tree/a/b");
        temp.write("tree/a/b/f", b"");
        for name in ["tree/a/b", "tree/a", "tree"] {
            fs::set_mode_at(temp.fd(), name, 0).unwrap();
        }
        assert!(remove_tree(temp.fd(), "tree").unwrap());
    }

    #[test]
    fn kinds_that_are_unknown_or_wrong_do_no_harm() {
        let temp = TempDir::new();
        temp.mkdir("dir/sub");
        temp.write("file", b"");
        let entry = |name: &str, kind| Ok(DirEntry { name: name.into(), kind, ino: 1 });
        let entries = [
            entry("dir", FileKind::Unknown),
            entry("file", FileKind::Unknown),
            entry("missing", FileKind::File),
        ];
        let subdirs = clear_entries(temp.fd(), entries.into_iter()).unwrap();
        assert_eq!(subdirs, ["dir"]);
        assert!(!temp.path().join("file").exists());

        temp.write("file", b"");
        let mut stack = DirStack::new(fs::open_dir(temp.path()).unwrap());
        let mut frames = Vec::new();
        for name in ["file", "missing"] {
            enter(&mut stack, OsStr::new(name), &mut frames).unwrap();
        }
        assert!(frames.is_empty() && !temp.path().join("file").exists());
    }

    #[test]
    fn removes_wide_directories() {
        let temp = TempDir::new();
        temp.mkdir("wide");
        let dir = fs::open_dir_at(temp.fd(), "wide").unwrap();
        for n in 0..5000 {
            fs::make_node(&dir, format!("file-{n}"), FileKind::File, 0o600, (0, 0)).unwrap();
        }
        assert!(remove_tree(temp.fd(), "wide").unwrap());
    }

    #[test]
    fn privileged_mount_points_are_busy_and_left_alone() {
        const NAME: &str = "privileged_mount_points_are_busy_and_left_alone";
        need_root!("privileged_mount_points_are_busy_and_left_alone");
        let temp = TempDir::new();
        let source = temp.mkdir("source");
        temp.write("source/data", b"precious");
        let target = temp.mkdir("tree/sub/mount");
        let mounted = Mounted(target.clone());
        // The same filesystem: a device number tells nothing here.
        if let Err(error) = mount::mount(&source, &target, "", MountFlags::BIND, "") {
            return eprintln!("SKIP {NAME}: {error}");
        }
        for name in ["tree", "tree/sub/mount"] {
            let error = remove_tree(temp.fd(), name).unwrap_err();
            assert!(error.is_busy(), "{name}: {error}");
        }
        assert_eq!(temp.read("source/data"), b"precious");
        drop(mounted);
        assert!(remove_tree(temp.fd(), "tree").unwrap());
        assert_eq!(temp.read("source/data"), b"precious");
    }

    #[test]
    fn privileged_file_mount_points_are_busy() {
        need_root!("privileged_file_mount_points_are_busy");
        let temp = TempDir::new();
        let source = temp.write("source", b"x");
        temp.mkdir("tree");
        let target = temp.write("tree/f", b"");
        let mounted = Mounted(target.clone());
        or_skip!(
            "privileged_file_mount_points_are_busy",
            mount::mount(&source, &target, "", MountFlags::BIND, "")
        );
        assert!(remove_tree(temp.fd(), "tree").unwrap_err().is_busy());
        drop(mounted);
        assert!(remove_tree(temp.fd(), "tree").unwrap());
    }
}
