//! What Linux keeps a container apart by: namespaces, control groups, hidden paths, system calls.

use lamina_core::{Error, Result};
use serde_json::{Value, json};

use super::limits::CPU_PERIOD;
use super::{Network, Options, Target, clip, mount, seccomp};

/// Shown empty: they tell about the host, or change it.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];

/// Cannot be written.
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Character devices that may be used, by number: null, random, full, tty, zero, urandom, console, the
/// terminals of /dev/pts (all of 136), ptmx. The runtime makes those that all containers have.
const DEVICES: &[(u32, Option<u32>)] = &[
    (1, Some(3)),
    (1, Some(8)),
    (1, Some(7)),
    (5, Some(0)),
    (1, Some(5)),
    (1, Some(9)),
    (5, Some(1)),
    (136, None),
    (5, Some(2)),
];

const PROPAGATIONS: &[&str] =
    &["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

pub(super) fn of(target: &Target<'_>, options: &Options, capabilities: &[&str]) -> Result<Value> {
    let mut linux = json!({
        "cgroupsPath": cgroup(target, options)?,
        "namespaces": namespaces(target, options)?,
        "resources": resources(options),
    });
    if let Some(propagation) = &options.rootfs_propagation {
        if !PROPAGATIONS.contains(&propagation.as_str()) {
            let message = format!("{:?} is no propagation of mounts", clip(propagation));
            return Err(Error::invalid_argument(message));
        }
        linux["rootfsPropagation"] = propagation.as_str().into();
    }
    match &options.privileged {
        Some(privileges) => {
            linux["devices"] = privileges.devices.iter().map(super::host::Device::spec).collect();
        }
        None => {
            linux["maskedPaths"] = MASKED.into();
            linux["readonlyPaths"] = READ_ONLY.into();
            if !options.seccomp_unconfined {
                linux["seccomp"] = seccomp::profile(target.arch, capabilities);
            }
        }
    }
    Ok(linux)
}

fn cgroup(target: &Target<'_>, options: &Options) -> Result<String> {
    let Some(path) = &options.cgroup else {
        return Ok(format!("/{}/{}", target.namespace, target.id));
    };
    // systemd's form is slice:prefix:name.
    let systemd = path.split(':').count() == 3 && !path.contains('/');
    if systemd { Some(path.clone()) } else { mount::clean(path) }.ok_or_else(|| {
        Error::invalid_argument(format!(
            "the control group {:?} is neither an absolute path without `..` nor slice:prefix:name",
            clip(path)
        ))
    })
}

fn namespaces(target: &Target<'_>, options: &Options) -> Result<Vec<Value>> {
    let mut all: Vec<Value> =
        ["pid", "ipc", "uts", "mount"].iter().map(|kind| json!({"type": kind})).collect();
    match &options.network {
        Network::Own => all.push(json!({"type": "network"})),
        Network::Host { .. } => {}
        Network::Path(path) if mount::clean(path).is_some() => {
            all.push(json!({"type": "network", "path": path}));
        }
        Network::Path(path) => {
            let message = format!("the network {:?} is not an absolute path", clip(path));
            return Err(Error::invalid_argument(message));
        }
    }
    // With version 1 the mounts show the container's groups only, without a namespace.
    if target.unified_cgroups && options.privileged.is_none() {
        all.push(json!({"type": "cgroup"}));
    }
    Ok(all)
}

fn resources(options: &Options) -> Value {
    let mut resources = json!({"devices": devices(options)});
    if let Some(limit) = options.memory {
        resources["memory"] = json!({"limit": limit});
    }
    if let Some(quota) = options.cpu_quota {
        resources["cpu"] = json!({"quota": quota, "period": CPU_PERIOD});
    }
    if let Some(limit) = options.pids {
        resources["pids"] = json!({"limit": limit});
    }
    resources
}

fn devices(options: &Options) -> Vec<Value> {
    let all = |allow: bool| json!({"allow": allow, "access": "rwm"});
    if options.privileged.is_some() {
        return vec![all(true)];
    }
    let mut rules = vec![all(false)];
    rules.extend(DEVICES.iter().map(|(major, minor)| {
        let mut rule = json!({"allow": true, "type": "c", "major": major, "access": "rwm"});
        if let Some(minor) = minor {
            rule["minor"] = (*minor).into();
        }
        rule
    }));
    rules
}
