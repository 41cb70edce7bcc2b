//! Containers in containerd's shim, from their begin to their end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use lamina_testkit::or_skip;

use crate::environment::says;
use crate::lab::{Lab, busybox};

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
        says(&lab.env.fails_with(125, &lab.args(&args)), &[text]);
        lab.assert_clean();
    }
    // The codes are a shell's for what is not there and for what is no program.
    for (program, code) in [("/none", 127), ("none", 127), ("/etc/passwd", 126), ("/etc", 126)] {
        let args = ["run", "--name", "c", &image, program];
        says(&lab.env.fails_with(code, &lab.args(&args)), &[program]);
        lab.assert_clean();
    }
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
    says(&lab.env.fails_with(125, &lab.args(&run)), &["container \"c\"", "already exists"]);

    // What is in use is not collected.
    lab.ok(&["prune"]);
    let exec = lab.env.run(&lab.args(&["exec", "c", "sh", "-c", "cat /mark; exit 4"]));
    assert_eq!((exec.code, exec.stdout.as_str(), exec.stderr.as_str()), (4, "here\n", ""));
    for (program, code) in [("none", 127), ("/etc/passwd", 126)] {
        says(&lab.env.fails_with(code, &lab.args(&["exec", "c", program])), &[program]);
    }
    let error = lab.env.fails(&lab.args(&["exec", "-u", "nobody-here", "c", "id"]));
    says(&error, &["nobody-here"]);
    assert!(!error.contains("hint"), "it is in no other namespace either: {error}");
    says(&lab.env.fails(&lab.args(&["rm", "c"])), &["running", "hint: `lamina stop`"]);
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

#[test]
fn privileged_a_container_that_runs_is_committed() {
    let name = "privileged_a_container_that_runs_is_committed";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "commit");
    let image = lab.image();
    lab.env.run(&lab.args(&["run", "--rm", &image]));
    // It writes all the time, and goes on afterwards.
    let script = "echo kept >/mark; while :; do echo more >>/log; done";
    lab.ok(&["run", "-d", "--name", "c", &image, "sh", "-c", script]);
    let log = || lab.env.run(&lab.args(&["exec", "c", "cat", "/log"])).stdout.len();
    await_growth(log);
    let change = r#"CMD ["cat", "/mark"]"#;
    let commit =
        ["commit", "-m", "why", "--author", "Me", "--change", change, "c", "registry.test/mine:1"];
    let digest = lab.ok(&commit);
    assert!(digest.starts_with("sha256:"), "{digest}");
    says(&lab.ok(&["ps"]), &["RUNNING"]);
    await_growth(log);
    assert_eq!(lab.ok(&["run", "--rm", "registry.test/mine:1"]), "kept\n");
    let shown = lab.ok(&["image", "inspect", "registry.test/mine:1"]);
    says(&shown, &["why", "Me"]);

    // It goes on after a commit that fails, too.
    lab.env.run(&lab.args(&["exec", "c", "sh", "-c", "echo >/.wh.x"]));
    says(&lab.env.fails(&lab.args(&["commit", "c", "registry.test/other:1"])), &[".wh.x"]);
    says(&lab.ok(&["ps"]), &["RUNNING"]);
    await_growth(log);
    lab.env.run(&lab.args(&["exec", "c", "sh", "-c", "> /.wh.x"]));
    says(&lab.env.fails(&lab.args(&["commit", "none", "registry.test/other:1"])), &["\"none\""]);
    lab.ok(&["stop", "-t", "0", "c"]);
    // One that does not run needs no pause.
    says(&lab.env.fails(&lab.args(&["commit", "c", "registry.test/other:1"])), &[".wh.x"]);
    lab.ok(&["rm", "c"]);
    lab.assert_clean();
}

fn await_growth(log: impl Fn() -> usize) {
    let (start, before) = (Instant::now(), log());
    while log() == before {
        assert!(start.elapsed() < Duration::from_secs(60), "it stands still");
    }
}
