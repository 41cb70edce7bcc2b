//! A store, a registry with busybox, and what tests of containers have in common.

use std::fs;
use std::path::{Path, PathBuf};

use lamina_core::Platform;
use lamina_testkit::image::{Flavor, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::{Value, json};

use crate::environment::TestEnvironment;

pub(crate) fn busybox() -> Result<PathBuf, String> {
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
pub(crate) struct Lab {
    pub(crate) env: TestEnvironment,
    registry: TestRegistry,
    pub(crate) namespace: String,
}

impl Lab {
    pub(crate) fn new(busybox: &Path, name: &str) -> Lab {
        Lab::with_config(
            busybox,
            name,
            json!({"Env": ["PATH=/bin"], "Cmd": ["echo", "from the image"]}),
        )
    }

    /// With another config of the image.
    pub(crate) fn with_config(busybox: &Path, name: &str, config: Value) -> Lab {
        let env = TestEnvironment::new().with_snapshotter("overlayfs").on_tmpfs("size=256m");
        let namespace = format!("run-{name}-{}", std::process::id());
        let lab = Lab { env, registry: TestRegistry::start(), namespace };
        let entries =
            ["sh", "echo", "sleep", "cat", "id", "stty", "tty", "env", "hostname", "grep", "mount"]
                .map(|applet| Entry::symlink(format!("bin/{applet}"), "busybox"));
        let files = [
            Entry::dir("bin"),
            Entry::dir("etc"),
            Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\nbob:x:7:8::/:/bin/sh\n"),
            Entry::file("bin/busybox", fs::read(busybox).unwrap()).mode(0o755),
        ];
        lab.push("busybox", files.into_iter().chain(entries), config);
        lab
    }

    /// Puts an image of one layer into the registry; answers its name.
    pub(crate) fn push(
        &self,
        name: &str,
        files: impl IntoIterator<Item = Entry>,
        config: Value,
    ) -> String {
        let image = ImageBuilder::new(Flavor::Oci)
            .platform(Platform::host())
            .layer(TarBuilder::archive(files))
            .config(config)
            .build();
        self.registry.push(name, "1", &image);
        format!("{}/{name}:1", self.registry.host())
    }

    pub(crate) fn image(&self) -> String {
        format!("{}/busybox:1", self.registry.host())
    }

    pub(crate) fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["-n", &self.namespace], args].concat()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.env.ok(&self.args(args))
    }

    /// No container, snapshot, bundle, FIFO or log is left.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.left(), "");
    }

    /// What there is of containers, snapshots, bundles, FIFOs and logs.
    pub(crate) fn left(&self) -> String {
        let mut left = String::new();
        for listing in [&["ps", "--all"][..], &["task", "ls"], &["snapshot", "ls", "kind==active"]]
        {
            left.extend(self.ok(listing).lines().skip(1).map(|line| format!("{line}\n")));
        }
        let bundles = format!("state/io.containerd.runtime.v2.task/{}", self.namespace);
        let logs = self.env.root().join("containers").join(&self.namespace);
        for place in [self.env.temp().join(bundles), logs] {
            let entries = fs::read_dir(&place).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| format!("{}\n", entry.path().display())));
        }
        left
    }
}

impl Lab {
    /// Processes that have our namespace as an argument, which no other test has.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let ours = |process: &fs::DirEntry| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mut arguments = line.split(|byte| *byte == 0);
            arguments.any(|argument| argument == self.namespace.as_bytes())
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter(ours)
            .filter_map(|found| found.file_name().to_str()?.parse().ok())
            .collect()
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
            if self.shims().is_empty() {
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
