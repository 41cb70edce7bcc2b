//! `lamina snapshotter`: its socket, its signals, and what it makes of namespaces.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail by panicking.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use lamina_client::Client;
use lamina_core::snapshot::{CommitOptions, Kind};
use lamina_core::{Host as _, Labels, Namespace, Scope};
use lamina_testkit::containers::until;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamina"));
    let config = std::env::var_os("LAMINA_CONFIG");
    assert!(config.is_none(), "a configuration of this machine");
    command.args(["--config", "/dev/null"]).args(args).stdin(Stdio::null());
    command
}

struct Served {
    child: Child,
    socket: PathBuf,
}

impl Served {
    fn start(dir: &Path) -> Served {
        let socket = dir.join("s");
        let root = dir.join("root").display().to_string();
        let args = ["snapshotter", "--driver", "native", "--root", &root, "--listen"];
        let child = command(&args).arg(&socket).spawn().unwrap();
        until("it listens", || UnixStream::connect(&socket).is_ok());
        Served { child, socket }
    }

    fn end(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(!self.socket.exists());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scope(namespace: &str) -> Scope {
    Scope::new(Namespace::new(namespace).unwrap())
}

fn refused(args: &[&str]) -> (Output, String) {
    let output = command(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, error)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_in_one_space_whatever_the_namespace() {
    let dir = TempDir::new().unwrap();
    let served = Served::start(dir.path());
    let client = Client::connect(&served.socket).await.unwrap();
    let one = client.snapshotter(&scope("one"), "some name").unwrap();
    let two = client.snapshotter(&scope("two"), "another").unwrap();
    let mounts = one.prepare("one/1/k", "", Labels::new()).await.unwrap();
    assert!(mounts[0].source.starts_with(dir.path().to_str().unwrap()), "{mounts:?}");
    assert_eq!(two.mounts("one/1/k").await.unwrap(), mounts);
    assert!(two.prepare("one/1/k", "", Labels::new()).await.unwrap_err().is_already_exists());
    two.commit("one/2/layer", "one/1/k", CommitOptions::default()).await.unwrap();
    assert_eq!(one.stat("one/2/layer").await.unwrap().kind, Kind::Committed);
    one.usage("one/2/layer").await.unwrap();
    one.view("one/3/v", "one/2/layer", Labels::new()).await.unwrap();
    // Nothing refers to them, and they stay over a restart.
    drop((one, two, client));
    served.end();
    let served = Served::start(dir.path());
    let client = Client::connect(&served.socket).await.unwrap();
    let three = client.snapshotter(&scope("three"), "third").unwrap();
    assert_eq!(three.stat("one/3/v").await.unwrap().parent, "one/2/layer");
    for key in ["one/3/v", "one/2/layer"] {
        three.remove(key).await.unwrap();
    }
    three.cleanup().await.unwrap();
    let left = dir.path().join("root/io.containerd.snapshotter.v1.native/snapshots");
    assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
    drop((three, client));
    served.end();
}

#[test]
fn a_socket_that_is_left_over_is_replaced_and_one_that_answers_is_not() {
    let dir = TempDir::new().unwrap();
    drop(UnixListener::bind(dir.path().join("s")).unwrap());
    let served = Served::start(dir.path());
    let (root, socket) = (dir.path().join("other"), served.socket.display().to_string());
    let root = root.display().to_string();
    let args = ["snapshotter", "--driver", "native", "--root", &root, "--listen", &socket];
    let (output, error) = refused(&args);
    assert!(!output.status.success() && error.contains("answers at"), "{error}");
    assert!(!dir.path().join("other").exists());
    served.end();
}

#[test]
fn what_cannot_be_served_says_why() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (root, socket) = (path("root"), path("s"));
    for (driver, why) in [("blockfile", "scratch_file"), ("nosuch", "\"nosuch\"")] {
        let args = ["snapshotter", "--driver", driver, "--root", &root, "--listen", &socket];
        let (output, error) = refused(&args);
        assert!(!output.status.success() && error.contains(why), "{driver}: {error}");
        assert!(!Path::new(&socket).exists());
    }
    let (output, error) = refused(&["snapshotter", "--driver", "native", "--listen", &socket]);
    assert!(!output.status.success() && error.contains("--root"), "{error}");
}
