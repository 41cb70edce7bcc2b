//! `lamina namespace`

use serde_json::json;

use crate::environment::{TestEnvironment, says};

#[test]
fn made_listed_labelled_removed() {
    let env = TestEnvironment::new();
    assert_eq!(env.ok(&["namespace", "create", "build", "b=2", "a=1"]), "");
    env.ok(&["ns", "c", "empty"]);
    let want = "NAME  LABELS\nbuild a=1,b=2\nempty\n";
    assert_eq!(env.ok(&["namespaces", "ls"]), want);
    assert_eq!(env.ok(&["ns", "ls", "-q"]), "build\nempty\n");
    assert_eq!(
        env.json(&["ns", "ls", "--format", "json"]),
        json!([{ "Name": "build", "Labels": { "a": "1", "b": "2" } }, { "Name": "empty", "Labels": {} }])
    );
    assert_eq!(env.ok(&["ns", "label", "build", "a=", "c=3"]), "b=2,c=3\n");
    assert_eq!(env.ok(&["ns", "label", "build"]), "b=2,c=3\n");
    assert_eq!(env.ok(&["ns", "rm", "build", "empty"]), "build\nempty\n");
    assert_eq!(env.ok(&["ns", "ls"]), "NAME LABELS\n");
}

#[test]
fn mistakes() {
    let env = TestEnvironment::new();
    env.ok(&["ns", "create", "a"]);
    says(&env.fails(&["ns", "create", "a"]), &["\"a\"", "exists"]);
    says(&env.misused(&["ns", "create", "a/b"]), &["invalid namespace \"a/b\""]);
    says(&env.fails(&["ns", "rm", "none"]), &["none"]);
    env.ok(&["-n", "a", "snapshot", "prepare", "k"]);
    says(&env.fails(&["ns", "rm", "a"]), &["must be empty"]);
}

#[test]
fn a_namespace_appears_with_what_is_in_it() {
    let env = TestEnvironment::new();
    env.ok(&["-n", "k8s.io", "snapshot", "prepare", "k"]);
    assert_eq!(env.ok(&["ns", "ls", "-q"]), "k8s.io\n");
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
}
