//! Containers without a daemon, in containerd's shim.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lamina_core::Platform;
use lamina_testkit::image::{Flavor, ImageBuilder};
use lamina_testkit::or_skip;
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

use crate::environment::{TestEnvironment, says};

fn busybox() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |program: &str| {
        let mut found = std::env::split_paths(&path).map(|dir| dir.join(program));
        found.find(|file| file.is_file()).ok_or_else(|| format!("there is no {program}"))
    };
    find("runc")?;
    find("containerd-shim-runc-v2")?;
    if !Path::new("/sys/fs/cgroup").read_dir().is_ok_and(|mut dir| dir.next().is_some()) {
        return Err("there are no control groups".to_owned());
    }
    find("busybox")
}

/// A store, a registry with busybox, and a namespace whose control groups go in the end.
struct Lab {
    env: TestEnvironment,
    registry: TestRegistry,
    namespace: String,
}

impl Lab {
    fn new(busybox: &Path, name: &str) -> Lab {
        let registry = TestRegistry::start();
        let entries = ["sh", "echo", "sleep", "cat", "id"]
            .map(|applet| Entry::symlink(format!("bin/{applet}"), "busybox"));
        let files = [
            Entry::dir("bin"),
            Entry::dir("etc"),
            Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\nbob:x:7:8::/:/bin/sh\n"),
            Entry::file("bin/busybox", fs::read(busybox).unwrap()).mode(0o755),
        ];
        let image = ImageBuilder::new(Flavor::Oci)
            .platform(Platform::host())
            .layer(TarBuilder::archive(files.into_iter().chain(entries)))
            .config(json!({"Env": ["PATH=/bin"], "Cmd": ["echo", "from the image"]}))
            .build();
        registry.push("busybox", "1", &image);
        let env = TestEnvironment::new().with_snapshotter("overlayfs").on_tmpfs("size=256m");
        Lab { env, registry, namespace: format!("run-{name}-{}", std::process::id()) }
    }

    fn image(&self) -> String {
        format!("{}/busybox:1", self.registry.host())
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["-n", &self.namespace], args].concat()
    }

    fn ok(&self, args: &[&str]) -> String {
        self.env.ok(&self.args(args))
    }

    /// No container, snapshot, bundle, FIFO or control group is left.
    fn assert_clean(&self) {
        assert_eq!(self.ok(&["ps", "--all"]), "CONTAINER IMAGE PID STATUS\n");
        let active = self.ok(&["snapshot", "ls", "kind==active"]);
        assert_eq!(active, "KEY PARENT KIND\n");
        let state = self.env.temp().join("state");
        for place in ["fifo", &format!("io.containerd.runtime.v2.task/{}", self.namespace)] {
            let left = fs::read_dir(state.join(place)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{place}");
        }
    }
}

impl Lab {
    /// Whether a process has our namespace as an argument, which no other test has.
    fn has_shims(&self) -> bool {
        let ours = |process: fs::DirEntry| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mut arguments = line.split(|byte| *byte == 0);
            arguments.any(|argument| argument == self.namespace.as_bytes())
        };
        fs::read_dir("/proc").into_iter().flatten().flatten().any(ours)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let run = self.env.run(&self.args(&["ps", "--all"]));
            for id in run.stdout.lines().skip(1).filter_map(|line| line.split(' ').next()) {
                self.env.run(&self.args(&["rm", "-f", id]));
            }
        }
        // A shim ends some seconds after its task: nobody takes the last of its events.
        for _ in 0..300 {
            if !self.has_shims() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        // Where control groups are of version 1, there is one for each controller.
        let groups = Path::new("/sys/fs/cgroup");
        let _ = fs::remove_dir(groups.join(&self.namespace));
        for controller in fs::read_dir(groups).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(controller.path().join(&self.namespace));
        }
    }
}

