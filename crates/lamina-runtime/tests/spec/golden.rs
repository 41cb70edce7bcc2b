//! Specs that were written down.

use lamina_core::Kind;
use lamina_core::oci::ExecConfig;
use lamina_runtime::spec::host::{Device, NETWORK_FILES};
use lamina_runtime::spec::{Mount, Network, Options, Privileges, TYPE_URL, User, build, to_any};
use serde_json::Value;

use crate::{ID, root, shell, spec, strings};

/// Compares without the system calls, which have tests of their own; answers those.
fn compare(mut spec: Value, golden: &str) -> Option<Value> {
    let seccomp = spec["linux"].as_object_mut().unwrap().remove("seccomp");
    let golden: Value = serde_json::from_str(golden).unwrap();
    for part in ["process", "mounts", "linux"] {
        assert_eq!(spec[part], golden[part], "{part}");
    }
    assert_eq!(spec, golden);
    seccomp
}

#[test]
fn an_image_alone() {
    let made = spec(&shell(), &root(), &Options::default(), false);
    let any = to_any(&made);
    assert_eq!(any.type_url, TYPE_URL);
    assert_eq!(serde_json::from_slice::<Value>(&any.value).unwrap(), made);
    let seccomp = compare(made, include_str!("golden/default.json"));
    assert_eq!(seccomp.unwrap()["defaultAction"], "SCMP_ACT_ERRNO");
}

#[test]
fn what_is_asked_for() {
    let config = ExecConfig {
        entrypoint: strings(&["/entry", "--flag"]),
        cmd: strings(&["default"]),
        env: strings(&["PATH=/opt/bin:/bin", "LANG=C"]),
        working_dir: "/image".to_owned(),
        volumes: ["/etc", "../../etc", "/var/lib/data"].map(str::to_owned).into(),
        exposed_ports: ["80/tcp".to_owned()].into(),
        ..ExecConfig::default()
    };
    let home = Some("/home/app".to_owned());
    let user = User { uid: 1000, gid: 100, groups: vec![100, 27], home };
    let options = Options {
        args: strings(&["given", "two words"]),
        env: strings(&["LANG=de", "EMPTY=", "NEW=1"]),
        mounts: vec![
            Mount::volume("/inner:/data/in:ro").unwrap(),
            Mount::parse("type=tmpfs,dst=/dev/shm,tmpfs-size=1m").unwrap(),
            Mount::bind("/outer", "/data", false).unwrap(),
            Mount::bind("/my/hosts", "/etc/hosts", true).unwrap(),
        ],
        workdir: Some("/srv//app/".to_owned()),
        hostname: Some("web".to_owned()),
        network: Network::Host { files: strings(NETWORK_FILES) },
        memory: Some(64 << 20),
        cpu_quota: Some(150_000),
        pids: Some(100),
        read_only: true,
        new_privileges: true,
        terminal: true,
        cgroup: Some("/custom/group".to_owned()),
        rootfs_propagation: Some("rslave".to_owned()),
        ..Options::default()
    };
    let seccomp = compare(spec(&config, &user, &options, true), include_str!("golden/asked.json"));
    assert!(seccomp.is_some());
    let unconfined = Options { seccomp_unconfined: true, ..options };
    let made = spec(&config, &user, &unconfined, true);
    assert_eq!(compare(made, include_str!("golden/asked.json")), None);
}

#[test]
fn privileged() {
    let device = |path: &str, block, number, gid| Device {
        path: path.to_owned(),
        block,
        number,
        mode: 0o660,
        owner: (0, gid),
    };
    let privileges = Privileges {
        capabilities: vec!["CAP_SYS_ADMIN"],
        devices: vec![
            device("/dev/kvm", false, (10, 232), 104),
            device("/dev/sda", true, (8, 0), 6),
        ],
    };
    let options = Options {
        privileged: Some(privileges),
        network: Network::Host { files: Vec::new() },
        ..Options::default()
    };
    let made = spec(&shell(), &root(), &options, true);
    assert_eq!(compare(made, include_str!("golden/privileged.json")), None);
}

#[test]
fn networks_and_groups_by_path() {
    let options = Options {
        network: Network::Path("/proc/7/ns/net".to_owned()),
        cgroup: Some("system.slice:lamina:box".to_owned()),
        ..Options::default()
    };
    let made = spec(&shell(), &root(), &options, false);
    let network = made["linux"]["namespaces"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(network, serde_json::json!({"type": "network", "path": "/proc/7/ns/net"}));
    assert_eq!(made["linux"]["cgroupsPath"], "system.slice:lamina:box");
    assert_eq!(made["hostname"], ID[..12]);
}

#[test]
fn what_no_runtime_would_take() {
    let namespace = lamina_core::Namespace::new("blue").unwrap();
    let target = lamina_runtime::spec::Target {
        namespace: &namespace,
        id: ID,
        arch: std::env::consts::ARCH,
        unified_cgroups: false,
    };
    let none = Options::default;
    let twice = vec![Mount::bind("/a", "/x", false).unwrap(), Mount::tmpfs("/x/").unwrap()];
    for (options, message) in [
        (Options { mounts: twice, ..none() }, "there are two mounts at /x"),
        (
            Options { cgroup: Some("../up".to_owned()), ..none() },
            "the control group \"../up\" is neither an absolute path without `..` nor slice:prefix:name",
        ),
        (
            Options { cgroup: Some("/a/../..".to_owned()), ..none() },
            "the control group \"/a/../..\" is neither an absolute path without `..` nor slice:prefix:name",
        ),
        (
            Options { rootfs_propagation: Some("all".to_owned()), ..none() },
            "\"all\" is no propagation of mounts",
        ),
        (
            Options { network: Network::Path("ns".to_owned()), ..none() },
            "the network \"ns\" is not an absolute path",
        ),
        (
            Options { network: Network::Host { files: strings(&["/etc/../x"]) }, ..none() },
            "the host's file \"/etc/../x\" is not an absolute path",
        ),
        (
            Options { workdir: Some("here".to_owned()), ..none() },
            "the working directory \"here\" is not an absolute path without `..`",
        ),
    ] {
        let error = build(&target, &shell(), &root(), &options).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::InvalidArgument, message));
    }
}
