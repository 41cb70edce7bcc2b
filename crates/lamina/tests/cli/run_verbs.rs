//! The verbs of `container` and `task`, and the flags of `run`.

use lamina_testkit::or_skip;
use serde_json::json;

use crate::environment::says;
use crate::lab::{Lab, busybox};

#[test]
fn privileged_records_and_tasks_are_shown_in_ctrs_columns() {
    let name = "privileged_records_and_tasks_are_shown_in_ctrs_columns";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "verbs");
    let image = lab.image();
    let create = ["container", "create", "--name", "c", "--label", "a=1", &image, "sleep", "1000"];
    let run = lab.env.run(&lab.args(&create));
    assert_eq!((run.code, run.stdout.as_str()), (0, "c\n"), "{}", run.stderr);
    let listed = lab.ok(&["container", "ls"]);
    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["CONTAINER", "IMAGE", "RUNTIME", "c", &image, "io.containerd.runc.v2"]
    );
    assert_eq!(lab.ok(&["task", "ls"]), "TASK PID STATUS\n");
    assert_eq!(lab.ok(&["container", "ls", "-q", "labels.a==2"]), "");
    says(&lab.ok(&["container", "label", "c", "a=2", "b=3"]), &["a=2,b=3"]);
    assert_eq!(lab.ok(&["container", "ls", "-q", "labels.a==2"]), "c\n");
    let info: serde_json::Value =
        serde_json::from_str(&lab.ok(&["container", "info", "c"])).unwrap();
    assert_eq!((&info["ID"], &info["Labels"]["b"]), (&json!("c"), &json!("3")));
    assert_eq!(info["Spec"]["process"]["args"], json!(["sleep", "1000"]));

    assert_eq!(lab.ok(&["task", "start", "-d", "c"]), "c\n");
    says(&lab.env.fails(&lab.args(&["task", "start", "c"])), &["\"c\" is running"]);
    says(&lab.ok(&["task", "ls"]), &["RUNNING"]);
    assert_eq!(lab.ok(&["ps", "-q"]), "c\n");
    let pids = lab.ok(&["task", "ps", "c"]);
    assert_eq!(pids.lines().count(), 2, "{pids}");
    assert!(pids.starts_with("PID "), "{pids}");
    assert_eq!(lab.ok(&["pause", "c"]), "c\n");
    says(&lab.ok(&["task", "ls"]), &["PAUSED"]);
    assert_eq!(lab.ok(&["task", "resume", "c"]), "c\n");
    let metrics = lab.ok(&["task", "metrics", "c"]);
    says(&metrics, &["TIMESTAMP", "METRIC", "pids.current", "memory."]);
    if let Some(line) = metrics.lines().find(|line| line.starts_with("cpuacct.usage_percpu")) {
        let each = line.split_once('[').unwrap().1.strip_suffix(']').unwrap().split(' ');
        assert!(each.map(|one| one.parse::<u64>().unwrap()).sum::<u64>() > 0, "{line}");
    } else {
        assert!(!metrics.contains("cpuacct"), "{metrics}");
    }
    let run = lab.env.run(&lab.args(&["task", "exec", "c", "echo", "hello"]));
    assert_eq!(run.stdout, "hello\n");
    says(&lab.env.fails(&lab.args(&["task", "delete", "c"])), &["running"]);
    assert_eq!(lab.ok(&["task", "kill", "-s", "KILL", "c"]), "c\n");
    assert_eq!(lab.ok(&["task", "delete", "-f", "c"]), "c\n");
    assert_eq!(lab.ok(&["container", "ls", "-q"]), "c\n", "the container stays");
    assert_eq!(lab.ok(&["container", "rm", "c"]), "c\n");
    lab.assert_clean();
}

#[test]
fn privileged_flags_make_the_container() {
    let name = "privileged_flags_make_the_container";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "flags");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let vars = lab.env.file("vars", "# a comment\nFROM_FILE=1\n");
    let vars = vars.to_str().unwrap();
    let script = "echo $FROM_FILE $X; hostname; ulimit -n; grep CapEff /proc/self/status; \
                  echo x >/tmp/file && echo written; echo x >/etc/file || echo kept";
    let flags = [
        "run",
        "--rm",
        "--env-file",
        vars,
        "-e",
        "X=2",
        "--hostname",
        "box",
        "--ulimit",
        "nofile=77:88",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "kill",
        "--tmpfs",
        "/tmp:size=1m",
        "--read-only",
        "--pids-limit",
        "50",
        "--entrypoint",
        "sh",
        &image,
        "-c",
        script,
    ];
    let run = lab.env.run(&lab.args(&flags));
    let expected = "1 2\nbox\n77\nCapEff:\t0000000000000020\nwritten\nkept\n";
    assert_eq!((run.code, run.stdout.as_str()), (0, expected), "{}", run.stderr);
    lab.assert_clean();

    for (flags, text) in [
        (&["--ulimit", "nofile"][..], "nofile"),
        (&["--cap-add", "everything"], "everything"),
        (&["--hostname", "a b"], "a b"),
        (&["--env-file", "/none"], "/none"),
        (&["--tmpfs", "tmp"], "tmp"),
        (&["--stop-signal", "LOUD"], "LOUD"),
        (&["--memory", "much"], "much"),
        (&["--name", "-x"], "-x"),
        (&["-d", "--restart", "always"], "daemon"),
        (&["--restart", "always"], "--detach"),
    ] {
        // With a daemon there is somebody to start it again.
        if crate::DAEMON && flags == ["-d", "--restart", "always"] {
            continue;
        }
        let run = lab.env.run(&lab.args(&[&["run"], flags, &[&image, "id"]].concat()));
        assert!(run.code != 0 && run.stderr.contains(text), "{flags:?}: {}", run.stderr);
        lab.assert_clean();
    }
}
