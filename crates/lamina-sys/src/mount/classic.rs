//! `mount(2)` and `umount2(2)`.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::error::{Call, Result};

/// Mounts `source` at `target`. For a bind mount pass [`MountFlags::BIND`] and an empty type and
/// data; flags like read-only do not count for it until a [`remount`]. All options together are
/// limited to a page less one byte: the kernel would cut the rest off, so that is `E2BIG` here.
pub fn mount(
    source: impl AsRef<Path>,
    target: impl AsRef<Path>,
    fs_type: &str,
    flags: MountFlags,
    data: impl AsRef<OsStr>,
) -> Result<()> {
    let target = target.as_ref();
    let data = data_argument(data.as_ref()).call_on("mount", target)?;
    rustix::mount::mount(source.as_ref(), target, fs_type, flags, data.as_deref())
        .call_on("mount", target)
}

/// `MS_REMOUNT`. With [`MountFlags::BIND`] it changes the flags of this mount only, otherwise the
/// options of the filesystem. Flags not given are turned off.
pub fn remount(target: impl AsRef<Path>, flags: MountFlags, data: impl AsRef<OsStr>) -> Result<()> {
    let target = target.as_ref();
    let data = data_argument(data.as_ref()).call_on("mount(remount)", target)?;
    let data = data.unwrap_or_default();
    rustix::mount::mount_remount(target, flags, data.as_c_str()).call_on("mount(remount)", target)
}

/// Changes the propagation: one word of [`MountPropagationFlags`], with `REC` for the whole tree.
pub fn set_propagation(target: impl AsRef<Path>, change: MountPropagationFlags) -> Result<()> {
    let target = target.as_ref();
    rustix::mount::mount_change(target, change).call_on("mount(propagation)", target)
}

/// Unmounts the topmost mount at `target`. `EINVAL` if it is no mount point, `EBUSY` if in use.
pub fn unmount(target: impl AsRef<Path>, flags: UnmountFlags) -> Result<()> {
    let target = target.as_ref();
    rustix::mount::unmount(target, flags).call_on("umount2", target)
}

fn data_argument(data: &OsStr) -> rustix::io::Result<Option<CString>> {
    if data.is_empty() {
        return Ok(None);
    }
    if data.len() >= rustix::param::page_size() {
        return Err(Errno::TOOBIG);
    }
    CString::new(data.as_bytes()).map(Some).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn options_longer_than_a_page_are_refused() {
        let data = "x".repeat(rustix::param::page_size());
        let error = mount("none", "/nowhere", "tmpfs", MountFlags::empty(), &data).unwrap_err();
        assert_eq!(error.outcome(), Outcome::TooLarge);
        let error = remount("/nowhere", MountFlags::empty(), "a\0b").unwrap_err();
        assert_eq!(error.outcome(), Outcome::InvalidArgument);
    }
}