#[test]
fn privileged_a_program_runs_and_its_end_is_ours() {
    let busybox = or_skip!("privileged_a_program_runs_and_its_end_is_ours", busybox());
    let lab = Lab::new(&busybox, "ends");
    let image = lab.image();
    let pulled = lab.env.run(&lab.args(&["run", "--rm", &image]));
    assert_eq!((pulled.code, pulled.stdout.as_str()), (0, "from the image\n"), "{}", pulled.stderr);

    let script = "echo out; echo err >&2; cat /mnt/file; echo $X; id -u; exit 3";
    let shared = lab.env.file("file", "shared\n");
    let volume = format!("{}:/mnt/file:ro", shared.display());
    let flags = ["run", "--rm", "-e", "X=y z", "-v", &volume, "-u", "bob", "--memory", "64m"];
    let run = lab.env.run(&lab.args(&[&flags[..], &[&image, "sh", "-c", script]].concat()));
    assert_eq!((run.code, run.stdout.as_str()), (3, "out\nshared\ny z\n7\n"), "{}", run.stderr);
    assert_eq!(run.stderr, "err\n");
    lab.assert_clean();

    // What cannot be made leaves nothing.
    for (flags, text) in [
        (&["-u", "nobody-here"][..], "nobody-here"),
        (&["--runtime", "io.none.v1"], "not installed"),
        (&["--workdir", "not/absolute"], "not/absolute"),
    ] {
        let args = [&["run", "--name", "c"], flags, &[&image, "id"]].concat();
        says(&lab.env.fails(&lab.args(&args)), &[text]);
        lab.assert_clean();
    }
    says(&lab.env.fails(&lab.args(&["run", "--name", "c", &image, "/none"])), &["/none"]);
    lab.assert_clean();
}

#[test]
fn privileged_a_container_is_left_running_stopped_and_removed() {
    let name = "privileged_a_container_is_left_running_stopped_and_removed";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "detached");
    let image = lab.image();
    lab.env.run(&lab.args(&["run", "--rm", &image]));
    let script = "trap 'exit 5' TERM; echo here >/mark; while :; do sleep 0.1; done";
    let run = ["run", "-d", "--name", "c", &image, "sh", "-c", script];
    assert_eq!(lab.ok(&run), "c\n");
    let listed = lab.ok(&["ps"]);
    assert!(listed.contains("c ") && listed.contains("RUNNING"), "{listed}");
    says(&lab.env.fails(&lab.args(&run)), &["container \"c\"", "already exists"]);

    // What is in use is not collected.
    lab.ok(&["prune"]);
    let exec = lab.env.run(&lab.args(&["exec", "c", "sh", "-c", "cat /mark; exit 4"]));
    assert_eq!((exec.code, exec.stdout.as_str(), exec.stderr.as_str()), (4, "here\n", ""));
    says(&lab.env.fails(&lab.args(&["rm", "c"])), &["running"]);
    assert_eq!(lab.ok(&["stop", "c"]), "c\n");
    assert_eq!(lab.ok(&["ps"]), "CONTAINER IMAGE PID STATUS\n");
    let listed = lab.ok(&["ps", "--all", "--format", "json"]);
    assert!(listed.contains("STOPPED") && listed.contains("\"ExitStatus\": 5"), "{listed}");
    assert_eq!(lab.ok(&["rm", "c"]), "c\n");
    lab.assert_clean();

    lab.ok(&["run", "-d", "--name", "d", &image, "sleep", "1000"]);
    assert_eq!(lab.ok(&["kill", "d"]), "d\n");
    assert_eq!(lab.ok(&["rm", "-f", "d"]), "d\n");
    lab.assert_clean();
}

#[test]
fn privileged_signals_are_sent_on_and_the_store_is_free_meanwhile() {
    let name = "privileged_signals_are_sent_on_and_the_store_is_free_meanwhile";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "signals");
    let image = lab.image();
    let script = "trap 'echo got it; exit 9' TERM; while :; do sleep 0.1; done";
    let args = lab.args(&["run", "--rm", "--name", "c", &image, "sh", "-c", script]);
    let mut command = lab.env.command(&args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !lab.env.run(&lab.args(&["ps"])).stdout.contains("RUNNING") {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not come to run");
        std::thread::sleep(Duration::from_millis(100));
    }
    // The shell sets its trap first.
    std::thread::sleep(Duration::from_secs(1));
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got it\n");
    lab.assert_clean();
}
