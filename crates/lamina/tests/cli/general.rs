//! What holds for every verb: flags, variables, the configuration file, output that nobody reads.

use std::io::Read as _;
use std::process::Stdio;

use crate::environment::{TestEnvironment, says};

#[test]
fn help_names_every_group() {
    let env = TestEnvironment::new();
    let help = env.ok(&["--help"]);
    says(
        &help,
        &["content", "snapshot", "namespace", "lease", "--root", "LAMINA_ROOT", "--format"][..6],
    );
    let run = env.run::<&str>(&[]);
    assert_eq!(run.code, 2);
    says(&run.stderr, &["Usage: lamina"]);
    assert!(!env.root().exists(), "help made a store");
}

#[test]
fn version_is_what_clients_choose_by() {
    let env = TestEnvironment::new();
    let ours = env!("CARGO_PKG_VERSION");
    assert_eq!(env.ok(&["version"]), format!("lamina {ours}\nAPI    2.3.4+lamina.{ours}\n"));
    assert_eq!(env.ok(&["--version"]), format!("lamina 2.3.4+lamina.{ours}\n"));
    let json = env.json(&["version", "--format", "json"]);
    assert_eq!(json["API"], format!("2.3.4+lamina.{ours}"));
    assert!(!env.root().exists(), "version made a store");
}

#[test]
fn completions_know_the_verbs() {
    let env = TestEnvironment::new();
    for shell in ["bash", "zsh", "fish"] {
        says(&env.ok(&["completion", shell]), &["snapshot", "prepare", "snapshotter"]);
    }
    says(&env.misused(&["completion", "tcsh"]), &["tcsh", "bash"]);
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let env = TestEnvironment::new();
    let root = |name: &str| env.temp().join(name);
    let text = format!("version = 3\nroot = {:?}\n", root("by-file"));
    let config = env.file("other.toml", text);
    let info = |variable: bool, flag: bool| {
        let mut command = env.command(&["info", "--format", "json"]);
        command.env("LAMINA_CONFIG", &config);
        if !variable {
            command.env_remove("LAMINA_ROOT");
        }
        if flag {
            command.arg("--root").arg(root("by-flag"));
        }
        let run = env.finish(command.output().unwrap());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        json["Root"].as_str().unwrap().to_owned()
    };
    assert_eq!(info(false, false), "$TEMP/by-file");
    assert_eq!(info(true, false), "$TEMP/root");
    assert_eq!(info(true, true), "$TEMP/by-flag");
}

#[test]
fn settings_that_do_nothing_are_named() {
    let env = TestEnvironment::new();
    env.file(
        "config.toml",
        "disabled = 3\n[plugins.\"io.containerd.snapshotter.v1.zfs\"]\nx = 1\n",
    );
    let run = env.run(&["namespace", "ls"]);
    assert_eq!(run.code, 0);
    says(
        &run.stderr,
        &[
            "warning: $TEMP/config.toml: setting disabled is not supported",
            "warning: $TEMP/config.toml: setting plugins.\"io.containerd.snapshotter.v1.zfs\".x is",
        ],
    );
}

#[test]
fn a_bad_configuration_is_an_error() {
    let env = TestEnvironment::new();
    env.file("config.toml", "root = 7\n");
    says(&env.fails(&["ns", "ls"]), &["configuration file $TEMP/config.toml", "root must be"]);
    env.file("config.toml", "root = \n");
    says(&env.fails(&["ns", "ls"]), &["it is not TOML"]);
    std::fs::remove_file(env.temp().join("config.toml")).unwrap();
    says(&env.fails(&["ns", "ls"]), &["read the configuration file $TEMP/config.toml", "No such"]);
}

#[test]
fn a_daemon_that_is_named_and_is_not_there_is_an_error() {
    let env = TestEnvironment::new();
    let error = env.fails(&["content", "ls", "--address", "/nowhere/x.sock"]);
    says(&error, &["there is no socket /nowhere/x.sock", "hint: start a daemon"]);
    says(&env.fails(&["events"]), &["told by a daemon", "$TEMP/state/lamina.sock", "hint: start"]);
    assert!(!env.root().exists(), "a store was opened all the same");
}

/// The file alone of a socket is a daemon that is gone.
#[test]
fn a_socket_that_nobody_listens_on_is_no_daemon() {
    let env = TestEnvironment::new();
    std::fs::create_dir(env.temp().join("state")).unwrap();
    let socket = env.temp().join("state/lamina.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    env.ok(&["content", "ls"]);
}

#[test]
fn names_out_of_bounds_are_refused() {
    let env = TestEnvironment::new();
    says(&env.fails(&["-n", "a..b", "content", "ls"]), &["invalid namespace \"a..b\""]);
    let long = "x".repeat(77);
    says(&env.misused(&["namespace", "create", &long]), &["longer than 76"]);
    let error = env.fails(&["--snapshotter", "nope", "snapshot", "ls"]);
    says(&error, &["snapshotter not loaded: nope"]);
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let env = TestEnvironment::new();
    let zeros = env.file("zeros", vec![0u8; 8 << 20]);
    let digest = env.ok(&["content", "ingest", "z", zeros.to_str().unwrap()]);
    let mut command = env.command(&["content", "get", digest.trim()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [1u8; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let env = TestEnvironment::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = env.command(&["completion", "bash"]).stdout(full).output().unwrap();
    let run = env.finish(output);
    assert_eq!(run.code, 1);
    says(&run.stderr, &["error: write to standard output: No space left on device"]);
}

#[test]
fn debug_tells_on_stderr_only() {
    let env = TestEnvironment::new();
    let (quiet, told) = (env.run(&["ns", "ls"]), env.run(&["--debug", "ns", "ls"]));
    assert_eq!((quiet.code, told.code), (0, 0));
    assert_eq!(quiet.stdout, told.stdout);
    assert_eq!(quiet.stderr, "");
}
