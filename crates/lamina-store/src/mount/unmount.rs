//! Unmounting, which has to be patient: whoever looked into a mount a moment ago still holds it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lamina_core::{Error, Mount, Result};
use lamina_sys::fs::{self, OFlags};
use lamina_sys::mount::{self as sys, UnmountFlags};
use lamina_sys::mountinfo::{self, MountEntry};
use lamina_sys::{Outcome, SysError};

use super::error::failed;
use super::plan::{Plan, plan};

/// When a mount goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Now, or an error: after it nothing can be written any more.
    Plain,
    /// Out of sight now, for good when its last user is gone. Never for snapshots.
    Detach,
}

/// Unmounts the topmost mount at `target`. Tries again while it is busy, for 2.5 s in all. Nothing
/// mounted there is no error.
///
/// # Errors
/// Unavailable for a mount that stays in use, NotFound for a missing path; the message names the
/// mount point.
pub fn unmount(target: &Path, how: How) -> Result<()> {
    match patiently(target, how) {
        Err(error) if error.outcome() == Outcome::InvalidArgument => Ok(()),
        result => result.map_err(|error| named(error, target)),
    }
}

/// Unmounts everything that is stacked at `target`. An empty or missing path is no error.
///
/// # Errors
/// Those of [`unmount`].
pub fn unmount_all(target: &Path, how: How) -> Result<()> {
    if target.as_os_str().is_empty() {
        return Ok(());
    }
    loop {
        match patiently(target, how) {
            Ok(()) => {}
            Err(error) if error.outcome() == Outcome::InvalidArgument || error.is_not_found() => {
                return Ok(());
            }
            Err(error) => return Err(named(error, target)),
        }
    }
}

/// Unmounts everything at and below `target`: what was mounted last and has nothing on it first. A
/// missing path is no error.
///
/// # Errors
/// That of the first mount that stays. What it is mounted on stays too and is not tried; the rest
/// goes all the same.
pub fn unmount_recursive(target: &Path, how: How) -> Result<()> {
    let real = match target.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let what = format!("unmount everything below {}", target.display());
            return Err(Error::internal(what).with_source(error));
        }
    };
    let mut left = mountinfo::read().map_err(|error| named(error, target))?;
    left.retain(|entry| entry.mount_point.starts_with(&real));
    let mut first = Ok(());
    // A mount that covers the way to an older one has to go before it, though its path is shorter;
    // so it is not the length of the path that counts.
    while let Some(at) = left.iter().rposition(|mount| !left.iter().any(|on| is_on(on, mount))) {
        let entry = left.remove(at);
        let Err(error) = unmount(&entry.mount_point, how) else { continue };
        let mut below = entry.parent;
        while let Some(at) = left.iter().position(|mount| mount.id == below) {
            below = left.remove(at).parent;
        }
        if first.is_ok() {
            first = Err(error);
        } else {
            tracing::warn!("{}", error.chain());
        }
    }
    first
}

fn is_on(mount: &MountEntry, other: &MountEntry) -> bool {
    mount.parent == other.id && mount.id != other.id
}

/// Undoes what mounting `mounts` at `target` did, last one first.
///
/// # Errors
/// The first one met; the rest is unmounted all the same.
pub fn unmount_mounts(mounts: &[Mount], target: &Path, how: How) -> Result<()> {
    let mut first = Ok(());
    // A remount put nothing there.
    let is_mount = |mount: &&Mount| !matches!(plan(mount), Ok(Plan::Remount(_)));
    for mount in mounts.iter().rev().filter(is_mount) {
        let result = if mount.target.is_empty() {
            unmount(target, how)
        } else {
            unmount_below(target, &mount.target, how)
        };
        if first.is_ok() {
            first = result;
        } else if let Err(other) = result {
            tracing::warn!("{}", other.chain());
        }
    }
    first
}

/// Unmounts what is mounted at a sub-path, found as it was when it was mounted.
fn unmount_below(target: &Path, below: &str, how: How) -> Result<()> {
    let what = || format!("find mount point {below:?} in {}", target.display());
    let handle = fs::open_handle(target)
        .and_then(|root| fs::open_in_root(root, below, OFlags::PATH, 0))
        .map_err(|error| failed(error, what()))?;
    let path = std::fs::read_link(fs::fd_path(&handle))
        .map_err(|error| Error::internal(what()).with_source(error))?;
    // It would keep the mount busy.
    drop(handle);
    unmount(&path, how)
}

fn patiently(target: &Path, how: How) -> lamina_sys::Result<()> {
    // FUSE first by its own program, which also works for the user who mounted it.
    if fs::fs_info_of(target).is_ok_and(|info| info.magic == fs::space::magic::FUSE)
        && FUSE_HELPERS.iter().any(|program| runs(program, target))
    {
        return Ok(());
    }
    let flags = match how {
        How::Plain => UnmountFlags::empty(),
        How::Detach => UnmountFlags::DETACH,
    };
    let mut tries = 1;
    loop {
        match sys::unmount(target, flags) {
            Err(error) if error.is_busy() && tries < TRIES => tries += 1,
            result => return result,
        }
        std::thread::sleep(PAUSE);
    }
}

fn runs(program: &str, target: &Path) -> bool {
    Command::new(program)
        .arg("-u")
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn named(error: SysError, target: &Path) -> Error {
    failed(error, format!("unmount {}", target.display()))
}

/// As containerd: a container's last process needs a moment to let go of its rootfs.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(50);

/// Of fuse 3 and fuse 2.
const FUSE_HELPERS: [&str; 2] = ["fusermount3", "fusermount"];
