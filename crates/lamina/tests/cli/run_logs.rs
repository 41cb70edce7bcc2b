//! What containers write that are left running.

use lamina_testkit::or_skip;
use serde_json::Value;

use crate::environment::says;
use crate::lab::{Lab, busybox};

#[test]
fn privileged_a_log_has_both_streams_and_outlives_us() {
    let name = "privileged_a_log_has_both_streams_and_outlives_us";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "logs");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let script = "test -e /count && read n </count; n=${n:-0}; echo $((n+1)) >/count; echo out $n; sleep 1; \
                  echo err $n >&2; sleep 1; printf 'no newline'; exit 3";
    lab.ok(&["run", "-d", "--name", "c", &image, "sh", "-c", script]);
    // It ends with the program, however long the task stays.
    let run = lab.env.run(&lab.args(&["logs", "-f", "c"]));
    assert_eq!(run.code, 0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out 0\nno newline", "err 0\n"));
    assert_eq!(lab.env.run(&lab.args(&["logs", "c"])).stdout, "out 0\nno newline");
    assert_eq!(lab.env.run(&lab.args(&["logs", "--tail", "0", "c"])).stdout, "no newline");
    assert_eq!(
        lab.env.run(&lab.args(&["logs", "--since", "2001-01-01T00:00:00Z", "c"])).stdout,
        "out 0\nno newline"
    );
    assert_eq!(lab.ok(&["logs", "--since", "2101-01-01T00:00:00Z", "c"]), "");
    let timed = lab.env.run(&lab.args(&["logs", "-t", "c"])).stdout;
    let time: jiff::Timestamp = timed.split(' ').next().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(time).as_secs() < 600, "{timed}");

    // Started again, it goes on with its files and its log.
    assert_eq!(lab.ok(&["task", "start", "-d", "c"]), "c\n");
    lab.env.run(&lab.args(&["logs", "-f", "c"]));
    let run = lab.env.run(&lab.args(&["logs", "c"]));
    assert_eq!(run.stdout, "out 0\nno newlineout 1\nno newline");
    let run = lab.env.run(&lab.args(&["task", "start", "c"]));
    assert_eq!((run.code, run.stdout.as_str()), (3, "out 2\nno newline"));

    // The form is that of Docker's json-file.
    let file = lab.env.root().join(format!("containers/{}/c/c-json.log", lab.namespace));
    let text = std::fs::read_to_string(file).unwrap();
    let entries: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = entries.iter().map(|entry| entry["log"].as_str().unwrap()).collect();
    assert_eq!(texts[..2], ["out 0\n", "err 0\n"]);
    assert_eq!(
        (&entries[0]["stream"], &entries[1]["stream"]),
        (&"stdout".into(), &"stderr".into())
    );
    assert!(entries.iter().all(|entry| entry["time"].as_str().unwrap().ends_with('Z')));
    lab.ok(&["rm", "c"]);
    lab.assert_clean();

    says(&lab.env.fails(&lab.args(&["logs", "c"])), &["container \"c\"", "not found"]);
    lab.ok(&["run", "--name", "d", &image]);
    says(&lab.env.fails(&lab.args(&["logs", "d"])), &["left running", "not found"]);
    says(&lab.env.misused(&lab.args(&["logs", "--tail", "few", "d"])), &["no number of lines"]);
    lab.ok(&["rm", "d"]);
    lab.assert_clean();
}
