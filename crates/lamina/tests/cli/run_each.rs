//! Containers from each snapshotter that can be mounted here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lamina_testkit::disk::{Disk, scratch_image};
use lamina_testkit::env::skip::{require_fs, require_tool};
use lamina_testkit::or_skip;
use lamina_testkit::tar::Entry;
use serde_json::json;
use tempfile::TempDir;

use crate::lab::{Lab, busybox};

/// A snapshotter, and what it takes to have it: its settings, and where it is if not in the store.
struct Snapshotter {
    name: &'static str,
    set_up: fn(&Path) -> Result<SetUp, String>,
}

type SetUp = (String, Option<Disk>);

/// A new one is a line here.
const SNAPSHOTTERS: &[Snapshotter] = &[
    Snapshotter { name: "overlayfs", set_up: |_| Ok(Default::default()) },
    Snapshotter { name: "native", set_up: |_| Ok(Default::default()) },
    Snapshotter { name: "btrfs", set_up: btrfs },
    Snapshotter { name: "blockfile", set_up: blockfile },
    Snapshotter { name: "erofs", set_up: |_| require_fs("erofs").map(|()| Default::default()) },
];

fn btrfs(_: &Path) -> Result<SetUp, String> {
    let disk = Disk::new("btrfs", 256 << 20, &[])?;
    Ok((format!("root_path = {:?}", disk.path().join("btrfs")), Some(disk)))
}

fn blockfile(folder: &Path) -> Result<SetUp, String> {
    let scratch = folder.join("scratch.img");
    scratch_image(&scratch, 64 << 20)?;
    Ok((format!("scratch_file = {scratch:?}"), None))
}

/// Those that work here. They outlive the store that uses them.
struct Ready {
    config: String,
    names: Vec<&'static str>,
    _disks: Vec<Disk>,
    _folder: TempDir,
}

impl Ready {
    fn new(test: &str) -> Ready {
        let folder = TempDir::new().unwrap();
        let (mut config, mut names, mut disks) = ("version = 2\n".to_owned(), vec![], vec![]);
        for Snapshotter { name, set_up } in SNAPSHOTTERS {
            match set_up(folder.path()) {
                Ok((settings, disk)) => {
                    let table = format!("[plugins.\"io.containerd.snapshotter.v1.{name}\"]");
                    config.push_str(&format!("{table}\n{settings}\n"));
                    names.push(*name);
                    disks.extend(disk);
                }
                Err(reason) => eprintln!("SKIP {test} over {name}: {reason}"),
            }
        }
        Ready { config, names, _disks: disks, _folder: folder }
    }

    /// Has each of them do something.
    fn each(&self, lab: &Lab, mut act: impl FnMut(&'static str)) {
        lab.env.file("config.toml", &self.config);
        for name in &self.names {
            act(name);
            let active = lab.ok(&["--snapshotter", name, "snapshot", "ls", "kind==active"]);
            assert_eq!(active, "KEY PARENT KIND\n", "{name}");
        }
        lab.assert_clean();
    }
}

#[test]
fn privileged_containers_run_from_each_snapshotter() {
    let name = "privileged_containers_run_from_each_snapshotter";
    let busybox = or_skip!(name, busybox());
    let ready = Ready::new(name);
    let lab = Lab::new(&busybox, "each");
    let image = lab.image();
    ready.each(&lab, |snapshotter| {
        let flags = ["--snapshotter", snapshotter, "run", "--rm", &image];
        let script = "echo $0 >/made; cat /made; exit 3";
        let run =
            lab.env.run(&lab.args(&[&flags[..], &["sh", "-c", script, snapshotter]].concat()));
        let want = (3, format!("{snapshotter}\n"));
        assert_eq!((run.code, run.stdout.clone()), want, "{snapshotter}: {}", run.stderr);
    });
}

#[test]
fn privileged_redis_runs_from_each_snapshotter() {
    let name = "privileged_redis_runs_from_each_snapshotter";
    let busybox = or_skip!(name, busybox());
    let mut files = vec![Entry::dir("data").mode(0o755)];
    for program in ["redis-server", "redis-cli"] {
        files.extend(with_libraries(&or_skip!(name, require_tool(program))));
    }
    let ready = Ready::new(name);
    let lab = Lab::new(&busybox, "redis");
    let command = ["redis-server", "--save", "", "--dir", "/data"];
    let image = lab.push("redis", files, json!({"Env": ["PATH=/bin"], "Cmd": command}));
    let ask = |words: &[&str]| {
        let args = [&["exec", "redis", "redis-cli", "--raw"], words].concat();
        lab.env.run(&lab.args(&args)).stdout
    };
    let answers = || {
        let begun = Instant::now();
        while ask(&["ping"]) != "PONG\n" {
            let log = || lab.env.run(&lab.args(&["logs", "redis"])).stdout;
            assert!(begun.elapsed() < Duration::from_secs(90), "it does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    ready.each(&lab, |snapshotter| {
        let run = ["--snapshotter", snapshotter, "run", "-d", "--name", "redis", &image];
        let run = lab.env.run(&lab.args(&run));
        assert_eq!((run.code, run.stdout.as_str()), (0, "redis\n"), "{}", run.stderr);
        answers();
        assert_eq!(ask(&["set", "from", snapshotter]), "OK\n");
        assert_eq!(ask(&["save"]), "OK\n");
        // It ends well when it is asked to, and finds what it has written when it begins again.
        lab.ok(&["stop", "-t", "60", "redis"]);
        let listed = lab.env.json(&lab.args(&["ps", "-a", "--format", "json"]));
        assert_eq!(listed[0]["ExitStatus"], 0, "{listed}");
        lab.ok(&["task", "start", "-d", "redis"]);
        answers();
        assert_eq!(ask(&["get", "from"]), format!("{snapshotter}\n"));
        lab.ok(&["rm", "-f", "redis"]);
    });
}

/// A program of this host in `bin`, and what it is linked with.
fn with_libraries(program: &Path) -> Vec<Entry> {
    let name = program.file_name().unwrap().to_str().unwrap();
    let mut files =
        vec![Entry::file(format!("bin/{name}"), fs::read(program).unwrap()).mode(0o755)];
    let linked = Command::new("ldd").arg(program).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = library.trim_start_matches('/').to_owned();
        files.push(Entry::file(name, fs::read(library).unwrap()).mode(0o755));
    }
    files
}
