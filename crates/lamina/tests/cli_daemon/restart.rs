//! `--restart`: the daemon starts containers again, until somebody stops them.

use std::time::{Duration, Instant};

use lamina_testkit::or_skip;
use serde_json::Value;

use crate::environment::says;
use crate::lab::{Lab, busybox};

/// A monitor that looks often.
const CONFIG: &str =
    "version = 3\n[plugins.\"io.containerd.monitor.container.v1.restart\"]\ninterval = \"100ms\"\n";

/// Every run of it leaves a line in its files.
const COUNTS: &str = "echo run >>/runs; cat /runs";

fn lab(name: &str) -> Result<Lab, String> {
    let lab = Lab::new(&busybox()?, name);
    lab.env.file("config.toml", CONFIG);
    lab.ok(&["pull", "--quiet", "--plain-http", &lab.image()]);
    Ok(lab)
}

fn label(lab: &Lab, id: &str, name: &str) -> String {
    let info: Value = serde_json::from_str(&lab.ok(&["container", "info", id])).unwrap();
    let label = &info["Labels"][format!("containerd.io/restart.{name}")];
    label.as_str().unwrap_or_default().to_owned()
}

fn count(lab: &Lab, id: &str) -> u32 {
    label(lab, id, "count").parse().unwrap_or(0)
}

fn status(lab: &Lab, id: &str) -> String {
    let listed = lab.env.json(&lab.args(&["ps", "-a", "--format", "json"]));
    let rows = listed.as_array().unwrap();
    let row = rows.iter().find(|row| row["ID"] == id);
    row.map_or("none", |row| row["Status"].as_str().unwrap()).to_owned()
}

#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what} does not come to be");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A container that another one proves the monitor to have looked at meanwhile stays as it is.
#[track_caller]
fn stays(lab: &Lab, id: &str, expected: &str) {
    let (before, witness) = (count(lab, id), count(lab, "witness"));
    wait_for("the monitor's next rounds", || count(lab, "witness") >= witness + 3);
    assert_eq!((status(lab, id).as_str(), count(lab, id)), (expected, before), "{id}");
}

#[test]
fn privileged_what_ends_is_started_again_until_it_is_stopped() {
    let name = "privileged_what_ends_is_started_again_until_it_is_stopped";
    let lab = or_skip!(name, lab("always"));
    let image = lab.image();
    let start = |id: &str, policy: &str, script: &str| {
        let flags = ["run", "-d", "--name", id, "--restart", policy, &image, "sh", "-c", script];
        assert_eq!(lab.ok(&flags), format!("{id}\n"));
    };
    // It ends all the time.
    start("witness", "always", "exit 0");
    let forever = format!("{COUNTS}; while :; do sleep 0.1; done");
    for (id, policy) in
        [("always", "always"), ("unless", "unless-stopped"), ("failing", "on-failure")]
    {
        start(id, policy, &forever);
    }
    wait_for("the first restart", || count(&lab, "witness") > 0);
    for id in ["always", "unless", "failing"] {
        assert_eq!((status(&lab, id).as_str(), count(&lab, id)), ("RUNNING", 0), "{id}");
        // Not by a verb: nobody has stopped it by hand.
        let pid = lab.env.json(&lab.args(&["ps", "-a", "--format", "json"]));
        let pid =
            pid.as_array().unwrap().iter().find(|row| row["ID"] == id).unwrap()["PID"].clone();
        let pid = rustix::process::Pid::from_raw(pid.as_i64().unwrap().try_into().unwrap());
        rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).unwrap();
        wait_for("a restart", || count(&lab, id) > 0 && status(&lab, id) == "RUNNING");
        // With its files and its log.
        wait_for("its log", || {
            lab.env.run(&lab.args(&["logs", id])).stdout.matches("run").count() >= 3
        });
    }

    // Stopped, it stays so, whatever the policy, until it is started.
    for (id, stop) in [("always", "stop"), ("unless", "stop"), ("failing", "kill")] {
        let args = if stop == "stop" { vec!["stop", "-t", "0", id] } else { vec!["kill", id] };
        assert_eq!(lab.ok(&args), format!("{id}\n"));
        wait_for("its end", || status(&lab, id) == "STOPPED");
        stays(&lab, id, "STOPPED");
    }
    assert_eq!(lab.ok(&["task", "start", "-d", "always"]), "always\n");
    stays(&lab, "always", "RUNNING");
    assert_eq!(count(&lab, "always"), 0, "it is counted from when it was started by hand");

    // What is removed is not started, and what is only made is nobody's business.
    let run = lab.env.run(&lab.args(&["container", "create", "--name", "made", &image]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    for id in ["always", "unless", "failing", "made", "witness"] {
        assert_eq!(lab.ok(&["rm", "-f", id]), format!("{id}\n"));
    }
    lab.assert_clean();
}

#[test]
fn privileged_what_fails_is_started_again_so_often() {
    let name = "privileged_what_fails_is_started_again_so_often";
    let lab = or_skip!(name, lab("failure"));
    let image = lab.image();
    lab.ok(&[
        "run",
        "-d",
        "--name",
        "witness",
        "--restart",
        "always",
        &image,
        "sh",
        "-c",
        "exit 0",
    ]);
    let fails = format!("{COUNTS}; exit 3");
    let run =
        ["run", "-d", "--restart", "on-failure:2", "--name", "fails", &image, "sh", "-c", &fails];
    lab.ok(&run);
    wait_for("the second restart", || {
        count(&lab, "fails") == 2 && status(&lab, "fails") == "STOPPED"
    });
    stays(&lab, "fails", "STOPPED");
    let log = || lab.env.run(&lab.args(&["logs", "fails"])).stdout;
    // One line, then two, then three.
    wait_for("its log", || log() == "run\n".repeat(6));
    let run =
        ["run", "-d", "--restart", "on-failure", "--name", "well", &image, "sh", "-c", "exit 0"];
    lab.ok(&run);
    wait_for("its end", || status(&lab, "well") == "STOPPED");
    stays(&lab, "well", "STOPPED");
    says(&label(&lab, "fails", "policy"), &["on-failure:2"]);
    for id in ["fails", "well", "witness"] {
        lab.ok(&["rm", "-f", id]);
    }
    lab.assert_clean();
}
