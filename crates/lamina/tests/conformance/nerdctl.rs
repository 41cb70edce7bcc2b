//! nerdctl, unmodified: what it prints of a day's work, against containerd and against Lamina.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use lamina_testkit::containers::Namespace;
use lamina_testkit::daemon::{Daemon, Program};
use lamina_testkit::{or_skip, peers};
use regex::Regex;

use crate::subject::{self, Shelf};
use crate::table::{Section, Table};

/// A command, and a line for the shell that drives it. What has to fail begins with `!`.
const STEPS: &[(&str, &str)] = &[
    ("pull", "nerdctl pull -q $BUSYBOX >$DIR/out 2>&1"),
    ("pull", "! nerdctl pull -q $REGISTRY/library/absent:1 >$DIR/out 2>&1"),
    ("images", "nerdctl images --format '{{.Repository}} {{.Tag}}'"),
    (
        "run",
        "nerdctl run --rm --net none $BUSYBOX sh -c 'echo out; echo err >&2; sleep 1; exit 3'; echo $?",
    ),
    (
        "run",
        "nerdctl run --rm --net host -e A=b -w /etc --memory 64m $BUSYBOX sh -c 'echo $A; pwd; sleep 1'",
    ),
    ("run", "! nerdctl run --rm --net none $BUSYBOX /absent >$DIR/out 2>&1"),
    ("ps", "nerdctl ps -a --format '{{.Names}}'"),
    ("run -d", "nerdctl run -d --name one --net none $BUSYBOX sh -c 'echo up; exec sleep 1000'"),
    ("run -d", "nerdctl --snapshotter native run -d --name two --net host $BUSYBOX sleep 1000"),
    ("run -d", "! nerdctl run -d --name one --net none $BUSYBOX true >$DIR/out 2>&1"),
    (
        "run --restart",
        "nerdctl run -d --name three --net none --restart on-failure:1 $BUSYBOX sleep 1000",
    ),
    ("ps", "nerdctl ps --format '{{.Names}} {{.Status}}' | sort"),
    ("exec", "nerdctl exec one sh -c 'echo in; sleep 1; exit 4'; echo $?"),
    ("exec", "! nerdctl exec absent true"),
    ("logs", "until nerdctl logs one | grep -q up; do sleep 0.1; done; nerdctl logs one"),
    (
        "inspect",
        "nerdctl inspect --format '{{.Name}} {{.State.Status}} {{.State.Running}}' one two three",
    ),
    ("inspect", "nerdctl inspect --mode native --format '{{.Snapshotter}} {{.Image}}' two"),
    (
        "commit",
        "nerdctl exec one sh -c 'echo made >/committed' && nerdctl commit one $REGISTRY/committed:1 >$DIR/out 2>&1 \
         && nerdctl run --rm --net none $REGISTRY/committed:1 sh -c 'cat /committed; sleep 1'",
    ),
    ("push", "nerdctl push $REGISTRY/committed:1 >$DIR/out 2>&1"),
    (
        "save",
        "nerdctl save -o $DIR/saved.tar $REGISTRY/committed:1 && tar -tf $DIR/saved.tar | grep -c blobs",
    ),
    (
        "rmi",
        "nerdctl rmi -f $REGISTRY/committed:1 >$DIR/out 2>&1 && nerdctl images --format '{{.Repository}}'",
    ),
    (
        "load",
        "nerdctl load -i $DIR/saved.tar >$DIR/out 2>&1 && nerdctl images --format '{{.Repository}}' | sort",
    ),
    ("pull", "nerdctl pull -q $REGISTRY/committed:1 >$DIR/out 2>&1"),
    (
        "pause",
        "nerdctl pause one && nerdctl ps -a --format '{{.Names}} {{.Status}}' | grep one && nerdctl unpause one",
    ),
    ("stop", "nerdctl stop -t 1 one"),
    ("stop", "! nerdctl stop absent"),
    (
        "start",
        "nerdctl start one && nerdctl exec one sh -c 'echo again; sleep 1' && nerdctl kill one",
    ),
    ("rm", "nerdctl rm -f one"),
    ("rm", "! nerdctl rm two"),
    ("rm", "nerdctl rm -f two three && nerdctl ps -a -q"),
    ("rmi", "nerdctl rmi -f $BUSYBOX >$DIR/out 2>&1 && nerdctl images -q"),
];

const LIMIT: &str = "120";

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    worked: bool,
    output: String,
}

fn run(program: &Program, nerdctl: &Path, sure: bool) -> Result<Vec<Outcome>, String> {
    let shelf = Shelf::open()?;
    let daemon = Daemon::start(program);
    let dir = daemon.dir().join("client");
    std::fs::create_dir(&dir).unwrap();
    let namespace = Namespace::new("nerdctl");
    let step = |(_, line): &(&str, &str)| {
        let script = format!(
            "nerdctl() {{ \"$NERDCTL\" --address \"$ADDRESS\" --namespace $NS --data-root $DIR/data \
             --cgroup-manager cgroupfs --cni-netconfpath $DIR/cni --insecure-registry \"$@\"; }}\n{line}"
        );
        let output = Command::new("timeout")
            .args(["--kill-after=1", LIMIT, "sh", "-c", &script])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .env("NERDCTL", nerdctl)
            .env("NERDCTL_TOML", dir.join("none.toml"))
            .env("ADDRESS", daemon.address())
            .env("DIR", &dir)
            .env("NS", namespace.name())
            .env("REGISTRY", shelf.registry())
            .env("BUSYBOX", shelf.busybox())
            .env_remove("CONTAINERD_NAMESPACE")
            .env_remove("CONTAINERD_SNAPSHOTTER")
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout).replace(shelf.registry(), "REGISTRY");
        println!("$ {line}\n{text}{complaints}");
        let worked = output.status.success();
        assert!(worked || !sure, "the script itself is wrong: {line}: {text}{complaints}");
        Outcome { worked, output: normal(&text) }
    };
    Ok(STEPS.iter().map(step).collect())
}

/// Identifiers and times are by chance.
fn normal(text: &str) -> String {
    let id = Regex::new(r"\b([0-9a-f]{64}|[0-9a-f]{12})\b").unwrap();
    let ago =
        Regex::new(r"(\d+|Less than a|About a|About an) (second|minute|hour)s?( ago)?").unwrap();
    ago.replace_all(&id.replace_all(text, "ID"), "AGO").into_owned()
}

#[test]
fn nerdctl_works_as_with_containerd() {
    let name = "nerdctl_works_as_with_containerd";
    let nerdctl = or_skip!(name, peers::nerdctl());
    let (containerd, lamina) =
        (or_skip!(name, subject::containerd2()), or_skip!(name, subject::lamina()));
    let one = or_skip!(name, run(&containerd, &nerdctl, true));
    let other = or_skip!(name, run(&lamina, &nerdctl, false));
    let mut states = BTreeMap::new();
    let table = Table::read(Section::Nerdctl);
    for (((command, line), one), other) in STEPS.iter().zip(&one).zip(&other) {
        let state = states.entry((*command).to_owned()).or_insert_with(|| "same".to_owned());
        if one != other {
            println!("$ {line}\n--- containerd\n{one:#?}\n--- Lamina\n{other:#?}");
            "differs".clone_into(state);
        }
    }
    assert_eq!(table.names(), states.keys().cloned().collect::<Vec<_>>());
    table.check("Lamina", &states);
}
