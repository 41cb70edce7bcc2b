//! Attributes of directories that a layer only implies, for a layer that was laid before the ones
//! below it were known.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use lamina_core::Result;
use lamina_sys::fs::{self, OFlags, Times};

use super::error;
use super::options::Target;
use super::tree::{copy_xattrs, model};

/// Gives each of `implied` ([`Applied::implied`](super::Applied::implied)) the owner, mode, times and
/// xattrs of the same directory in the trees below, as if these had been there when the layer was
/// laid. One that no tree below has stays as it is. Runs again without harm.
///
/// # Errors
/// Those of the disk, named after the directory.
pub fn inherit(target: &Target, implied: &[PathBuf]) -> Result<()> {
    const WHAT: &str = "give a directory the attributes it has below";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    for path in implied {
        let name = path.as_os_str();
        let Some((below, stat)) = model(&target.lowers, name.as_bytes())? else { continue };
        let dir = target.root.open_file(name, flags).map_err(|cause| error::sys(WHAT, cause))?;
        fs::set_owner(&dir, stat.uid, stat.gid).map_err(|cause| error::sys(WHAT, cause))?;
        copy_xattrs(&below, &dir).map_err(|cause| error::sys(WHAT, cause))?;
        fs::set_mode(&dir, stat.mode).map_err(|cause| error::sys(WHAT, cause))?;
        let times = Times { accessed: Some(stat.accessed), modified: Some(stat.modified) };
        fs::set_times(&dir, &times).map_err(|cause| error::sys(WHAT, cause))?;
    }
    Ok(())
}
