//! `lamina config`, and what of a configuration `serve` and others go by.

use std::time::{Duration, Instant};

use crate::environment::{TestEnvironment, says};

#[test]
fn what_is_dumped_says_the_same_when_it_is_read() {
    let env = TestEnvironment::new();
    env.file("more.toml", "[plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = \"native\"\n");
    env.file("config.toml", "version = 2\nimports = [\"more.*\"]\n[grpc]\naddress = \"/g\"\n");
    let first = env.ok(&["config", "dump"]);
    says(&first, &["version = 4\n", "address = \"/g\"\n", "snapshotter = \"native\"\n"]);
    says(&first, &["root = \"$TEMP/root\"\n"]);
    env.file("config.toml", first.replace("$TEMP", env.temp().to_str().unwrap()));
    assert_eq!(env.ok(&["config", "dump"]), first);
    // Every setting stands in the default too, with another value.
    let keys = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.into()).collect()
    };
    let default = env.ok(&["config", "default"]);
    says(&default, &["root = \"/var/lib/lamina\"\n", "# Where images and snapshots are kept.\n"]);
    assert_eq!(keys(&default), keys(&first));
}

#[test]
fn kubernetes_has_a_snapshotter_of_its_own() {
    let env = TestEnvironment::new();
    env.file(
        "config.toml",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"btrfs\"\n",
    );
    for (namespace, snapshotter) in [("k8s.io", "btrfs"), ("default", "overlayfs")] {
        let mut command = env.command(&["info", "-n", namespace]);
        let run = env.finish(command.env_remove("LAMINA_SNAPSHOTTER").output().unwrap());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        says(&run.stdout, &[&format!("Snapshotter: {snapshotter}\n")]);
    }
}

#[test]
fn a_daemon_is_as_likely_to_be_ended_as_configured() {
    let env = TestEnvironment::new();
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    let socket = env.temp().join("g.sock");
    env.file(
        "config.toml",
        format!("oom_score = 731\n[grpc]\naddress = {socket:?}\nuid = {uid}\ngid = {gid}\n"),
    );
    let mut daemon = env.command(&["serve"]).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while std::os::unix::net::UnixStream::connect(&socket).is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", daemon.id()));
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert_eq!(score.unwrap(), "731\n");
}

#[test]
fn a_daemon_without_a_required_plugin_says_so() {
    let env = TestEnvironment::new();
    env.file("config.toml", "required_plugins = [\"io.containerd.snapshotter.v1.zfs\"]\n");
    let run = env.run(&["serve"]);
    assert_eq!(run.code, 1);
    says(&run.stderr, &["required plugin io.containerd.snapshotter.v1.zfs", "zfs dataset"]);
}
