//! All mounts of a container: those that every container has, and the user's.

use lamina_core::{Error, Result};
use serde_json::{Value, json};

use super::{Mount, Network, Options, mount};

/// Where, type, source, options; in the order in which they are made.
const DEFAULT: &[(&str, &str, &str, &[&str])] = &[
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ("/run", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
];

pub(super) fn of(options: &Options) -> Result<Vec<Value>> {
    let users = users(options)?;
    let replaced = |place: &str| users.iter().any(|mount| mount.destination() == place);
    let mut all = Vec::new();
    for (place, kind, source, flags) in DEFAULT {
        // A privileged container changes the host's settings and its own groups.
        let flags: Vec<&str> = match options.privileged {
            Some(_) if place.starts_with("/sys") => {
                flags.iter().map(|flag| if *flag == "ro" { "rw" } else { *flag }).collect()
            }
            _ => flags.to_vec(),
        };
        if !replaced(place) {
            all.push(spec(place, kind, source, &flags));
        }
    }
    if let Network::Host { files } = &options.network {
        for file in files.iter().filter(|file| !replaced(file)) {
            if mount::clean(file).as_ref() != Some(file) {
                let message = format!("the host's file {file:?} is not an absolute path");
                return Err(Error::invalid_argument(message));
            }
            all.push(spec(file, "bind", file, &["rbind", "ro"]));
        }
    }
    all.extend(users.into_iter().map(Mount::spec));
    Ok(all)
}

/// The user's, outer ones before those inside them, whatever order they came in.
fn users(options: &Options) -> Result<Vec<&Mount>> {
    let mut users: Vec<&Mount> = options.mounts.iter().collect();
    users.sort_by_key(|mount| mount.destination().split('/').count());
    for (index, mount) in users.iter().enumerate() {
        let place = mount.destination();
        if users[..index].iter().any(|other| other.destination() == place) {
            return Err(Error::invalid_argument(format!("there are two mounts at {place}")));
        }
    }
    Ok(users)
}

fn spec(place: &str, kind: &str, source: &str, flags: &[&str]) -> Value {
    json!({"destination": place, "type": kind, "source": source, "options": flags})
}
