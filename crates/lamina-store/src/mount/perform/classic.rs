//! By `mount(2)`: all options in one text of less than a page.
//!
//! Layers of overlay that are too long for a page are named relative to the directory they have in
//! common, from a thread that is there.

use std::path::Path;

use lamina_sys::mount::{self as sys, MountFlags, Recursive, UnmountFlags};
use lamina_sys::{Errno, SysError, fs, kernel, thread};

use super::place::Place;
use crate::mount::options::IdMaps;
use crate::mount::plan::{Bind, Filesystem, Parameters, Remount};

/// Binds `bind.source` at `place`, then gives the mount its flags, which the first call ignores.
pub(super) fn bind(bind: &Bind, place: &Place) -> lamina_sys::Result<()> {
    without_maps(bind.id_maps.as_ref())?;
    let kind = match bind.recursive {
        Recursive::No => MountFlags::BIND,
        Recursive::Yes => MountFlags::BIND | MountFlags::REC,
    };
    sys::mount(&bind.source, place.fd_path(), "", kind, "")?;
    if bind.flags.is_empty() {
        return Ok(());
    }
    // The path now leads to the new mount, while the descriptor still stands for what it covers.
    let changed = fs::fs_info_of(place.path()).and_then(|info| {
        // A remount sets all flags anew, and in a user namespace must not drop a locked one.
        let flags = MountFlags::BIND | bind.flags | info.locked_flags();
        sys::remount(place.path(), flags, "")
    });
    if changed.is_err() {
        // Rather no mount than one that can be written. The first error is the one to tell.
        let _ = sys::unmount(place.path(), UnmountFlags::DETACH);
    }
    changed
}

/// Mounts a file system at `place`.
pub(super) fn filesystem(plan: &Filesystem, place: &Place) -> lamina_sys::Result<()> {
    without_maps(plan.id_maps.as_ref())?;
    let target = place.fd_path();
    let call = |data: String| sys::mount(&plan.source, &target, &plan.kind, plan.flags, data);
    let layers = match &plan.parameters {
        Parameters::Words(words) => return call(words.join(",")),
        Parameters::Layers(layers) => layers,
    };
    let text = layers.text(None);
    if text.len() < kernel::page_size() {
        return call(text);
    }
    let common = layers.common();
    let text = layers.text(Some(&common));
    if common == Path::new("/") || text.len() >= kernel::page_size() {
        return Err(SysError::new("mount", Errno::TOOBIG).on("overlay").because(format!(
            "{} layers are {} bytes of options, and this kernel takes {}",
            layers.lower.len(),
            text.len(),
            kernel::page_size() - 1
        )));
    }
    thread::in_dir(fs::open_dir(&common)?, || call(text))?
}

/// Changes a mount.
pub(super) fn remount(change: &Remount, place: &Place) -> lamina_sys::Result<()> {
    let bind = if change.bind { MountFlags::BIND } else { MountFlags::empty() };
    sys::remount(place.path(), bind | change.flags, &change.data)
}

fn without_maps(maps: Option<&IdMaps>) -> lamina_sys::Result<()> {
    match maps {
        None => Ok(()),
        Some(_) => Err(SysError::new("mount_setattr", Errno::NOSYS)
            .because("id-mapped mounts need Linux 5.12 or later")),
    }
}
