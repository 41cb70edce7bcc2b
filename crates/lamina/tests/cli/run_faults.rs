//! Containers that cannot be made, that are cut short, and shims that never answer: nothing is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lamina_testkit::or_skip;
use rustix::process::{Pid, Signal, kill_process};

use crate::environment::says;
use crate::lab::{Lab, busybox};

/// A program that is none of those it is named after.
fn script(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.env.file(name, format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|file| file.is_file()).unwrap()
}

/// containerd's shim under its name, which looks for programs elsewhere first; its path.
fn with_path(lab: &Lab, first: &Path) -> String {
    let folder = lab.env.temp().join("shims");
    fs::create_dir_all(&folder).unwrap();
    let path = match first.exists() {
        true => format!("{}:{}", first.display(), std::env::var("PATH").unwrap()),
        false => first.display().to_string(),
    };
    let shim = find("containerd-shim-runc-v2");
    let text = format!("PATH={path} exec {} \"$@\"", shim.display());
    let script = script(lab, "shims/containerd-shim-runc-v2", &text);
    script.to_str().unwrap().to_owned()
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[track_caller]
fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A shim that nobody ends stays for good; others tell their last events for a while.
#[track_caller]
fn await_no_shims(lab: &Lab) {
    let begun = Instant::now();
    while !lab.shims().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{:?} go on", lab.shims());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn privileged_a_run_that_is_killed_leaves_what_rm_takes_away() {
    let name = "privileged_a_run_that_is_killed_leaves_what_rm_takes_away";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "killed");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    // Wherever it is by then.
    for millis in [5, 40, 80, 120, 180, 260, 400] {
        let args = lab.args(&["run", "-d", "--name", "c", &image, "sleep", "1000"]);
        let child = start(lab.env.command(&args));
        std::thread::sleep(Duration::from_millis(millis));
        kill(child);
        let begun = Instant::now();
        loop {
            let removed = lab.env.run(&lab.args(&["rm", "-f", "c"]));
            let absent =
                removed.stderr.contains("container \"c\"") && removed.stderr.contains("not found");
            assert!(removed.code == 0 || absent, "after {millis} ms: {}", removed.stderr);
            let left = lab.left();
            if left.is_empty() {
                break;
            }
            // A daemon finishes the call that the command was killed in, for nobody.
            let patience = Duration::from_secs(if crate::DAEMON { 90 } else { 0 });
            assert!(begun.elapsed() < patience, "after {millis} ms: {left}");
        }
    }
    let run = lab.env.run(&lab.args(&["run", "--rm", "--name", "c", &image]));
    assert_eq!((run.code, run.stdout.as_str()), (0, "from the image\n"), "{}", run.stderr);
    lab.assert_clean();
}

#[test]
fn privileged_what_is_made_for_nobody_is_taken_away() {
    let name = "privileged_what_is_made_for_nobody_is_taken_away";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "nobody");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let file = |name: &str| lab.env.temp().join(name);
    // A runc that waits until it is told to go on, which a daemon takes for a task being made.
    let wait = format!(
        "touch {}; while ! test -e {}; do sleep 0.1; done",
        file("begun").display(),
        file("go").display()
    );
    let runc = find("runc").display().to_string();
    let text = format!("case \"$*\" in *create*) {wait} ;; esac; exec {runc} \"$@\"");
    let fake = script(&lab, "runc", &text);
    let shim = with_path(&lab, fake.parent().unwrap());
    let args = ["run", "-d", "--name", "c", "--runtime", &shim, &image, "sleep", "1000"];
    let child = start(lab.env.command(&lab.args(&args)));
    wait_for(&file("begun"));
    kill(child);
    let remove = start(lab.env.command(&lab.args(&["rm", "-f", "c"])));
    std::thread::sleep(Duration::from_millis(500));
    fs::write(file("go"), "").unwrap();
    let removed = lab.env.finish(remove.wait_with_output().unwrap());
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    lab.assert_clean();
    await_no_shims(&lab);
}

