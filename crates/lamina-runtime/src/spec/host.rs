//! What a privileged container gets: what this process has, and the host's devices.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lamina_core::{Error, Result};
use serde_json::{Value, json};

use super::capabilities;

/// Files that say who is who in a network.
pub const NETWORK_FILES: &[&str] = &["/etc/hosts", "/etc/resolv.conf"];

/// What a privileged container may do beyond others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Its capabilities, by name.
    pub capabilities: Vec<&'static str>,
    /// Its devices.
    pub devices: Vec<Device>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it lies, in the container as on the host.
    pub path: String,
    /// Whether it is a block device; otherwise a character device.
    pub block: bool,
    /// Its number: major and minor.
    pub number: (u32, u32),
    /// Its permissions.
    pub mode: u32,
    /// Its owner: user and group.
    pub owner: (u32, u32),
}

impl Privileges {
    /// The effective capabilities of this process, which are all that a runtime started by it could
    /// give away, and all devices in `/dev` but those that containers have of their own.
    ///
    /// # Errors
    /// Internal if `/proc` or `/dev` cannot be read.
    pub fn of_this_process() -> Result<Privileges> {
        let dev = Path::new("/dev");
        let devices = devices(dev).map_err(|error| unreadable("/dev", error))?;
        Ok(Privileges { capabilities: effective()?, devices })
    }
}

/// containerd's capabilities with those of `add` and without those of `drop`: names with or without
/// `CAP_`, in any case. `ALL` is what this process has; dropped, it goes before the others are added.
///
/// # Errors
/// InvalidArgument for a name that no capability has; Internal if `/proc` cannot be read.
pub fn capabilities(add: &[String], drop: &[String]) -> Result<Vec<&'static str>> {
    capabilities::chosen(add, drop, effective)
}

fn effective() -> Result<Vec<&'static str>> {
    let status = "/proc/thread-self/status";
    let text = fs::read_to_string(status).map_err(|error| unreadable(status, error))?;
    let set = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    let set = set.ok_or_else(|| Error::internal(format!("{status} has no CapEff")))?;
    Ok(capabilities::names(set))
}

impl Device {
    pub(super) fn spec(&self) -> Value {
        json!({
            "path": self.path,
            "type": if self.block { "b" } else { "c" },
            "major": self.number.0,
            "minor": self.number.1,
            "fileMode": self.mode,
            "uid": self.owner.0,
            "gid": self.owner.1,
        })
    }
}

fn unreadable(path: &str, error: io::Error) -> Error {
    Error::internal(format!("{path} cannot be read")).with_source(error)
}

/// Names directly in `/dev` that a container has of its own, or that are no devices.
const OWN: &[&str] = &["console", "fd", "mqueue", "pts", "shm"];

/// The devices of a directory and those below it, by path. What goes away meanwhile is left out.
fn devices(dev: &Path) -> io::Result<Vec<Device>> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dev)? {
        let entry = entry?;
        let own = entry.file_name().to_str().is_some_and(|name| OWN.contains(&name));
        if !own {
            todo.push(entry.path());
        }
    }
    while let Some(path) = todo.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let kind = metadata.file_type();
        if kind.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
        let (Some(text), true) = (path.to_str(), kind.is_block_device() || kind.is_char_device())
        else {
            continue;
        };
        let rdev = metadata.rdev();
        found.push(Device {
            path: text.to_owned(),
            block: kind.is_block_device(),
            number: (rustix::fs::major(rdev), rustix::fs::minor(rdev)),
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_this_machine() {
        let privileges = Privileges::of_this_process().unwrap();
        let null = privileges.devices.iter().find(|device| device.path == "/dev/null").unwrap();
        assert_eq!((null.block, null.number), (false, (1, 3)));
        let own = |device: &&Device| {
            ["/dev/console", "/dev/shm", "/dev/pts"].iter().any(|own| device.path.starts_with(own))
        };
        assert_eq!(privileges.devices.iter().find(own), None);
    }
}
