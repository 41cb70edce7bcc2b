//! Whiteouts that hide nothing: overlayfs lists them, as names that are not there, in a directory that
//! only one layer has, or that is opaque. They are looked for where a layer wrote any.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lamina_core::Result;
use lamina_sys::fs::{self, FileKind, OFlags};

use super::error;
use super::inherit::{hides, model};
use super::options::Target;
use super::tree::{OPAQUE, is_other, stat};

/// Removes the whiteouts in those of `dirs` that the trees below have nothing for. Where there are none
/// below, that is not known yet, and only opaque directories count.
pub(super) fn remove_strays(target: &Target, dirs: &[PathBuf]) -> Result<()> {
    dirs.iter()
        .try_for_each(|path| remove_strays_in(target, path).map_err(|cause| error::at(path, cause)))
}

fn remove_strays_in(target: &Target, path: &Path) -> Result<()> {
    let failed = |cause| error::sys("remove whiteouts that hide nothing", cause);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = match target.root.open_file(path, flags) {
        Ok(dir) => dir,
        // Replaced by a later entry.
        Err(cause) if is_other(&cause) => return Ok(()),
        Err(cause) => return Err(failed(cause)),
    };
    let path = path.as_os_str().as_bytes();
    let mark = fs::xattr::get(&dir, OPAQUE).map_err(failed)?;
    let opaque = mark.as_deref() == Some(b"y") || hides(&target.root, path)?;
    if !opaque && (target.lowers.is_empty() || model(&target.lowers, path)?.is_some()) {
        return Ok(());
    }
    let times = stat(&dir)?.times();
    // All names first: some filesystems skip entries while others are being removed.
    let entries: lamina_sys::Result<Vec<_>> = fs::read_dir(&dir).map_err(failed)?.collect();
    for fs::DirEntry { name, .. } in entries.map_err(failed)? {
        let found = fs::stat_at(&dir, &name).map_err(failed)?;
        if found.kind == FileKind::CharDevice && found.rdev == (0, 0) {
            fs::remove_file(&dir, OsStr::new(&name)).map_err(failed)?;
        }
    }
    fs::set_times(&dir, &times).map_err(failed)
}
