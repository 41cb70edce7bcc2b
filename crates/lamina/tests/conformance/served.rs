//! `lamina snapshotter` as the proxy snapshotter of daemons: containerd of two generations, and ours.
//! Each pulls an image through it and runs a container on what it made.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lamina_testkit::containers::{busybox, image, processes_with, until};
use lamina_testkit::daemon::{Daemon, Program};
use lamina_testkit::disk::Mounted;
use lamina_testkit::env::skip::require_root;
use lamina_testkit::honest::HonestRegistry;
use lamina_testkit::{or_skip, peers};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::subject;

/// A served snapshotter. Dropped, it is told to end.
struct Served {
    child: Child,
    _mounted: Mounted,
    dir: TempDir,
}

impl Served {
    fn start(socket: &Path, driver: &str) -> Served {
        let dir = TempDir::new().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lamina"))
            .env_remove("LAMINA_CONFIG")
            .args(["--config", "/dev/null", "snapshotter", "--driver", driver, "--listen"])
            .arg(socket)
            .arg("--root")
            .arg(dir.path().join("root"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mounted = Mounted(dir.path().canonicalize().unwrap());
        let served = Served { child, _mounted: mounted, dir };
        until("it listens", || std::os::unix::net::UnixStream::connect(socket).is_ok());
        served
    }

    /// Snapshots that it has files of.
    fn snapshots(&self) -> usize {
        let dir = "root/io.containerd.snapshotter.v1.overlayfs/snapshots";
        std::fs::read_dir(self.dir.path().join(dir)).unwrap().count()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = self.child.wait();
        if !std::thread::panicking() {
            assert!(ended.unwrap().success());
        }
    }
}

/// One daemon with its client, and what of both is different between them.
struct Subject {
    program: Program,
    ctr: PathBuf,
    /// What makes `ctr` pull by itself.
    pull: &'static [&'static str],
    runtime: String,
}

fn subject_of(which: &str) -> Result<Subject, String> {
    require_root()?;
    let shim = "io.containerd.runc.v2".to_owned();
    Ok(match which {
        "1.6" => Subject {
            program: subject::containerd16()?,
            ctr: peers::containerd16()?.ctr,
            pull: &[],
            runtime: shim,
        },
        "2.3" => Subject {
            program: subject::containerd2()?,
            ctr: peers::containerd2()?.ctr,
            // A pull by this daemon goes to the snapshotters of its unpack_config alone.
            pull: &["--local"],
            runtime: peers::shim2()?.display().to_string(),
        },
        _ => Subject {
            program: subject::lamina()?,
            ctr: peers::containerd2()?.ctr,
            pull: &[],
            runtime: shim,
        },
    })
}

fn through(which: &str) -> Result<(), String> {
    let Subject { program, ctr, pull, runtime } = subject_of(which)?;
    let registry = HonestRegistry::start()?;
    registry.push("library/busybox", "1", &image(&busybox()?));
    let reference = format!("{}/library/busybox:1", registry.host());
    let daemon = Daemon::start(&program);
    let served = Served::start(&daemon.remote(), "overlayfs");
    let namespace = format!("served-{}-{}", which.replace('.', ""), std::process::id());
    let run = |args: &[&str]| {
        let output = Command::new(&ctr)
            .arg("--address")
            .arg(daemon.address())
            .args(["--namespace", &namespace])
            .args(args)
            .current_dir(daemon.dir())
            .stdin(Stdio::null())
            .env_remove("CONTAINERD_NAMESPACE")
            .env_remove("CONTAINERD_SNAPSHOTTER")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "ctr {args:?}: {out}{err}");
        out
    };
    let pull = [&["images", "pull", "--plain-http", "--snapshotter", "remote"], pull].concat();
    run(&[&pull[..], &[&reference]].concat());
    assert_eq!(served.snapshots(), 1, "the layer");

    let listed = run(&["snapshots", "--snapshotter", "remote", "list"]);
    assert_eq!(listed.lines().filter(|line| line.contains("Committed")).count(), 1, "{listed}");
    let script = "echo from $(cat /etc/group); echo x > /made; cat /made";
    let common = ["run", "--rm", "--snapshotter", "remote", "--runtime", &runtime];
    let said = run(&[&common[..], &[&reference, "box", "sh", "-c", script]].concat());
    assert_eq!(said, "from root:x:0:\nx\n");
    // The layer of the container goes with it, at the latest with the garbage.
    run(&["images", "remove", "--sync", &reference]);
    until("nothing is left behind the proxy", || served.snapshots() == 0);
    let _ = std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(&namespace));
    until("the shims end", || processes_with(&namespace).is_empty());
    Ok(())
}

#[test]
fn containerd16_pulls_and_runs_through_it() {
    or_skip!("containerd16_pulls_and_runs_through_it", through("1.6"));
}

#[test]
fn containerd2_pulls_and_runs_through_it() {
    or_skip!("containerd2_pulls_and_runs_through_it", through("2.3"));
}

#[test]
fn our_daemon_pulls_and_runs_through_it() {
    or_skip!("our_daemon_pulls_and_runs_through_it", through("lamina"));
}
