//! What the host gives a container, and what an image cannot get of it.

use std::process::Command;

use lamina_testkit::or_skip;
use serde_json::{Value, json};

use crate::environment::says;
use crate::lab::{Lab, busybox};

#[test]
fn privileged_an_images_labels_mean_nothing_to_the_host() {
    let name = "privileged_an_images_labels_mean_nothing_to_the_host";
    let busybox = or_skip!(name, busybox());
    let labels = json!({
        "containerd.io/restart.status": "running",
        "containerd.io/restart.policy": "always",
        "containerd.io/restart.loguri": "binary:///bin/touch?/etc/claimed",
        "containerd.io/gc.root": "1",
        "io.containerd.image.config.stop-signal": "KILL",
        "lamina.dev/root-of": "other",
        "nerdctl/name": "other",
        "maintainer": "somebody",
    });
    let config = json!({"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000"], "Labels": labels});
    let lab = Lab::with_config(&busybox, "claims", config);
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    lab.ok(&["run", "-d", "--name", "c", &image]);
    let info: Value = serde_json::from_str(&lab.ok(&["container", "info", "c"])).unwrap();
    let expected = json!({
        "maintainer": "somebody",
        "io.containerd.image.config.stop-signal": "SIGTERM",
    });
    assert_eq!(info["Labels"], expected);
    let images = lab.env.json(&lab.args(&["image", "ls", "--format", "json"]));
    assert!(!images.to_string().contains("restart"), "{images}");
    lab.ok(&["rm", "-f", "c"]);
    lab.assert_clean();
}

/// A mount namespace where control groups are of version 2 only. Their controllers may be those of
/// version 1 on this host; what is counted and limited then is little, but it is made, found and removed.
#[test]
fn privileged_containers_run_where_control_groups_are_of_version_2() {
    let name = "privileged_containers_run_where_control_groups_are_of_version_2";
    let busybox = or_skip!(name, busybox());
    let unified = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let unified = unified.lines().any(|line| line.ends_with("\tcgroup2"));
    let () = or_skip!(name, unified.then_some(()).ok_or("the kernel has no cgroup2"));
    let lab = Lab::new(&busybox, "v2");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let script = "mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99; \
        l() { $LAMINA -n $NAMESPACE \"$@\" || exit 1; }; \
        l run -d --name c $IMAGE sleep 1000 && l exec c cat /proc/self/cgroup && \
        l task metrics c && l pause c && l ps && l task resume c && l stop -t 0 c && \
        l ps -a && l rm c";
    let mut command = Command::new("unshare");
    lab.env.prepare(&mut command).args(["--mount", "sh", "-c", script]);
    command.env("LAMINA", env!("CARGO_BIN_EXE_lamina")).env("NAMESPACE", &lab.namespace);
    command.env("IMAGE", &image).env("PATH", std::env::var_os("PATH").unwrap());
    let run = lab.env.finish(command.output().unwrap());
    let () = or_skip!(name, (run.code != 99).then_some(()).ok_or(run.stderr.clone()));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    says(&run.stdout, &["0::/", "METRIC", "PAUSED", "STOPPED"]);
    lab.assert_clean();
}
