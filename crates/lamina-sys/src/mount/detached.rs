//! Mounts as descriptors: cloned from what is there, given attributes, moved into place.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    self as raw, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use crate::error::{Call, Result, check};

/// Whether an operation is for one mount or for all below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursive {
    /// One mount.
    No,
    /// The mount and every mount below it.
    Yes,
}

/// A mount, or a tree of them, that is attached nowhere. Dropped, it is unmounted.
#[derive(Debug)]
pub struct Tree {
    fd: OwnedFd,
}

impl Tree {
    pub(super) fn new(fd: OwnedFd) -> Tree {
        Tree { fd }
    }

    /// Attaches it on top of the directory (or file) a descriptor stands for.
    pub fn attach(&self, target: impl AsFd) -> Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        raw::move_mount(&self.fd, "", target, "", flags).call("move_mount")
    }

    /// Attaches it at a path; links in it are followed, as `mount(2)` does.
    pub fn attach_at(&self, target: impl AsRef<Path>) -> Result<()> {
        let target = target.as_ref();
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        raw::move_mount(&self.fd, "", CWD, target, flags).call_on("move_mount", target)
    }

    /// [`set_attributes`] of this mount.
    pub fn set_attributes(&self, attr: &MountAttr<'_>, recursive: Recursive) -> Result<()> {
        set_attributes(&self.fd, attr, recursive)
    }
}

impl AsFd for Tree {
    /// A directory descriptor of its root: names below it can be opened while it is attached
    /// nowhere.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What `mount_setattr` changes.
#[derive(Debug, Clone, Copy)]
pub struct MountAttr<'a> {
    /// Attributes to turn on. An access-time mode needs [`MountAttrFlags::MOUNT_ATTR__ATIME`] in
    /// `clear`.
    pub set: MountAttrFlags,
    /// Attributes to turn off.
    pub clear: MountAttrFlags,
    /// The new propagation, one of its four words.
    pub propagation: Option<MountPropagationFlags>,
    /// Map owners through this user namespace (see [`crate::userns`]); only on a mount that is
    /// still attached nowhere, once. Implies the idmap attribute.
    pub id_map: Option<BorrowedFd<'a>>,
}

impl MountAttr<'_> {
    /// Changes nothing.
    pub const NONE: MountAttr<'static> = MountAttr {
        set: MountAttrFlags::empty(),
        clear: MountAttrFlags::empty(),
        propagation: None,
        id_map: None,
    };
}

/// A copy of the mount at (and with [`Recursive::Yes`] below) `dir`: what a bind mount attaches.
/// `dir` may be any file or directory inside a mount; it becomes the root of the copy.
pub fn clone_tree(dir: impl AsFd, recursive: Recursive) -> Result<Tree> {
    raw::open_tree(dir, "", clone_flags(recursive)).call("open_tree").map(Tree::new)
}

/// `open_tree_attr` (Linux 6.15): a copy that has the attributes from its first moment. Unlike
/// [`set_attributes`] it can give another id map to a copy of an id-mapped mount. `ENOSYS` before.
pub fn clone_tree_with(dir: impl AsFd, attr: &MountAttr<'_>, recursive: Recursive) -> Result<Tree> {
    let attr = RawAttr::from(attr);
    // SAFETY: the descriptor is borrowed and the C string static; `attr` is a live struct of
    // exactly the size passed, laid out as `struct mount_attr`. The answer is a descriptor that
    // nobody else owns.
    let fd = unsafe {
        use std::os::fd::FromRawFd;
        let fd = libc::syscall(
            SYS_OPEN_TREE_ATTR,
            dir.as_fd().as_raw_fd(),
            c"".as_ptr(),
            clone_flags(recursive).bits(),
            &raw const attr,
            size_of::<RawAttr>(),
        );
        let fd = check(fd).call("open_tree_attr")?;
        // A descriptor number always fits; the kernel answers an int in a long.
        #[allow(clippy::cast_possible_truncation)]
        OwnedFd::from_raw_fd(fd as i32)
    };
    Ok(Tree::new(fd))
}

/// A descriptor of the mount at a path, for [`set_attributes`] and
/// [`FsContext::pick`](super::FsContext::pick).
pub fn open_mount(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    raw::open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLOEXEC).call_on("open_tree", path)
}

/// `mount_setattr` (Linux 5.12): all mounts meant change, or none.
pub fn set_attributes(mount: impl AsFd, attr: &MountAttr<'_>, recursive: Recursive) -> Result<()> {
    let attr = RawAttr::from(attr);
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive == Recursive::Yes {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the descriptor is borrowed and the C string static; `attr` is a live struct of
    // exactly the size passed, laid out as `struct mount_attr`, which the kernel only reads.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<RawAttr>(),
        )
    };
    check(answer).map(drop).call("mount_setattr")
}

/// `struct mount_attr` (`linux/mount.h`), first version.
#[repr(C)]
struct RawAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

impl From<&MountAttr<'_>> for RawAttr {
    fn from(attr: &MountAttr<'_>) -> RawAttr {
        let mut set = attr.set;
        if attr.id_map.is_some() {
            set |= MountAttrFlags::MOUNT_ATTR_IDMAP;
        }
        RawAttr {
            attr_set: set.bits().into(),
            attr_clr: attr.clear.bits().into(),
            propagation: attr.propagation.map_or(0, |word| word.bits().into()),
            // The kernel looks at it only if IDMAP is set; a borrowed descriptor is not negative.
            userns_fd: attr.id_map.map_or(0, |fd| fd.as_raw_fd().unsigned_abs().into()),
        }
    }
}

fn clone_flags(recursive: Recursive) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    match recursive {
        Recursive::No => flags,
        Recursive::Yes => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// Not in the libc crate yet; the same on all architectures that count from the common table
/// (`scripts/syscall.tbl`), which is all but alpha.
const SYS_OPEN_TREE_ATTR: libc::c_long = 467;
