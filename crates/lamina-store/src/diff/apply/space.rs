//! The room that a layer takes when it is laid through a mount.

use std::os::fd::{AsFd, OwnedFd};

use lamina_core::{Error, Mount, Result};
use lamina_sys::fs;

use super::ApplyOptions;
use crate::mount::temp::is_filesystem_of_its_own;
use crate::snapshot::driver::Driver;

/// The file system that a back end's images lie on, if it has some.
#[derive(Debug, Default)]
pub(crate) struct Space(Option<OwnedFd>);

impl Space {
    /// Of a back end.
    pub(crate) fn of(driver: &dyn Driver) -> Result<Space> {
        let open = |path: std::path::PathBuf| {
            fs::open_dir(&path).map_err(|error| {
                Error::internal(format!("open {}", path.display())).with_source(error)
            })
        };
        driver.space().map(open).transpose().map(Space)
    }

    /// Has what is to stay free looked at where the layer takes room: a small file system in an
    /// image may be filled to the brim.
    pub(crate) fn bound<'a>(&'a self, options: &mut ApplyOptions<'a>, mounts: &[Mount]) {
        if !is_filesystem_of_its_own(mounts) {
            return;
        }
        match &self.0 {
            Some(fd) => options.space = Some(fd.as_fd()),
            None => options.limits.free_bytes = 0,
        }
    }
}
