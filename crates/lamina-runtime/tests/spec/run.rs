//! runc takes the specs, and containers are as they say.

use std::fs;

use lamina_runtime::spec::{Mount, Network, Options, Privileges, limits};
use lamina_testkit::or_skip;

use crate::cage::{Cage, Said, unified};

const LOOK: &str = "\
busybox grep -E '^(Uid|Gid|Groups|CapEff|CapInh|NoNewPrivs|Seccomp):' /proc/self/status
echo cwd: $(busybox pwd)
echo host: $(busybox hostname)
echo env: $HOSTNAME $HOME $PATH
busybox touch /made 2>/dev/null && echo root: writable || echo root: read-only
busybox unshare -U busybox true 2>/dev/null && echo unshare: yes || echo unshare: no
echo files: $(busybox ulimit -n 2>/dev/null || ulimit -n)
(echo 1 > /proc/sys/vm/swappiness) 2>/dev/null && echo sysctl: written || echo sysctl: refused
";

fn ended(said: &Said) {
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
}

#[test]
fn privileged_a_container_is_as_its_spec_says() {
    let cage = or_skip!("privileged_a_container_is_as_its_spec_says", Cage::new());
    let said = cage.run(LOOK, Options::default());
    ended(&said);
    for (key, value) in [
        ("Uid:", "0\t0\t0\t0"),
        ("Gid:", "0\t0\t0\t0"),
        ("Groups:", "0"),
        ("CapEff:", "00000000a80425fb"),
        ("CapInh:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
        ("cwd:", "/"),
        ("root:", "writable"),
        ("unshare:", "no"),
        ("files:", "1024"),
        ("sysctl:", "refused"),
    ] {
        assert_eq!(said.value(key), value, "{key}");
    }
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(said.value("env:"), format!("0123456789ab /root {path}"));
    assert_eq!(said.value("host:"), "0123456789ab");
}

#[test]
fn privileged_a_user_with_limits_on_a_root_that_is_read_only() {
    let cage = or_skip!("privileged_a_user_with_limits_on_a_root_that_is_read_only", Cage::new());
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("shown"), "of the host").unwrap();
    let options = Options {
        user: Some("app".to_owned()),
        read_only: true,
        workdir: Some("/tmp".to_owned()),
        hostname: Some("small".to_owned()),
        memory: Some(limits::bytes("64m").unwrap()),
        cpu_quota: Some(limits::cpus("0.5").unwrap()),
        pids: Some(20),
        mounts: vec![
            Mount::bind(host.path().to_str().unwrap(), "/tmp/host", true).unwrap(),
            Mount::tmpfs("/scratch:size=1m,mode=1777").unwrap(),
        ],
        ..Options::default()
    };
    let files = match unified() {
        true => ["memory.max", "cpu.max", "pids.max"],
        false => ["memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us", "pids/pids.max"],
    };
    let mut script = LOOK.to_owned();
    for (key, file) in ["memory", "cpu", "pids"].iter().zip(files) {
        script.push_str(&format!("echo {key}: $(busybox cat /sys/fs/cgroup/{file})\n"));
    }
    script.push_str(
        "echo shown: $(busybox cat /tmp/host/shown)
        (echo > /tmp/host/shown) 2>/dev/null && echo bind: writable || echo bind: read-only
        echo > /scratch/file && echo scratch: writable
        busybox dd if=/dev/zero of=/scratch/big bs=1k count=2000 2>/dev/null || echo scratch-size: kept
        exit 7",
    );
    let said = cage.run(&script, options);
    assert_eq!((said.code, said.err.as_str()), (Some(7), ""), "{said:?}");
    for (key, value) in [
        ("Uid:", "1234\t1234\t1234\t1234"),
        ("Gid:", "1234\t1234\t1234\t1234"),
        ("Groups:", "77 1234"),
        ("CapEff:", "0000000000000000"),
        ("Seccomp:", "2"),
        ("cwd:", "/tmp"),
        ("host:", "small"),
        ("root:", "read-only"),
        ("unshare:", "no"),
        ("memory:", "67108864"),
        ("cpu:", if unified() { "50000 100000" } else { "50000" }),
        ("pids:", "20"),
        ("shown:", "of the host"),
        ("bind:", "read-only"),
        ("scratch:", "writable"),
        ("scratch-size:", "kept"),
    ] {
        assert_eq!(said.value(key), value, "{key} {said:?}");
    }
    assert!(said.value("env:").starts_with("small /home "), "{said:?}");
    assert_eq!(fs::read_to_string(host.path().join("shown")).unwrap(), "of the host");
}

#[test]
fn privileged_what_a_privileged_container_may_do() {
    let cage = or_skip!("privileged_what_a_privileged_container_may_do", Cage::new());
    let privileges = Privileges::of_this_process().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let of_host = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().to_owned()
    };
    // All that this one needs, without whose mounts in /etc nothing is found.
    let files = ["/etc/hosts".to_owned()].into();
    let options = Options {
        privileged: Some(privileges),
        network: Network::Host { files },
        ..Options::default()
    };
    // It says what it could, and changes nothing of the host's.
    let script = "
        busybox grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status
        busybox mount -t tmpfs tmpfs /home && echo mount: yes
        [ -w /proc/sys/vm/swappiness ] && echo sysctl: writable
        busybox cmp /etc/hosts /tmp/hosts && echo hosts: same
        (echo >> /etc/hosts) 2>/dev/null || echo hosts-file: read-only
        busybox [ -c /dev/null ] && echo null: there";
    let hosts = fs::read("/etc/hosts").unwrap();
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::write(copy.path(), &hosts).unwrap();
    let mount = Mount::bind(copy.path().to_str().unwrap(), "/tmp/hosts", true).unwrap();
    let said = cage.run(script, Options { mounts: vec![mount], ..options });
    ended(&said);
    for (key, value) in [
        ("CapEff:", of_host("CapEff:").as_str()),
        ("NoNewPrivs:", "0"),
        ("Seccomp:", &of_host("Seccomp:")),
        ("mount:", "yes"),
        ("sysctl:", "writable"),
        ("hosts:", "same"),
        ("hosts-file:", "read-only"),
        ("null:", "there"),
    ] {
        assert_eq!(said.value(key), value, "{key}");
    }
    assert_eq!(fs::read("/etc/hosts").unwrap(), hosts);
}
