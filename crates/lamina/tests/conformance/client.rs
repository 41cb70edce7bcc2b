//! containerd's Go client and suites, from `tests/conformance` at the root of the repository.

use std::process::{Command, Stdio};

use lamina_testkit::daemon::{Daemon, Program};
use lamina_testkit::{or_skip, peers};

use crate::subject::{self, Shelf};

/// One run of the Go program.
pub(crate) struct Run {
    pub(crate) output: String,
    pub(crate) passed: bool,
}

/// Runs those tests of the Go program whose names match.
pub(crate) fn run(daemon: &Daemon, tests: &str, args: &[&str]) -> Result<Run, String> {
    let mut command = Command::new(peers::conformance()?);
    command.arg("-address").arg(daemon.address()).arg("-remote").arg(daemon.remote());
    command.args(["-test.v", "-test.timeout=5m", "-test.run", tests]).args(args);
    command.current_dir(daemon.dir()).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("conformance.test: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&text).into_owned();
    Ok(Run { output: output_text, passed: output.status.success() })
}

/// Fails unless all of `tests` pass, and there are as many as expected: a name that matches nothing
/// must not pass.
fn check(program: &Program, tests: &str, least: usize, args: &[&str]) -> Result<(), String> {
    peers::conformance()?;
    let shelf = Shelf::open()?;
    let daemon = Daemon::start(program);
    let reference = shelf.reference();
    let run = run(&daemon, tests, &[args, &["-image", &reference]].concat())?;
    let failed: Vec<&str> = run.output.lines().filter(|line| line.contains("--- FAIL")).collect();
    assert!(run.passed, "{failed:#?}\n{}", run.output);
    let passed = run.output.lines().filter(|line| line.contains("--- PASS")).count();
    assert!(passed >= least, "{passed} tests passed, not {least}\n{}", run.output);
    assert!(!run.output.contains("--- SKIP"), "{}", run.output);
    Ok(())
}

/// A test for each part of the Go program and each daemon.
macro_rules! client_tests {
    ($($part:ident: $tests:literal, $least:literal, $args:expr;)*) => {
        mod containerd {
            use super::*;
            $(#[test]
            fn $part() {
                let name = concat!("client_containerd_", stringify!($part));
                let program = or_skip!(name, subject::containerd2());
                or_skip!(name, check(&program, $tests, $least, $args));
            })*
        }
        mod lamina {
            use super::*;
            $(#[test]
            fn $part() {
                let name = concat!("client_lamina_", stringify!($part));
                let program = or_skip!(name, subject::lamina());
                or_skip!(name, check(&program, $tests, $least, $args));
            })*
        }
    };
}

client_tests! {
    snapshotter_suite_overlayfs: "^TestSnapshotterSuite$", 20, &["-snapshotter", "overlayfs"];
    snapshotter_suite_native: "^TestSnapshotterSuite$", 20, &["-snapshotter", "native"];
    content_suite: "^TestContent", 14, &[];
    images: "^(TestPull|TestUnpack)", 3, &[];
    collection: "^TestCollection$", 1, &[];
    namespaces: "^TestNamespaces$", 1, &[];
    events: "^TestEvents$", 1, &[];
    errors: "^TestErrors$", 35, &[];
    remote_snapshotter: "^TestRemoteSnapshotter$", 1, &[];
}
