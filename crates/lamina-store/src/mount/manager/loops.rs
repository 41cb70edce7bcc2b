//! Type `loop`: a file as a block device for the mounts behind it, which name the mount point as
//! their device.
//!
//! The mount point is a symbolic link to the device. Until the link is there the device detaches
//! itself, so that a crash leaves no device that nothing names. After a crash between link and
//! device the link may name a device that has become another's, so a device is detached only if it
//! has our file.

use std::path::{Path, PathBuf};

use lamina_core::mount::ActiveMount;
use lamina_core::{Error, Mount, Result};
use lamina_sys::fs::{self, OFlags};
use lamina_sys::loopdev::{self, LoopDevice, LoopOptions};

use super::Handler;
use crate::mount::error::failed;

/// Attaches the source to a loop device; options `ro` and `direct-io`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopHandler;

impl Handler for LoopHandler {
    fn mount(&self, mount: &Mount, point: &Path, _earlier: &[ActiveMount]) -> Result<()> {
        let what = || format!("attach {} to a loop device", mount.source);
        let has = |word| mount.options.iter().any(|option| option == word);
        let read_only = has("ro");
        let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let options = LoopOptions { read_only, autoclear: true, direct_io: has("direct-io") };
        let device = fs::open_handle(&mount.source)
            .and_then(|handle| fs::reopen(&handle, access))
            .and_then(|file| LoopDevice::attach(&file, &mount.source, options))
            .map_err(|error| failed(error, what()))?;
        std::os::unix::fs::symlink(device.path(), point)
            .map_err(|error| Error::internal(what()).with_source(error))?;
        device.set_autoclear(false).map_err(|error| {
            // The device goes with this call, so the link must too; the first error is told.
            let _ = std::fs::remove_file(point);
            failed(error, what())
        })
    }

    fn unmount(&self, mount: &Mount, point: &Path) -> Result<()> {
        let what = || format!("detach {} from its loop device", mount.source);
        let internal = |error| Error::internal(what()).with_source(error);
        let device = match std::fs::read_link(point) {
            Ok(device) => device,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(internal(error)),
        };
        if let Some(number) = number(&device)
            && has_file(number, &mount.source).map_err(|error| failed(error, what()))?
        {
            LoopDevice::open(number, true)
                .and_then(|device| device.detach())
                .map_err(|error| failed(error, what()))?;
        }
        std::fs::remove_file(point).map_err(internal)
    }
}

/// The N of `/dev/loopN`.
fn number(device: &Path) -> Option<u32> {
    device.to_str()?.strip_prefix("/dev/loop")?.parse().ok()
}

/// Whether the device's file is, or was before it was deleted, the one at a path.
fn has_file(number: u32, path: &str) -> lamina_sys::Result<bool> {
    let Some(found) = loopdev::backing_file(number)? else { return Ok(false) };
    let path = PathBuf::from(path);
    let real = path.canonicalize().unwrap_or(path);
    let mut deleted = real.clone().into_os_string();
    deleted.push(" (deleted)");
    Ok(found == real || found == deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::testing::need_root;

    #[test]
    fn privileged_only_a_device_with_our_file_is_detached() {
        need_root!("privileged_only_a_device_with_our_file_is_detached");
        if !Path::new("/dev/loop-control").exists() {
            return eprintln!(
                "SKIP privileged_only_a_device_with_our_file_is_detached: no loop devices"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let mount = |name: &str| {
            let path = dir.path().join(name);
            std::fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
            Mount::new("loop", path.display().to_string(), ["ro"])
        };
        let (ours, other) = (mount("ours"), mount("other"));
        let [point, crashed] = ["0", "1"].map(|name| dir.path().join(name));
        LoopHandler.mount(&ours, &point, &[]).unwrap();
        let device = number(&std::fs::read_link(&point).unwrap()).unwrap();
        assert!(has_file(device, &ours.source).unwrap());
        assert!(!LoopDevice::open(device, true).unwrap().status().unwrap().autoclear);
        // As a crash leaves it when the device is given to another file soon after.
        std::os::unix::fs::symlink(format!("/dev/loop{device}"), &crashed).unwrap();
        LoopHandler.unmount(&other, &crashed).unwrap();
        assert!(crashed.symlink_metadata().is_err() && has_file(device, &ours.source).unwrap());

        std::fs::remove_file(&ours.source).unwrap();
        LoopHandler.unmount(&ours, &point).unwrap();
        assert!(!has_file(device, &ours.source).unwrap(), "a deleted file's device is left");
        LoopHandler.unmount(&ours, &point).unwrap();
        let missing = Mount::new("loop", "/no/such/file", ["ro"]);
        let error = LoopHandler.mount(&missing, &point, &[]).unwrap_err();
        assert!(error.is_not_found() && point.symlink_metadata().is_err());
    }
}
