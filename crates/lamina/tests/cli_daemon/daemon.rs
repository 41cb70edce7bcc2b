//! What is different with a daemon.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::environment::{TestEnvironment, says};

#[test]
fn what_is_the_owners_is_told_so() {
    let env = TestEnvironment::new();
    for verb in ["df", "fsck"] {
        let parts =
            ["for the owner of the store", "$TEMP/state/lamina.sock", "hint: stop the daemon"];
        says(&env.fails(&[verb]), &parts);
    }
    env.ok(&["ns", "ls"]);
}

#[test]
fn the_daemon_of_another_store_is_not_asked() {
    let env = TestEnvironment::new();
    env.ok(&["snapshot", "prepare", "k"]);
    let other = env.temp().join("other");
    let error = env.fails(&["--root", other.to_str().unwrap(), "snapshot", "rm", "k"]);
    says(&error, &["has the store $TEMP/root, not $TEMP/other", "--state DIR"]);
    says(&env.ok(&["snapshot", "ls"]), &["k "]);
}

#[test]
fn info_version_and_plugins_are_the_daemons() {
    let env = TestEnvironment::new();
    let info = env.json(&["info", "--format", "json"]);
    assert_eq!(info["Root"], "$TEMP/root");
    assert_eq!(info["Address"], "$TEMP/state/lamina.sock");
    assert_eq!(info["DaemonVersion"], info["Version"]);
    assert_eq!(info["Snapshotters"]["native"], "ok");
    assert_eq!(info["UUID"].as_str().unwrap().len(), 36);
    says(&env.ok(&["version"]), &["\nAPI    ", "\ndaemon "]);
    let version = env.json(&["version", "--format", "json"]);
    assert_eq!(version["Daemon"]["API"], version["API"]);
    says(&env.ok(&["plugins", "ls"]), &["io.containerd.grpc.v1"]);
}

#[test]
fn prune_is_done_by_the_daemon() {
    let env = TestEnvironment::new();
    assert_eq!(env.ok(&["prune"]), "the daemon has freed what nothing refers to\n");
    assert_eq!(env.ok(&["ns", "ls", "-q"]), "", "it makes nothing");
    env.ok(&["snapshot", "prepare", "k"]);
    env.ok(&["snapshot", "prepare", "stays"]);
    env.ok(&["snapshot", "label", "k", "containerd.io/gc.root="]);
    env.ok(&["prune"]);
    assert_eq!(env.ok(&["snapshot", "tree"]), " stays\n");
    assert_eq!(env.ok(&["lease", "ls", "-q"]), "");
}

#[test]
fn events_are_printed_as_they_happen() {
    let env = TestEnvironment::new();
    let mut command = env.command(&["events", "topic~=^/namespaces/"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The subscription begins at some time after the start.
    let (line, lines) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || (lines.next().unwrap().unwrap(), lines));
        for n in 0.. {
            env.ok(&["ns", "create", &format!("n{n}"), "a=1"]);
            if reader.is_finished() || n > 200 {
                break;
            }
        }
        reader.join().unwrap()
    });
    says(&line, &[" /namespaces/create {\"labels\":{\"a\":\"1\"},\"name\":\"n"]);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(lines);
}

#[test]
fn flags_that_the_daemon_would_not_hear_of_are_refused() {
    let env = TestEnvironment::new();
    for flag in ["--durability=none", "--max-concurrent-downloads=2", "--skip-verify"] {
        let error = env.fails(&["pull", flag, "127.0.0.1:1/app"]);
        says(&error, &[flag.split('=').next().unwrap(), "cannot be asked of the daemon"]);
    }
}
