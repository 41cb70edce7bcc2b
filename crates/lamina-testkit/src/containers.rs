//! What containers of busybox need: its program, a root or an image of it, a spec, and a look at what
//! they leave.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lamina_core::Platform;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::env::skip::{require_root, require_tool};
use crate::image::{Flavor, Image, ImageBuilder};
use crate::tar::{Entry, TarBuilder};

/// The programs of busybox that have a name of their own in the roots made here.
const APPLETS: [&str; 11] =
    ["sh", "cat", "echo", "env", "false", "id", "ls", "ps", "sleep", "stty", "true"];

/// The program of busybox, where containers can be run: as root, with runc and containerd's shim.
///
/// # Errors
/// The reason for a skip.
pub fn busybox() -> Result<PathBuf, String> {
    require_root()?;
    for tool in ["runc", "containerd-shim-runc-v2"] {
        require_tool(tool)?;
    }
    if !Path::new("/sys/fs/cgroup").read_dir().is_ok_and(|mut dir| dir.next().is_some()) {
        return Err("there are no control groups".to_owned());
    }
    require_tool("busybox")
}

/// Makes a root file system of busybox at `root`, unless it is there.
///
/// # Panics
/// When it cannot be made.
pub fn make_root(root: &Path, busybox: &Path) {
    if root.exists() {
        return;
    }
    for dir in ["bin", "proc", "dev", "etc", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
}

/// An image of busybox.
///
/// # Panics
/// When the program cannot be read.
pub fn image(busybox: &Path) -> Image {
    let applets = APPLETS.map(|applet| Entry::symlink(format!("bin/{applet}"), "busybox"));
    let files = [
        Entry::dir("bin"),
        Entry::dir("etc"),
        Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        Entry::file("etc/group", "root:x:0:\n"),
        Entry::dir("tmp"),
        Entry::file("bin/busybox", fs::read(busybox).unwrap()).mode(0o755),
    ];
    ImageBuilder::new(Flavor::Oci)
        .platform(Platform::host())
        .layer(TarBuilder::archive(files.into_iter().chain(applets)))
        .config(json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]}))
        .build()
}

/// An OCI spec that runs `script` in `root`, in the control group `/lamina-<namespace>-<id>`.
pub fn spec(root: &str, namespace: &str, id: &str, script: &str) -> String {
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "hostname": "box",
        "root": {"path": root},
        "process": process(script),
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"]},
        ],
        "linux": {"cgroupsPath": format!("/lamina-{namespace}-{id}")},
    });
    spec["linux"]["namespaces"] =
        ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind})).into();
    spec.to_string()
}

/// An OCI process that runs `script`, for an exec.
pub fn process(script: &str) -> serde_json::Value {
    let caps = ["CAP_KILL"];
    json!({
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
        "args": ["sh", "-c", script],
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
    })
}

/// A namespace that nobody else on this host has. Dropped, its shims and what runs in its control groups
/// are killed, if a test that failed has left any, and the groups go.
#[derive(Debug)]
pub struct Namespace(String);

impl Namespace {
    /// One whose name begins with `name`.
    pub fn new(name: &str) -> Namespace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Namespace(format!("{name}-{}-{number}", std::process::id()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Those of tasks that were deleted end by themselves, in a moment.
        let start = Instant::now();
        while !processes_with(&self.0).is_empty() && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        for pid in processes_with(&self.0).into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        // Where control groups are of version 1, there is one for each controller.
        let groups = Path::new("/sys/fs/cgroup");
        let below = fs::read_dir(groups).into_iter().flatten().flatten().map(|entry| entry.path());
        for place in below.chain([groups.to_owned()]) {
            remove_group(&place.join(&self.0));
        }
    }
}

/// Takes a control group away, with those below it and what runs in them.
fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    let start = Instant::now();
    while group.is_dir() && fs::remove_dir(group).is_err() {
        let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        // What is frozen does not die.
        for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            if group.join(file).exists() {
                let _ = fs::write(group.join(file), word);
            }
        }
        if start.elapsed() > Duration::from_secs(10) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes with `word` as one of their arguments: the shims of the namespace of that name.
pub fn processes_with(word: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended since.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Waits until `done`, for as long as anything here may take on a machine with other work.
///
/// # Panics
/// When it is not in two minutes; with `what`.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "not in two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
