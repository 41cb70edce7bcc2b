//! `lamina pull` before somebody's eyes: on a terminal, and interrupted in the middle.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lamina_core::Platform;
use lamina_testkit::env::skip::require_tool;
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::or_skip;
use lamina_testkit::registry::{Fault, On, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use rustix::process::Signal;

use crate::environment::{TestEnvironment, says};

/// A registry that sends the second of two layers slowly, and the reference of their image.
fn registry() -> (TestRegistry, Image, String) {
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer(TarBuilder::archive([Entry::file("small", "x")]))
        .layer_as(TarBuilder::archive([Entry::file("big", vec![7; 400_000])]), Compression::None)
        .build();
    let registry = TestRegistry::start();
    registry.push("app", "1", &image);
    let slow = Fault::Slow(40_000, Duration::from_millis(100));
    registry.fault(On::digest(&image.layers[1].digest), slow);
    let reference = format!("{}/app:1", registry.host());
    (registry, image, reference)
}

/// A run of the binary on a terminal of so many columns; what it prints on standard output goes
/// into the file `out`.
fn on_terminal(env: &TestEnvironment, columns: u32, args: &str, vars: &[(&str, &str)]) -> Child {
    let lamina = env!("CARGO_BIN_EXE_lamina");
    let line = format!("stty cols {columns} rows 24 echo && exec {lamina} {args} >out");
    let mut command = Command::new("script");
    let command = env.prepare(&mut command).env("TERM", "xterm").envs(vars.iter().copied());
    let command = command.args(["--quiet", "--return", "--echo", "never", "--command", &line]);
    let command = command.arg("/dev/null").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Reads until the screen has had `text` on it; all that came.
fn read_until(stdout: &mut ChildStdout, text: &str) -> String {
    let mut all = Vec::new();
    let mut block = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(text) {
        match stdout.read(&mut block).unwrap() {
            0 => break,
            read => all.extend(&block[..read]),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// What a terminal was told: rows of `columns` characters, and the final letters of the control
/// sequences between them.
fn rows(raw: &str, columns: usize) -> (Vec<String>, Vec<char>) {
    let (mut rows, mut controls, mut row) = (Vec::new(), Vec::new(), String::new());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let ends = match c {
            '\u{1b}' => {
                controls.extend(chars.by_ref().skip(1).find(char::is_ascii_alphabetic));
                true
            }
            c if c.is_control() => true,
            c => {
                row.push(c);
                row.chars().count() == columns
            }
        };
        if ends && !row.is_empty() {
            rows.push(std::mem::take(&mut row));
        }
    }
    rows.push(row);
    rows.retain(|row| !row.trim().is_empty());
    (rows, controls)
}

fn pull(reference: &str) -> String {
    format!("pull --plain-http --platform linux/amd64 {reference}")
}

#[test]
fn each_layer_has_a_line_on_a_terminal() {
    or_skip!("each_layer_has_a_line_on_a_terminal", require_tool("script"));
    for (columns, vars) in [(80, &[][..]), (40, &[]), (80, &[("NO_COLOR", "1")])] {
        let (env, (_registry, image, reference)) = (TestEnvironment::new(), registry());
        let mut child = on_terminal(&env, columns, &pull(&reference), vars);
        let raw = read_until(child.stdout.as_mut().unwrap(), "\0");
        assert!(child.wait().unwrap().success(), "{raw}");
        let (rows, controls) = rows(&raw, columns as usize);
        let layers: Vec<&str> = image.layers.iter().map(|l| &l.digest.hex()[..7]).collect();
        for row in &rows {
            let known = layers.iter().any(|layer| row.starts_with(&format!("{layer} ")));
            assert!(known, "{columns}: {row:?} is no layer's line, or the rest of one:\n{raw:?}");
        }
        let slow: Vec<&String> = rows.iter().filter(|row| row.starts_with(layers[1])).collect();
        for part in ["downloading", "extracting", "done", "/39", "K/s"] {
            assert!(slow.iter().any(|row| row.contains(part)), "{columns}: {part}: {rows:#?}");
        }
        // The cursor moves up and down, lines are cleared, and nothing is coloured or hidden.
        assert!(!controls.is_empty());
        assert!(controls.iter().all(|c| ['A', 'B', 'K'].contains(c)), "{controls:?}");
        assert!(raw.ends_with("\r\n"), "the next prompt has its own line: {raw:?}");
        let out = std::fs::read_to_string(env.temp().join("out")).unwrap();
        assert_eq!(out, format!("{reference} {}\n", image.root.digest));
    }
}

#[test]
fn quiet_is_quiet_on_a_terminal_and_a_dumb_one_has_lines() {
    or_skip!("quiet_is_quiet_on_a_terminal_and_a_dumb_one_has_lines", require_tool("script"));
    let (env, (_registry, image, reference)) = (TestEnvironment::new(), registry());
    let quiet = format!("{} --quiet", pull(&reference));
    let mut child = on_terminal(&env, 80, &quiet, &[]);
    assert_eq!(read_until(child.stdout.as_mut().unwrap(), "\0"), "");
    assert!(child.wait().unwrap().success());
    let out = std::fs::read_to_string(env.temp().join("out")).unwrap();
    assert_eq!(out, format!("{reference}\n"));
    let mut child = on_terminal(&env, 80, &pull(&reference), &[("TERM", "dumb")]);
    let raw = read_until(child.stdout.as_mut().unwrap(), "\0");
    assert!(child.wait().unwrap().success());
    says(&raw, &[&format!("layer-{} exists\r\n", image.layers[1].digest)]);
    assert!(!raw.contains('\u{1b}'), "{raw:?}");
}

/// Nothing names half an image, nothing is damaged, and the next pull goes on where this one was.
fn goes_on(env: &TestEnvironment, registry: &TestRegistry, image: &Image, reference: &str) {
    assert_eq!(env.ok(&["image", "ls", "-q"]), "");
    let snapshots = env.json(&["snapshot", "ls", "--format", "json"]);
    for snapshot in snapshots.as_array().unwrap() {
        assert_eq!(snapshot["Kind"], "Committed", "{snapshots}");
    }
    env.ok(&["fsck", "--verify"]);
    registry.clear_faults();
    registry.forget();
    let pull = pull(reference);
    let words: Vec<&str> = pull.split(' ').chain(["-q"]).collect();
    env.ok(&words);
    let layer = &image.layers[1];
    assert!(registry.bytes_sent(&layer.digest) < layer.size, "not all of it once more");
}

#[test]
fn ctrl_c_ends_a_pull_in_order() {
    or_skip!("ctrl_c_ends_a_pull_in_order", require_tool("script"));
    let (env, (registry, image, reference)) = (TestEnvironment::new(), registry());
    registry.clear_faults();
    let slow = Fault::Slow(40_000, Duration::from_millis(500));
    registry.fault(On::digest(&image.layers[1].digest), slow);
    let mut child = on_terminal(&env, 80, &pull(&reference), &[]);
    let stdout = child.stdout.as_mut().unwrap();
    // Two pieces of the slow layer are here.
    let before = read_until(stdout, "78K/39");
    child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let after = read_until(stdout, "\0");
    assert_eq!(child.wait().unwrap().code(), Some(130), "{after}");
    let raw = before + &after;
    says(
        &raw,
        &[
            "^C\r\nerror: pull ",
            &reference,
            "interrupted by SIGINT",
            "\r\nhint: what was received is kept",
        ],
    );
    assert!(!raw.contains("panicked"), "{raw}");
    assert!(!raw.contains("\u{1b}[?25l"), "the cursor was never hidden: {raw:?}");
    goes_on(&env, &registry, &image, &reference);
}

/// `command` once it asks for the slow layer.
fn in_the_middle(mut command: Command, registry: &TestRegistry, image: &Image) -> Child {
    let layer = &image.layers[1].digest;
    registry.clear_faults();
    registry.fault(On::digest(layer), Fault::Slow(40_000, Duration::from_millis(500)));
    let child = command.spawn().unwrap();
    eventually("somebody asks for the layer", || {
        registry.requests().iter().any(|request| request.path.contains(layer.as_str()))
    });
    // Three pieces of ten.
    std::thread::sleep(Duration::from_millis(1500));
    child
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed().as_secs() < 60, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(child: &Child, signal: Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_pull_that_a_signal_ends_ends_in_order() {
    for (signal, name, code) in [(Signal::TERM, "SIGTERM", 143), (Signal::HUP, "SIGHUP", 129)] {
        let (env, (registry, image, reference)) = (TestEnvironment::new(), registry());
        let pull = pull(&reference);
        let words: Vec<&str> = pull.split(' ').collect();
        let mut command = env.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = in_the_middle(command, &registry, &image);
        send(&child, signal);
        let run = env.finish(child.wait_with_output().unwrap());
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{}", run.stderr);
        says(&run.stderr, &["error: pull ", &reference, "interrupted by ", name]);
        assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
        goes_on(&env, &registry, &image, &reference);
    }
}

/// As nohup starts it: nobody's terminal ends it. And nobody reads what it says, so that it cannot end
/// in order; the second signal does not wait for that.
#[test]
fn a_second_signal_ends_a_pull_at_once() {
    let (env, (registry, image, reference)) = (TestEnvironment::new(), registry());
    let mut command = Command::new("sh");
    env.prepare(&mut command);
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_lamina")]);
    command.args(pull(&reference).split(' ')).arg("-q");
    let (unread, full) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&full, true).unwrap();
    while (&full).write(&[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&full, false).unwrap();
    command.stdout(Stdio::null()).stderr(full);
    let mut child = in_the_middle(command, &registry, &image);
    send(&child, Signal::HUP);
    send(&child, Signal::TERM);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(child.try_wait().unwrap(), None, "it waits for its reader");
    send(&child, Signal::TERM);
    let mut ended = None;
    eventually("it ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(143));
    drop(unread);
    goes_on(&env, &registry, &image, &reference);
}
