//! Names of capabilities.

use lamina_core::{Error, Result};

/// Those of a container, in containerd's order.
pub(super) const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All, by their number in the kernel (`linux/capability.h`).
const ALL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Those of a set as the kernel writes it: bit n is capability n. Unknown ones are left out.
pub(super) fn names(set: u64) -> Vec<&'static str> {
    let has = |(number, _): &(usize, &&str)| set >> number & 1 == 1;
    ALL.iter().enumerate().filter(has).map(|(_, name)| *name).collect()
}

/// Those of a container that is to have some more and some less than others, with or without `CAP_`,
/// in any case. Dropping `ALL` leaves those that are added; adding it, all but those that are dropped.
///
/// # Errors
/// InvalidArgument for a name that no capability has.
pub(super) fn chosen(
    add: &[String],
    drop: &[String],
    all: impl FnOnce() -> Result<Vec<&'static str>>,
) -> Result<Vec<&'static str>> {
    let mut some = DEFAULT.to_vec();
    if has_all(drop) {
        some.clear();
    }
    if has_all(add) {
        some = all()?;
    }
    for name in add.iter().filter(|name| !is_all(name)) {
        let found = find(name)?;
        if !some.contains(&found) {
            some.push(found);
        }
    }
    for name in drop.iter().filter(|name| !is_all(name)) {
        let found = find(name)?;
        some.retain(|known| *known != found);
    }
    Ok(some)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("all")
}

fn has_all(names: &[String]) -> bool {
    names.iter().any(|name| is_all(name))
}

fn find(name: &str) -> Result<&'static str> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let found = ALL.iter().find(|known| known.strip_prefix("CAP_") == Some(short));
    found
        .copied()
        .ok_or_else(|| Error::invalid_argument(format!("{:?} is no capability", super::clip(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_added_and_dropped() {
        let chosen = |add: &[&str], drop: &[&str]| {
            let strings =
                |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            chosen(&strings(add), &strings(drop), || Ok(vec!["CAP_KILL", "CAP_SYS_ADMIN"]))
        };
        assert_eq!(chosen(&[], &[]).unwrap(), DEFAULT);
        let more = chosen(&["sys_admin", "CAP_CHOWN"], &["kill", "NET_RAW"]).unwrap();
        assert_eq!(more.len(), DEFAULT.len() - 1);
        assert!(more.contains(&"CAP_SYS_ADMIN") && !more.contains(&"CAP_KILL"));
        assert_eq!(chosen(&["CAP_BPF"], &["ALL"]).unwrap(), ["CAP_BPF"]);
        assert_eq!(chosen(&["all"], &["kill"]).unwrap(), ["CAP_SYS_ADMIN"]);
        assert_eq!(chosen(&[], &["All"]).unwrap(), Vec::<&str>::new());
        for bad in ["", "CAP_", "CAP_NONE", "cap_cap_kill"] {
            assert!(chosen(&[bad], &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_set_is_read_by_the_kernels_numbers() {
        assert_eq!(names(0), Vec::<&str>::new());
        assert_eq!(names(1 << 21 | 1 << 40 | 1 << 63), ["CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]);
        // What /proc/self/status shows in a container of containerd or Docker.
        let mut default = DEFAULT.to_vec();
        default.sort_unstable();
        let mut set = names(0xa804_25fb);
        set.sort_unstable();
        assert_eq!(set, default);
    }
}
