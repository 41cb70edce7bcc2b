//! Runs the script and takes out of its output what is by chance.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use lamina_testkit::containers;
use lamina_testkit::daemon::{Daemon, Program};
use regex::Regex;

use super::script::Step;
use crate::subject::Shelf;

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) worked: bool,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// How many seconds one step may take.
const LIMIT: &str = "60";

/// What came of each of `steps`, on a new daemon.
pub(crate) fn run(program: &Program, ctr: &Path, shelf: &Shelf, steps: &[Step]) -> Vec<Outcome> {
    let daemon = Daemon::start(program);
    let dir = daemon.dir().join("client");
    std::fs::create_dir(&dir).unwrap();
    // The host's control groups and runc's records go by it.
    let namespace = containers::Namespace::new("ctr");
    let at = Place { daemon: &daemon, dir: &dir, ctr, namespace: namespace.name() };
    steps.iter().map(|step| run_step(&at, shelf, step)).collect()
}

/// Where steps run.
struct Place<'a> {
    daemon: &'a Daemon,
    dir: &'a Path,
    ctr: &'a Path,
    namespace: &'a str,
}

fn run_step(at: &Place<'_>, shelf: &Shelf, step: &Step) -> Outcome {
    let Place { daemon, dir, ctr, namespace } = *at;
    let script = format!("ctr() {{ \"$CTR\" --address \"$ADDRESS\" \"$@\"; }}\n{}", step.line);
    let chain = shelf.chain();
    // It ends what was started in the background too.
    let output = Command::new("timeout")
        .args(["--kill-after=1", LIMIT, "sh", "-c", &script])
        .current_dir(dir)
        .stdin(Stdio::null())
        .env("CTR", ctr)
        .env("ADDRESS", daemon.address())
        .env("DIR", dir)
        .env("REGISTRY", shelf.registry())
        .env("IMAGE", shelf.reference())
        .env("BUSYBOX", shelf.busybox())
        .env("NS", namespace)
        .env("MANIFEST", shelf.manifest().as_str())
        .env("LAYER", shelf.layer().as_str())
        .env("CHAIN", &chain[chain.len() - 1])
        .env("BASE", &chain[chain.len() - 2])
        // Clients read these.
        .env_remove("CONTAINERD_NAMESPACE")
        .env_remove("CONTAINERD_SNAPSHOTTER")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(namespace, "NAMESPACE");
        normal(&text, daemon.dir(), shelf.registry())
    };
    Outcome {
        worked: output.status.success(),
        output: text(&output.stdout),
        errors: reasons(&text(&output.stderr)),
    }
}

/// What may differ between two runs that are the same, and what stands for it.
static CHANCES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d( [A-Z]+)?)?", "TIME"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
        (r"\b(Less than a second|About a minute|\d+ (seconds?|minutes?))\b", "AGE"),
        // Leases and unpacking snapshots: nanoseconds and four signs.
        (r"\b\d{6,}-[A-Za-z0-9_-]{4}\b", "UNIQUE"),
        // Where a snapshot's files are.
        (r"DIR/root/[^ :,\x22]*/snapshots/\d+", "SNAPSHOT"),
        (r"(?m)^(elapsed|\S*: +\S+ +\|[+-]+\|).*\n", ""),
        (r"[0-9.]+ ?(ms|µs|s)\b", "DURATION"),
        (r"[ \t]+", " "),
        (r"(?m) $", ""),
    ];
    rules.map(|(pattern, stands)| (Regex::new(pattern).unwrap(), stands)).to_vec()
});

fn normal(text: &str, dir: &Path, registry: &str) -> String {
    let mut text = text.replace(&dir.display().to_string(), "DIR").replace(registry, "REGISTRY");
    for (pattern, stands) in CHANCES.iter() {
        text = pattern.replace_all(&text, *stands).into_owned();
    }
    sort_lists(&text)
}

/// Labels and the options of mounts come in any order.
fn sort_lists(text: &str) -> String {
    let sorted = |word: &str| {
        let mut items: Vec<&str> = word.split(',').collect();
        items.sort_unstable();
        items.join(",")
    };
    let line = |line: &str| line.split(' ').map(sorted).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Of every line of an error, what follows the last colon: the class that a client acts upon. The
/// words before are each program's own.
fn reasons(errors: &str) -> String {
    let reason = |line: &str| {
        let line = line.trim_end_matches('"');
        let reason = line.rsplit_once(": ").map_or(line, |(_, reason)| reason);
        // containerd says so in place of the class, which never comes then.
        let none = reason.starts_with("task ") && reason.ends_with(" not found");
        if none { "not found".to_owned() } else { reason.to_owned() }
    };
    // Warnings are about the host or the version of the daemon. A watcher of progress complains now
    // and then when the fetch that it watches has ended.
    let chance = |line: &&str| {
        [
            "level=warning",
            "active check failed",
            "failed to get content info\" error=\"context canceled",
        ]
        .iter()
        .any(|said| line.contains(said))
    };
    let lines = errors.lines().filter(|line| !chance(line));
    lines.map(reason).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_by_chance_is_taken_out() {
    let dir = Path::new("/tmp/d");
    for (text, expected) in [
        ("a   b\t2026-11-25T10:00:00.123456789Z ", "a b TIME"),
        ("2026-11-25 10:00:00.1 +0000 UTC", "TIME"),
        ("extract-123456789-aB_4 sha256:1", "extract-UNIQUE sha256:1"),
        ("upperdir=/tmp/d/root/x/snapshots/12/fs,a", "a,upperdir=SNAPSHOT/fs"),
        ("127.0.0.1:80/i done: 12.5ms", "REGISTRY/i done: DURATION"),
        ("18 B", "18 B"),
        ("5B 2 minutes b=1,a=1", "5B AGE a=1,b=1"),
    ] {
        assert_eq!(normal(text, dir, "127.0.0.1:80"), expected);
    }
    assert_eq!(
        reasons("level=warning msg=a\nctr: image \"a: b\": not found\nother"),
        "not found\nother"
    );
}
