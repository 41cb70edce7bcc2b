//! `lamina snapshot`

use std::fs;

use serde_json::json;

use crate::environment::{TestEnvironment, not_root, says, take_time};

/// Two committed snapshots, an active and a view on them.
fn with_some() -> TestEnvironment {
    let env = TestEnvironment::new();
    env.ok(&["snapshot", "prepare", "p"]);
    env.ok(&["snapshot", "commit", "base", "p"]);
    env.ok(&["snapshot", "prepare", "p", "base"]);
    env.ok(&["snapshot", "commit", "more", "p"]);
    env.ok(&["snapshot", "prepare", "work", "more"]);
    env.ok(&["snapshot", "view", "look", "base"]);
    env
}

#[test]
fn listing() {
    let env = with_some();
    let want = "KEY  PARENT KIND\n\
                base        Committed\n\
                look base   View\n\
                more base   Committed\n\
                work more   Active\n";
    assert_eq!(env.ok(&["snapshot", "ls"]), want);
    assert_eq!(
        env.ok(&["snapshots", "list", "kind==view"]),
        "KEY  PARENT KIND\nlook base   View\n"
    );
    assert_eq!(TestEnvironment::new().ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");

    let json = env.json(&["snapshot", "ls", "--format", "json"]);
    let names: Vec<&str> =
        json.as_array().unwrap().iter().map(|s| s["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "look", "more", "work"]);
}

#[test]
fn tree() {
    let env = with_some();
    let want = " base\n  \\_ look\n  \\_ more\n    \\_ work\n";
    assert_eq!(env.ok(&["snapshot", "tree"]), want);
    let json = env.json(&["snapshot", "tree", "--format", "json"]);
    assert_eq!((&json[3]["Name"], &json[3]["Depth"]), (&json!("work"), &json!(2)));
}

#[test]
fn info_is_json() {
    let env = with_some();
    let mut info = env.json(&["snapshot", "info", "more"]);
    take_time(&mut info, "Created");
    take_time(&mut info, "Updated");
    take_time(&mut info["Labels"], "containerd.io/gc.root");
    let want = json!({ "Kind": "Committed", "Name": "more", "Parent": "base", "Labels": {} });
    assert_eq!(info, want);
    let error = env.fails(&["snapshot", "info", "nope"]);
    says(
        &error,
        &["nope", "hint: this looked in namespace \"default\" and snapshotter \"native\""],
    );
}

#[test]
fn mounts_are_printed_as_commands() {
    let env = TestEnvironment::new();
    let printed = env.ok(&["snapshot", "prepare", "w", "--target", "/mnt"]);
    let dir = "$TEMP/root/io.containerd.snapshotter.v1.native/snapshots/1";
    assert_eq!(printed, format!("mount -t bind {dir} /mnt -o rbind,rw\n"));
    assert_eq!(env.ok(&["snapshot", "mounts", "/mnt", "w"]), printed);
    env.ok(&["snapshot", "commit", "c", "w"]);
    let printed = env.ok(&["snapshot", "view", "v", "c", "--mounts"]);
    let mounts: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let want = json!([{ "Type": "bind", "Source": dir, "Target": "", "Options": ["rbind", "ro"] }]);
    assert_eq!(mounts, want);
    says(&env.fails(&["snapshot", "mounts", "/mnt", "c"]), &["c"]);
    says(&env.fails(&["snapshot", "mounts", "/mnt", "none"]), &["none"]);
    env.misused(&["snapshot", "mounts", "/mnt"]);
}

#[test]
fn mistakes_with_keys() {
    let env = with_some();
    for (args, parts) in [
        (&["prepare", "work"][..], &["prepare snapshot \"work\"", "exists"][..]),
        (&["view", "base"], &["make the view \"base\"", "exists"]),
        (&["prepare", "new", "nowhere"], &["prepare snapshot \"new\"", "nowhere"]),
        (&["prepare", "new", "work"], &["work", "committed"]),
        (&["commit", "base", "work"], &["commit snapshot \"work\" as \"base\"", "exists"]),
        (&["commit", "new", "look"], &["look"]),
        (&["commit", "new", "nope"], &["nope"]),
        (&["rm", "base"], &["remove snapshot \"base\"", "child"]),
        (&["rm", "nope"], &["remove snapshot \"nope\""]),
        (&["label", "nope", "a=b"], &["nope"]),
        (&["usage", "nope"], &["nope"]),
        (&["prepare", ""], &["must not be empty"]),
    ] {
        let error = env.fails(&[&["snapshot"], args].concat());
        says(&error, parts);
    }
    let long = "k".repeat(4097);
    says(&env.fails(&["snapshot", "prepare", &long]), &["4097 bytes is longer than 4096"]);
    let want = "KEY  PARENT KIND\nwork more   Active\n";
    assert_eq!(env.ok(&["snapshot", "ls", "kind==active"]), want);
}

#[test]
fn removal_frees_files_and_goes_on_after_a_failure() {
    let env = with_some();
    let files = env.root().join("io.containerd.snapshotter.v1.native/snapshots");
    let count = || std::fs::read_dir(&files).unwrap().count();
    let before = count();
    let run = env.run(&["snapshot", "rm", "work", "nope", "more"]);
    assert_eq!(run.code, 1);
    says(&run.stderr, &["remove snapshot \"nope\""]);
    assert_eq!(env.ok(&["snapshot", "tree"]), " base\n  \\_ look\n");
    assert_eq!(count(), before - 2);
    env.ok(&["snapshot", "cleanup"]);
}

#[test]
fn labels_are_set_and_deleted() {
    let env = with_some();
    let args = ["snapshot", "label", "base", "containerd.io/gc.root=", "b=2", "a=1"];
    assert_eq!(env.ok(&args), "a=1,b=2\n");
    assert_eq!(env.ok(&["snapshot", "label", "base", "a="]), "b=2\n");
    assert_eq!(env.ok(&["snapshot", "label", "base"]), "b=2\n");
    assert_eq!(env.ok(&["snapshot", "info", "work"]).matches("gc.root").count(), 1);
}

#[test]
fn usage_counts_files() {
    let env = TestEnvironment::new();
    env.ok(&["snapshot", "prepare", "w"]);
    let tree = env.root().join("io.containerd.snapshotter.v1.native/snapshots/1");
    let empty = env.json(&["snapshot", "usage", "--format", "json", "w"])[0]["Inodes"].clone();
    std::fs::write(tree.join("file"), vec![1u8; 5000]).unwrap();
    let json = env.json(&["snapshot", "usage", "--format", "json", "w"]);
    assert_eq!(json[0]["Inodes"], empty.as_i64().unwrap() + 1);
    let size = json[0]["Size"].as_i64().unwrap();
    assert!(size >= 5000, "{size}");
    let table = env.ok(&["snapshot", "usage", "-b"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    let inodes = json[0]["Inodes"].to_string();
    assert_eq!(rows, [vec!["KEY", "SIZE", "INODES"], vec!["w", &size.to_string(), &inodes]]);
    says(&env.ok(&["snapshot", "usage"]), &[" KiB "]);
}

#[test]
fn keys_cannot_command_a_terminal() {
    let env = TestEnvironment::new();
    env.ok(&["snapshot", "prepare", "a\u{1b}[2J\nb"]);
    assert_eq!(
        env.ok(&["snapshot", "ls"]).lines().nth(1).unwrap().split(' ').next().unwrap(),
        "a\\u{1b}[2J\\nb"
    );
    assert_eq!(env.ok(&["snapshot", "tree"]), " a\\u{1b}[2J\\nb\n");
    assert_eq!(env.json(&["snapshot", "ls", "--format", "json"])[0]["Name"], "a\u{1b}[2J\nb");
}

/// Unmounts when it is dropped.
struct Mounted<'e>(&'e TestEnvironment, &'static str);

impl<'e> Mounted<'e> {
    /// Does what a printed command says.
    fn by(env: &'e TestEnvironment, line: &str, at: &'static str) -> Self {
        env.shell(line);
        Mounted(env, at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.0.shell(&format!("umount {}", self.1));
    }
}

#[test]
fn privileged_what_is_printed_mounts() {
    if not_root("privileged_what_is_printed_mounts") {
        return;
    }
    let env = TestEnvironment::new().with_snapshotter("overlayfs").on_tmpfs("size=64m");
    let at = env.temp().join("mnt");
    fs::create_dir(&at).unwrap();
    let target = at.to_str().unwrap();

    let line = env.ok(&["snapshot", "prepare", "p", "--target", target]);
    {
        let _mounted = Mounted::by(&env, &line, "$TEMP/mnt");
        fs::write(at.join("kept"), "1").unwrap();
        fs::write(at.join("gone"), "1").unwrap();
    }
    env.ok(&["snapshot", "commit", "base", "p"]);
    let line = env.ok(&["snapshot", "prepare", "p", "base", "--target", target]);
    assert!(line.starts_with("mount -t overlay overlay $TEMP/mnt -o "), "{line}");
    assert_eq!(env.ok(&["snapshot", "mounts", target, "p"]), line);
    {
        let _mounted = Mounted::by(&env, &line, "$TEMP/mnt");
        fs::write(at.join("kept"), "2").unwrap();
        fs::remove_file(at.join("gone")).unwrap();
    }
    env.ok(&["snapshot", "commit", "changed", "p"]);
    for (parent, kept, gone) in [("base", "1", true), ("changed", "2", false)] {
        let line = env.ok(&["snapshot", "view", "look", parent, "--target", target]);
        {
            let _mounted = Mounted::by(&env, &line, "$TEMP/mnt");
            assert_eq!(fs::read_to_string(at.join("kept")).unwrap(), kept);
            assert_eq!(at.join("gone").exists(), gone);
            let error = fs::write(at.join("kept"), "3").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        }
        env.ok(&["snapshot", "rm", "look"]);
    }
}
