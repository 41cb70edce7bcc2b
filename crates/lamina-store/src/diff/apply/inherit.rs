//! Attributes of directories that a layer only implies: those of the same directory in the trees
//! below it, while the layer is laid, or later if they were not known then.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lamina_core::Result;
use lamina_sys::RootDir;
use lamina_sys::fs::{self, OFlags, Stat};

use super::error;
use super::layer::Applied;
use super::name::split;
use super::options::Target;
use super::stray::remove_strays;
use super::tree::{OPAQUE, is_other, stat};

/// Does what could not be done when the layer was laid, because the trees below were not there: gives
/// directories that it only implies ([`Applied::implied`]) the owner, mode, times and xattrs of the
/// same directory below, and removes whiteouts from those ([`Applied::whiteouts`]) that no tree below
/// has, where overlayfs would list them. Runs again without harm.
///
/// # Errors
/// Those of the disk, named after the directory.
pub fn inherit(target: &Target, applied: &Applied) -> Result<()> {
    remove_strays(target, &applied.whiteouts)?;
    let mut implied = applied.implied.iter();
    implied.try_for_each(|path| inherit_one(target, path).map_err(|cause| error::at(path, cause)))
}

fn inherit_one(target: &Target, path: &Path) -> Result<()> {
    let failed = |cause| error::sys("give a directory the attributes it has below", cause);
    let Some((below, stat)) = model(&target.lowers, path.as_os_str().as_bytes())? else {
        return Ok(());
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = target.root.open_file(path, flags).map_err(failed)?;
    fs::set_owner(&dir, stat.uid, stat.gid).map_err(failed)?;
    copy_xattrs(&below, &dir).map_err(failed)?;
    fs::set_mode(&dir, stat.mode).map_err(failed)?;
    fs::set_times(&dir, &stat.times()).map_err(failed)
}

/// The directory of that path in the first of `lowers` that has it, unless something nearer hides it.
pub(super) fn model(lowers: &[RootDir], path: &[u8]) -> Result<Option<(OwnedFd, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    for lower in lowers {
        match lower.open_file(OsStr::from_bytes(path), flags) {
            Ok(fd) => {
                let stat = stat(&fd)?;
                return Ok(Some((fd, stat)));
            }
            Err(cause) if cause.is_not_found() && !hides(lower, path)? => {}
            // Something else is there, or an opaque directory above it.
            Err(cause) if is_other(&cause) => return Ok(None),
            Err(cause) => return Err(error::sys(BELOW, cause)),
        }
    }
    Ok(None)
}

/// Whether a directory on the way to a path is opaque, so that nothing further below counts.
pub(super) fn hides(lower: &RootDir, path: &[u8]) -> Result<bool> {
    let mut at = split(path).0;
    while !at.is_empty() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match lower.open_file(OsStr::from_bytes(at), flags) {
            Ok(dir) => {
                let mark =
                    fs::xattr::get(&dir, OPAQUE).map_err(|cause| error::sys(BELOW, cause))?;
                if mark.as_deref() == Some(b"y") {
                    return Ok(true);
                }
            }
            Err(cause) if is_other(&cause) => {}
            Err(cause) => return Err(error::sys(BELOW, cause)),
        }
        at = split(at).0;
    }
    Ok(false)
}

/// All but `trusted.*`, which belongs to overlayfs; a filesystem without attributes gets none.
pub(super) fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> lamina_sys::Result<()> {
    for name in fs::xattr::list(from)? {
        if name.as_bytes().starts_with(b"trusted.") {
            continue;
        }
        let Some(value) = fs::xattr::get(from, &name)? else { continue };
        match fs::xattr::set(to, &name, &value) {
            Err(cause) if cause.is_not_supported() => {}
            result => result?,
        }
    }
    Ok(())
}

/// What was being done when a tree below could not be looked at.
const BELOW: &str = "look at the directory below";