#[test]
fn privileged_what_never_answers_is_killed_by_rm() {
    let name = "privileged_what_never_answers_is_killed_by_rm";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "hangs");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let begun = lab.env.temp().join("begun");
    let hang = format!("touch {}; while :; do sleep 0.1; done", begun.display());

    // A shim that does not come to answer where it is.
    let shim = script(&lab, "shim", &format!("case \"$*\" in *start) {hang} ;; esac"));
    let args = ["run", "--name", "c", "--runtime", shim.to_str().unwrap(), &image];
    let child = start(lab.env.command(&lab.args(&args)));
    wait_for(&begun);
    kill(child);
    assert_eq!(lab.ok(&["rm", "-f", "c"]), "c\n");
    lab.assert_clean();

    // One whose runc does not come to make the container.
    fs::remove_file(&begun).unwrap();
    let runc = find("runc").display().to_string();
    let text = format!("case \"$*\" in *create*) {hang} ;; *) exec {runc} \"$@\" ;; esac");
    let fake = script(&lab, "runc", &text);
    let shim = with_path(&lab, fake.parent().unwrap());
    let args = ["run", "--name", "c", "--runtime", &shim, &image];
    let child = start(lab.env.command(&lab.args(&args)));
    wait_for(&begun);
    kill(child);
    assert_eq!(lab.ok(&["rm", "-f", "c"]), "c\n");
    lab.assert_clean();
    await_no_shims(&lab);
}

#[test]
fn privileged_a_shim_that_stands_still_is_killed_by_rm() {
    let name = "privileged_a_shim_that_stands_still_is_killed_by_rm";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "still");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    // One that runs a container, and stops.
    lab.ok(&["run", "-d", "--name", "c", &image, "sleep", "1000"]);
    for pid in lab.shims() {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    }
    assert_eq!(lab.ok(&["rm", "-f", "c"]), "c\n");
    lab.assert_clean();

    // One that is dead is cleaned up after by whoever looks next; the container stays.
    lab.ok(&["run", "-d", "--name", "c", &image, "sleep", "1000"]);
    for pid in lab.shims() {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    assert_eq!(lab.ok(&["ps", "-q"]), "");
    assert_eq!(lab.ok(&["ps", "--all", "-q"]), "c\n");
    let run = lab.env.run(&lab.args(&["task", "start", "-d", "c"]));
    assert_eq!((run.code, run.stdout.as_str()), (0, "c\n"), "{}", run.stderr);
    assert_eq!(lab.ok(&["ps", "-q"]), "c\n");
    assert_eq!(lab.ok(&["rm", "-f", "c"]), "c\n");
    lab.assert_clean();
}

#[test]
fn privileged_what_cannot_be_made_leaves_nothing() {
    let name = "privileged_what_cannot_be_made_leaves_nothing";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "cannot");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let args = lab.args(&["run", "--name", "c", &image]);
    // A shim that finds no runc, and none at all.
    let shim = with_path(&lab, Path::new("/none"));
    for (shim, text) in [(shim.as_str(), "\"runc\""), ("io.none.v1", "containerd-shim-none-v1")] {
        let run = lab.env.run(&lab.args(&["run", "--name", "c", "--runtime", shim, &image]));
        assert_eq!(run.code, 125, "{}", run.stderr);
        says(&run.stderr, &["error: ", "\"c\"", text, "hint: containers need runc"]);
        lab.assert_clean();
    }

    // A disk without room.
    let filler = lab.env.root().join("filler");
    let mut dd = Command::new("dd");
    dd.args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display()));
    assert!(!dd.stderr(Stdio::null()).status().unwrap().success(), "it is not full");
    let run = lab.env.run(&args);
    fs::remove_file(&filler).unwrap();
    assert_eq!(run.code, 125, "{}", run.stderr);
    assert!(run.stderr.contains("error: "), "{}", run.stderr);
    lab.assert_clean();
    let run = lab.env.run(&lab.args(&["run", "--rm", "--name", "c", &image]));
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn privileged_who_is_not_root_is_told_so() {
    let name = "privileged_who_is_not_root_is_told_so";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "rootless");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamina"));
    command.env_clear().current_dir("/").uid(65534).gid(65534);
    match command.args(["run", &lab.image()]).output() {
        Ok(output) => {
            let run = lab.env.finish(output);
            assert_eq!(run.code, 125, "{}", run.stderr);
            says(&run.stderr, &["root only", "rootless containers", "not supported"]);
        }
        Err(error) => eprintln!("SKIP {name}: nobody can run it: {error}"),
    }
}
