//! `lamina lease`

use serde_json::json;

use crate::environment::{TestEnvironment, says, take_time};

#[test]
fn made_listed_removed() {
    let env = TestEnvironment::new();
    assert_eq!(env.ok(&["lease", "create", "--id", "l", "-x", "0", "a=1"]), "l\n");
    let table = env.ok(&["leases", "ls"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "CREATED", "AT", "LABELS"]);
    assert_eq!((rows[1][0], rows[1][2]), ("l", "a=1"));
    assert!(rows[1][1].parse::<jiff::Timestamp>().is_ok(), "{table}");
    let mut json = env.json(&["lease", "ls", "--format", "json"]);
    take_time(&mut json[0], "CreatedAt");
    assert_eq!(json, json!([{ "ID": "l", "Labels": { "a": "1" } }]));
    assert_eq!(env.ok(&["lease", "rm", "l"]), "l\n");
    assert_eq!(env.ok(&["lease", "ls", "-q"]), "");
}

#[test]
fn a_lease_lasts_a_day_unless_told() {
    let env = TestEnvironment::new();
    let id = env.ok(&["lease", "create"]);
    assert!(id.trim().len() >= 8, "{id}");
    env.ok(&["lease", "create", "--id", "short", "--expires", "1h30m"]);
    let expires = |id: &str| {
        let json = env.json(&["lease", "ls", "--format", "json", &format!("id=={:?}", id.trim())]);
        let text = json[0]["Labels"]["containerd.io/gc.expire"].as_str().unwrap().to_owned();
        let then: jiff::Timestamp = text.parse().unwrap();
        then.duration_since(jiff::Timestamp::now()).as_mins()
    };
    assert!((1437..=1440).contains(&expires(&id)));
    assert!((87..=90).contains(&expires("short")));
    says(&env.misused(&["lease", "create", "-x", "soon"]), &["\"soon\" is no duration"]);
    says(&env.misused(&["lease", "create", "-x=-1h"]), &["\"-1h\" is no duration"]);
}

#[test]
fn resources_are_added_and_dropped() {
    let env = TestEnvironment::new();
    env.ok(&["lease", "create", "--id", "l"]);
    env.ok(&["lease", "add", "l", "snapshots/native", "later"]);
    env.ok(&["lease", "add", "l", "ingests", "r"]);
    assert_eq!(
        env.ok(&["lease", "resources", "l"]),
        "TYPE             ID\ningests          r\nsnapshots/native later\n"
    );
    env.ok(&["lease", "drop", "l", "ingests", "r"]);
    assert_eq!(
        env.json(&["lease", "resources", "l", "--format", "json"]),
        json!([{ "ID": "later", "Type": "snapshots/native" }])
    );
    says(&env.fails(&["lease", "add", "none", "ingests", "r"]), &["none"]);
    says(&env.misused(&["lease", "add", "l", "mounts", "r"]), &["lease resource type \"mounts\""]);
}

#[test]
fn mistakes() {
    let env = TestEnvironment::new();
    env.ok(&["lease", "create", "--id", "l"]);
    says(&env.fails(&["lease", "create", "--id", "l"]), &["\"l\"", "exists"]);
    says(&env.fails(&["lease", "rm", "none"]), &["none"]);
    // Ids are any text up to a length; those of `ctr images mount` are mount points.
    env.ok(&["lease", "create", "--id", "/mnt/a b"]);
    says(&env.fails(&["lease", "create", "--id", &"x".repeat(32_769)]), &["32769 bytes"]);
    let long = format!("k={}", "v".repeat(4096));
    says(&env.misused(&["lease", "create", &long]), &["over the maximum"]);
}

#[test]
fn what_a_lease_alone_held_goes_with_it() {
    let env = TestEnvironment::new();
    env.ok(&["lease", "create", "--id", "l"]);
    env.ok(&["snapshot", "prepare", "k"]);
    env.ok(&["snapshot", "label", "k", "containerd.io/gc.root="]);
    env.ok(&["lease", "add", "l", "snapshots/native", "k"]);
    env.ok(&["prune"]);
    says(&env.ok(&["snapshot", "ls"]), &["k "]);
    env.ok(&["lease", "rm", "--sync", "l"]);
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
}
