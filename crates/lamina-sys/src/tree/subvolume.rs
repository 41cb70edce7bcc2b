//! Removal of a btrfs subvolume with the subvolumes inside it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};

use super::stack::DirStack;
use crate::error::Result;
use crate::fs::{self, FileKind, OFlags};
use crate::{Outcome, btrfs};

/// Removes the subvolume `dir/name`, read-only or not, and every subvolume nested in it;
/// `Ok(false)` if there was nothing.
///
/// Only when the kernel says that there are nested ones is the tree walked for them. They go
/// innermost first, so calling again after an error goes on.
pub fn remove_subvolume(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<bool> {
    let (dir, name) = (dir.as_fd(), name.as_ref());
    match btrfs::destroy_subvolume(dir, name) {
        Ok(()) => return Ok(true),
        Err(error) => match error.outcome() {
            Outcome::NotFound => return Ok(false),
            Outcome::NotEmpty => {}
            _ => return Err(error),
        },
    }
    let root = fs::open_at(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut stack = DirStack::new(root);
    stack.push(name)?;
    let mut frames = vec![Frame::enter(stack.top(), name.to_owned())?];
    while let Some(frame) = frames.last_mut() {
        if let Some(child) = frame.subdirs.pop() {
            stack.push(&child)?;
            frames.push(Frame::enter(stack.top(), child)?);
            continue;
        }
        let Some(frame) = frames.pop() else { break };
        stack.pop()?;
        if frame.is_subvolume {
            btrfs::destroy_subvolume(stack.top(), &frame.name)?;
        }
    }
    Ok(true)
}

struct Frame {
    name: OsString,
    is_subvolume: bool,
    subdirs: Vec<OsString>,
}

impl Frame {
    fn enter(dir: BorrowedFd<'_>, name: OsString) -> Result<Frame> {
        let is_subvolume = btrfs::is_subvolume(dir)?;
        if is_subvolume && btrfs::is_read_only(dir)? {
            // What is nested in it could not be taken out of it.
            btrfs::set_read_only(dir, false)?;
        }
        let mut subdirs = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.kind == FileKind::Dir {
                subdirs.push(entry.name);
            }
        }
        Ok(Frame { name, is_subvolume, subdirs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btrfs::Access;
    use crate::testing::{Disk, need_root, or_skip};
    use crate::tree;

    const SIZE: u64 = 128 << 20;

    #[test]
    fn privileged_nested_subvolumes_go_with_the_outer_one() {
        need_root!("privileged_nested_subvolumes_go_with_the_outer_one");
        let disk = or_skip!(
            "privileged_nested_subvolumes_go_with_the_outer_one",
            Disk::new("btrfs", SIZE, &[])
        );
        let top = disk.fd.as_fd();
        let child = |dir: BorrowedFd<'_>, name: &str| fs::open_dir_at(dir, name).unwrap();
        btrfs::create_subvolume(top, "outer").unwrap();
        let outer = child(top, "outer");
        fs::make_dir(&outer, "dir", 0o700).unwrap();
        let dir = child(outer.as_fd(), "dir");
        btrfs::create_subvolume(&dir, "nested").unwrap();
        let nested = child(dir.as_fd(), "nested");
        btrfs::create_subvolume(&nested, "innermost").unwrap();
        btrfs::create_snapshot(&nested, &outer, "frozen", Access::ReadOnly).unwrap();
        // Read-only with something nested in it.
        btrfs::set_read_only(&nested, true).unwrap();
        btrfs::set_read_only(&outer, true).unwrap();
        drop((outer, dir, nested));

        assert!(remove_subvolume(top, "outer").unwrap());
        assert!(!remove_subvolume(top, "outer").unwrap());
        assert_eq!(fs::read_dir(top).unwrap().count(), 0);
    }

    #[test]
    fn privileged_usage_since_a_snapshot_counts_what_changed() {
        need_root!("privileged_usage_since_a_snapshot_counts_what_changed");
        let disk = or_skip!(
            "privileged_usage_since_a_snapshot_counts_what_changed",
            Disk::new("btrfs", SIZE, &[])
        );
        let top = disk.fd.as_fd();
        btrfs::create_subvolume(top, "base").unwrap();
        let base = fs::open_dir_at(top, "base").unwrap();
        fs::make_dir(&base, "dir", 0o700).unwrap();
        let dir = fs::open_dir_at(&base, "dir").unwrap();
        for name in ["kept", "written", "gone"] {
            rustix::io::write(fs::create_file(&dir, name, 0o600).unwrap(), &[1; 8192]).unwrap();
        }
        btrfs::create_snapshot(&base, top, "now", Access::ReadWrite).unwrap();
        let now = fs::open_dir_at(top, "now").unwrap();
        let since = || tree::usage_since(&now, &base, &mut || false).unwrap();
        assert_eq!(since().inodes, 0);
        let dir = fs::open_dir_at(&now, "dir").unwrap();
        let written = fs::open_at(&dir, "written", OFlags::WRONLY, 0).unwrap();
        rustix::io::write(&written, &[2; 16384]).unwrap();
        assert_eq!(since().inodes, 1);
        // The name gone shows in its directory, the new link in the inode.
        fs::remove_file(&dir, "gone").unwrap();
        fs::link(&dir, "written", &now, "again").unwrap();
        fs::sync_filesystem(top).unwrap();
        let usage = since();
        assert_eq!(usage.inodes, 3, "written, dir and the root");
        assert!((16384..40960).contains(&usage.size), "{usage:?}");
    }
}
