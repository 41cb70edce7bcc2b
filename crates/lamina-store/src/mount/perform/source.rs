//! A file as the source of a mount: behind a loop device.

use lamina_core::Result;
use lamina_sys::fs::{self, OFlags};
use lamina_sys::loopdev::{LoopDevice, LoopOptions};
use lamina_sys::mount::MountFlags;

use crate::mount::error::failed;
use crate::mount::plan::Filesystem;

/// Attaches the source to a loop device if the plan wants one, and makes that the source. The
/// device detaches itself with its last user, so the answer must be held until the mount is made.
pub(super) fn attach_loop(plan: &mut Filesystem) -> Result<Option<LoopDevice>> {
    let Some(setup) = plan.loop_device else { return Ok(None) };
    let what = || format!("attach {} to a loop device", plan.source);
    let read_only = plan.flags.contains(MountFlags::RDONLY);
    let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
    // Opened twice, since the caller's path may be a link and open_at follows none.
    let file = fs::open_handle(&plan.source)
        .and_then(|handle| fs::reopen(&handle, access))
        .map_err(|error| failed(error, what()))?;
    let options = LoopOptions { read_only, autoclear: true, direct_io: setup.direct_io };
    let device =
        LoopDevice::attach(&file, &plan.source, options).map_err(|error| failed(error, what()))?;
    plan.source = device.path().display().to_string();
    Ok(Some(device))
}
