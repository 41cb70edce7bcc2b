//! The system calls that a container may make: containerd's default profile.

mod table;

use serde_json::{Value, json};
use table::{ABIS, ALWAYS, BY_ARCH, BY_CAPABILITY};

/// The profile for a container with these capabilities on a processor (named as
/// `std::env::consts::ARCH` does). What it does not name fails with EPERM.
pub(super) fn profile(arch: &str, capabilities: &[&str]) -> Value {
    let mut rules = vec![allow(ALWAYS)];
    rules.extend(sockets());
    rules.extend(personalities());
    rules.extend(of(BY_ARCH, arch).map(|names| allow(names)));
    for (capability, names) in BY_CAPABILITY {
        if capabilities.contains(capability) {
            rules.push(allow(names));
        }
    }
    if !capabilities.contains(&"CAP_SYS_ADMIN") {
        rules.extend(clones(arch));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": of(ABIS, arch).copied().unwrap_or_default(),
        "syscalls": rules,
    })
}

fn of<'a, T>(table: &'a [(&str, T)], key: &str) -> Option<&'a T> {
    table.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn allow(names: &str) -> Value {
    let names: Vec<&str> = names.split_ascii_whitespace().collect();
    json!({"names": names, "action": "SCMP_ACT_ALLOW"})
}

/// `op` is libseccomp's name of a comparison of argument number `index` with `value`.
fn allow_if(name: &str, index: u32, op: &str, value: u64) -> Value {
    let arg = json!({"index": index, "value": value, "op": op});
    json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [arg]})
}

/// Address families of the host's hypervisor and of the kernel's ciphers.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// All families but those two. Rules for one call are alternatives, so both are left out by
/// allowing what lies below, between and above them.
fn sockets() -> [Value; 3] {
    [
        allow_if("socket", 0, "SCMP_CMP_LT", AF_ALG),
        allow_if("socket", 0, "SCMP_CMP_EQ", AF_ALG + 1),
        allow_if("socket", 0, "SCMP_CMP_GT", AF_VSOCK),
    ]
}

/// Linux, Linux for 32 bits, each also as Linux 2.6, and the question which it is.
fn personalities() -> [Value; 5] {
    [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]
        .map(|value| allow_if("personality", 0, "SCMP_CMP_EQ", value))
}

/// `CLONE_NEW…` of mount, cgroup, UTS, IPC, user, PID and network namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
const ENOSYS: u32 = 38;

/// Without CAP_SYS_ADMIN: processes and threads, but no namespaces. The flags of `clone3` lie in
/// memory where no filter sees them; told that there is no such call, programs use `clone`.
fn clones(arch: &str) -> [Value; 2] {
    // S/390 takes the stack first and the flags second.
    let index = if arch == "s390x" { 1 } else { 0 };
    // Masked: the value is the mask, and what is left must be the second value.
    let flags = json!({
        "index": index, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"
    });
    [
        json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]}),
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether one of the rules allows a call regardless of its arguments.
    fn allows(profile: &Value, name: &str) -> bool {
        profile["syscalls"].as_array().unwrap().iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW"
                && rule.get("args").is_none()
                && rule["names"].as_array().unwrap().iter().any(|n| n == name)
        })
    }

    #[test]
    fn what_a_capability_allows_comes_and_goes_with_it() {
        for (capability, names) in BY_CAPABILITY {
            for name in names.split_ascii_whitespace() {
                let with = profile("x86_64", &[capability]);
                assert!(allows(&with, name), "{capability} {name}");
                assert!(!allows(&profile("x86_64", &[]), name), "{name} without {capability}");
            }
        }
    }

    #[test]
    fn what_changes_the_host_or_reaches_around_it_is_for_nobody() {
        let capabilities: Vec<&str> = BY_CAPABILITY.iter().map(|(name, _)| *name).collect();
        let most = profile("x86_64", &capabilities);
        for name in [
            "add_key",
            "keyctl",
            "request_key",
            "io_uring_setup",
            "kexec_load",
            "kexec_file_load",
            "userfaultfd",
            "swapon",
            "pivot_root",
            "nfsservctl",
            "socket",
            "personality",
        ] {
            assert!(!allows(&most, name), "{name}");
        }
    }

    #[test]
    fn names_stand_once_and_in_order() {
        let names: Vec<&str> = ALWAYS.split_ascii_whitespace().collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        let lists = BY_ARCH.iter().chain(BY_CAPABILITY).map(|(_, names)| *names);
        for list in lists {
            let list: Vec<&str> = list.split_ascii_whitespace().collect();
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
            assert!(list.iter().all(|name| !names.contains(name)), "{list:?}");
        }
    }

    #[test]
    fn clone_makes_namespaces_only_for_an_administrator() {
        let of = |arch: &str, capabilities: &[&str]| {
            let profile = profile(arch, capabilities);
            let rules = profile["syscalls"].as_array().unwrap().clone();
            rules.into_iter().filter(|rule| rule["names"][0] == "clone").collect::<Vec<_>>()
        };
        assert_eq!(of("x86_64", &[])[0]["args"][0]["index"], 0);
        assert_eq!(of("x86_64", &[])[0]["args"][0]["value"], 2_114_060_288_u64);
        assert_eq!(of("s390x", &[])[0]["args"][0]["index"], 1);
        assert_eq!(of("x86_64", &["CAP_SYS_ADMIN"]), Vec::<Value>::new());
    }

    #[test]
    fn every_abi_of_this_machine_is_filtered() {
        let profile = profile(std::env::consts::ARCH, &[]);
        assert_ne!(profile["architectures"].as_array().unwrap().len(), 0);
    }
}
