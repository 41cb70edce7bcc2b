//! What the kernel and the file system below can do, found out once at start.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use lamina_core::{Error, Result};
use lamina_sys::fs::space::magic;
use lamina_sys::fs::{self, FileKind};
use lamina_sys::kernel::KernelVersion;
use lamina_sys::mount::{
    self, FsContext, MountAttr, MountAttrFlags, Recursive, UnmountFlags, clone_tree,
};
use lamina_sys::userns::{self, IdMap};
use lamina_sys::{SysError, kernel, tree};

use super::super::error::failed;

/// What mounts depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// This process runs in a user namespace, where whiteouts cannot be made.
    pub in_user_namespace: bool,
    /// Overlay must keep its marks in `user.` attributes.
    pub needs_user_xattr: bool,
    /// The kernel knows `index`, which could be on by default.
    pub has_index: bool,
    /// Overlay takes lower directories on id-mapped mounts.
    pub id_mapped: bool,
}

impl Facts {
    /// Looks. What cannot be found out counts as not there, with a warning.
    pub(in super::super) fn probe(path: &Path, root: BorrowedFd<'_>) -> Facts {
        let in_user_namespace = or_not("a user namespace", userns::is_inside());
        let needs_user_xattr =
            in_user_namespace && or_not("overlay's userxattr", needs_user_xattr(path, root));
        Facts {
            in_user_namespace,
            needs_user_xattr,
            has_index: Path::new("/sys/module/overlay/parameters/index").exists(),
            id_mapped: since(ID_MAPPED_LOWER)
                || or_not("overlay on id-mapped mounts", try_id_mapped(path, root)),
        }
    }
}

/// Refuses a file system that answers `DT_UNKNOWN`: overlay needs to know what entries are, to see
/// its whiteouts. `root` must not be empty.
///
/// # Errors
/// FailedPrecondition that names the directory.
pub(in super::super) fn check_entry_types(path: &Path, root: BorrowedFd<'_>) -> Result<()> {
    let list = |error| failed(error, format!("list {}", path.display()));
    for entry in fs::read_dir(root).map_err(list)? {
        if entry.map_err(list)?.kind == FileKind::Unknown {
            return Err(Error::failed_precondition(format!(
                "overlayfs does not work on {}: its file system does not tell the type of \
                 directory entries (d_type); on ext4 and xfs that is the feature filetype or ftype",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Linux 5.19 lets overlay have lower directories on id-mapped mounts.
const ID_MAPPED_LOWER: KernelVersion = KernelVersion { major: 5, minor: 19 };
/// Linux 5.11 knows `userxattr`, and lets a user namespace mount overlay only with it (or on tmpfs,
/// which had no user attributes then and keeps `trusted.` ones per namespace).
const USER_XATTR: KernelVersion = KernelVersion { major: 5, minor: 11 };

fn needs_user_xattr(path: &Path, root: BorrowedFd<'_>) -> lamina_sys::Result<bool> {
    if fs::fs_info(root)?.magic == magic::TMPFS {
        return Ok(false);
    }
    Ok(since(USER_XATTR) || try_user_xattr(path, root)?)
}

/// Whether a backport is there: an overlay with `userxattr` can be configured.
fn try_user_xattr(path: &Path, root: BorrowedFd<'_>) -> lamina_sys::Result<bool> {
    with_layers(path, root, "userxattr-check", |check| {
        let overlay = FsContext::open("overlay")?;
        overlay.set_flag("userxattr")?;
        overlay.set_string("lowerdir", layers(check, "upper", "lower"))?;
        overlay.create()
    })
}

/// Whether a backport is there: a lower directory that maps 0 to 666 shows that owner above.
fn try_id_mapped(path: &Path, root: BorrowedFd<'_>) -> lamina_sys::Result<bool> {
    let range = [IdMap { inside: 0, outside: MAPPED_ROOT, size: 1 }];
    with_layers(path, root, "idmap-check", |check| {
        let map = userns::create(&range, &range)?;
        let mapped = check.join("upper");
        let copy = clone_tree(fs::open_handle(&mapped)?, Recursive::No)?;
        let attributes = MountAttr {
            set: MountAttrFlags::MOUNT_ATTR_RDONLY,
            id_map: Some(map.as_fd()),
            ..MountAttr::NONE
        };
        copy.set_attributes(&attributes, Recursive::No)?;
        copy.attach_at(&mapped)?;
        let _attached = Attached(&mapped);
        let overlay = FsContext::open("overlay")?;
        overlay.set_string("lowerdir", layers(check, "upper", "lower"))?;
        overlay.create()?;
        let merged = overlay.mount(MountAttrFlags::empty())?;
        let owner = fs::stat(merged.as_fd())?.uid;
        if owner == MAPPED_ROOT {
            return Ok(());
        }
        Err(SysError::new("overlay", lamina_sys::Errno::OPNOTSUPP).because(format!("uid {owner}")))
    })
}

/// Any id but 0.
const MAPPED_ROOT: u32 = 666;

/// Runs `attempt` on a directory with `upper/` and `lower/` in it; whether it worked.
fn with_layers(
    path: &Path,
    root: BorrowedFd<'_>,
    name: &str,
    attempt: impl FnOnce(&Path) -> lamina_sys::Result<()>,
) -> lamina_sys::Result<bool> {
    let check = path.join(name);
    // What a crash in the middle of an attempt left.
    let _ = mount::unmount(check.join("upper"), UnmountFlags::DETACH);
    tree::remove_tree(root, name)?;
    fs::make_dir(root, name, 0o700)?;
    let dir = fs::open_dir_at(root, name)?;
    for layer in ["upper", "lower"] {
        fs::make_dir(&dir, layer, 0o755)?;
    }
    let outcome = attempt(&check);
    tree::remove_tree(root, name)?;
    match outcome {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::debug!(%error, name, "overlay cannot do this here");
            Ok(false)
        }
    }
}

fn layers(check: &Path, upper: &str, lower: &str) -> String {
    format!("{}:{}", check.join(upper).display(), check.join(lower).display())
}

/// Unmounts when dropped.
struct Attached<'a>(&'a Path);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if let Err(error) = mount::unmount(self.0, UnmountFlags::DETACH) {
            tracing::warn!(%error, "a trial mount was left behind");
        }
    }
}

fn since(version: KernelVersion) -> bool {
    kernel::version().is_ok_and(|running| running >= version)
}

fn or_not(what: &str, found: lamina_sys::Result<bool>) -> bool {
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot find out about {what}; taken as not there");
        false
    })
}

/// The outcomes of the trials that newer kernels make needless: id-mapped, `userxattr`.
#[cfg(test)]
pub(super) fn trials(path: &Path, root: BorrowedFd<'_>) -> (bool, bool) {
    (try_id_mapped(path, root).unwrap(), try_user_xattr(path, root).unwrap())
}
