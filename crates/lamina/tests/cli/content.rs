//! `lamina content`

use serde_json::json;

use crate::environment::{TestEnvironment, says, take_time};

const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const ABSENT: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An environment that has the blob `hello`.
fn with_hello() -> TestEnvironment {
    let env = TestEnvironment::new();
    let run = env.run_with_input(&["content", "ingest", "first"], b"hello");
    assert_eq!((run.code, run.stdout.trim(), run.stderr.as_str()), (0, HELLO, ""));
    env
}

#[test]
fn what_is_ingested_can_be_read() {
    let env = with_hello();
    assert_eq!(env.ok(&["content", "get", HELLO]), "hello");
    assert_eq!(env.ok(&["content", "get", HELLO, "--offset", "1", "--size", "3"]), "ell");
    assert_eq!(env.ok(&["content", "get", HELLO, "--offset", "5"]), "");
    assert_eq!(env.ok(&["content", "get", HELLO, "--size", "99"]), "hello");
    says(&env.fails(&["content", "get", HELLO, "--offset", "6"]), &["has 5 bytes, offset 6"]);
}

#[test]
fn every_byte_comes_back() {
    let env = TestEnvironment::new();
    let bytes: Vec<u8> = (0..3_000_001u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let file = env.file("bytes", &bytes);
    let digest = env.ok(&["content", "ingest", "b", file.to_str().unwrap()]);
    let run = env.run(&["content", "get", digest.trim()]);
    assert!(run.bytes == bytes);
}

#[test]
fn listing() {
    let env = with_hello();
    env.ok(&["content", "label", HELLO, "containerd.io/gc.root=", "b=2", "a=1"]);
    let table = env.ok(&["content", "ls", "-b"]);
    let mut lines = table.lines();
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["DIGEST", "SIZE", "AGE", "LABELS"]
    );
    let row = lines.next().unwrap();
    assert!(row.starts_with(&format!("{HELLO} 5    ")), "{row}");
    assert!(row.ends_with(" a=1,b=2"), "{row}");
    assert_eq!(lines.next(), None);
    says(&env.ok(&["content", "list"]), &[" 5.0 B "]);
    assert_eq!(env.ok(&["content", "ls", "-q"]), format!("{HELLO}\n"));

    let mut json = env.json(&["content", "ls", "--format", "json"]);
    let blob = &mut json[0];
    take_time(blob, "CreatedAt");
    take_time(blob, "UpdatedAt");
    let want = json!([{ "Digest": HELLO, "Size": 5, "Labels": { "a": "1", "b": "2" } }]);
    assert_eq!(json, want);
}

#[test]
fn filters_choose() {
    let env = with_hello();
    env.ok(&["content", "label", HELLO, "a.b=c"]);
    assert_eq!(env.ok(&["content", "ls", "-q", "labels.\"a.b\"==c"]), format!("{HELLO}\n"));
    assert_eq!(env.ok(&["content", "ls", "-q", "labels.\"a.b\"==d"]), "");
    says(&env.fails(&["content", "ls", "a=="]), &["filters: "]);
}

#[test]
fn another_namespace_sees_nothing() {
    let env = with_hello();
    assert_eq!(env.ok(&["-n", "other", "content", "ls", "-q"]), "");
    let error = env.fails(&["-n", "other", "content", "get", HELLO]);
    says(&error, &[HELLO, "hint: this looked in namespace \"other\""]);
}

#[test]
fn info_is_json() {
    let env = with_hello();
    let mut info = env.json(&["content", "info", HELLO]);
    take_time(&mut info, "CreatedAt");
    take_time(&mut info, "UpdatedAt");
    let mut labels = info["Labels"].take();
    take_time(&mut labels, "containerd.io/gc.root");
    assert_eq!(labels, json!({}));
    assert_eq!((&info["Digest"], &info["Size"]), (&json!(HELLO), &json!(5)));
    says(&env.fails(&["content", "info", ABSENT]), &[ABSENT]);
    says(&env.misused(&["content", "info", "sha256:00"]), &["invalid digest"]);
}

#[test]
fn labels_are_set_and_deleted() {
    let env = with_hello();
    let label = |args: &[&str]| env.ok(&[&["content", "label", HELLO], args].concat());
    assert_eq!(label(&["containerd.io/gc.root=", "a=1", "b=2"]), "a=1,b=2\n");
    assert_eq!(label(&["a=", "c=x=y"]), "b=2,c=x=y\n");
    assert_eq!(label(&[]), "b=2,c=x=y\n");
    says(&env.fails(&["content", "label", ABSENT, "a=1"]), &[ABSENT]);
    let long = format!("k={}", "v".repeat(4096));
    says(&env.misused(&["content", "label", HELLO, &long]), &["over the maximum of 4096 bytes"]);
}

#[test]
fn removal_goes_on_after_a_failure() {
    let env = with_hello();
    let run = env.run(&["content", "rm", ABSENT, HELLO]);
    assert_eq!((run.code, run.stdout.as_str()), (1, &*format!("{HELLO}\n")));
    says(&run.stderr, &["error: ", ABSENT]);
    assert_eq!(env.ok(&["content", "ls", "-q"]), "");
    let run = env.run(&["content", "rm", ABSENT, HELLO]);
    assert_eq!(run.code, 1);
    says(&run.stderr, &[ABSENT, HELLO, "2 of 2 failed"]);
    env.misused(&["content", "rm"]);
}

#[test]
fn what_is_expected_is_checked() {
    let env = TestEnvironment::new();
    let ingest =
        |args: &[&str]| env.run_with_input(&[&["content", "ingest", "r"], args].concat(), b"hello");
    let run = ingest(&["--expected-digest", ABSENT]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    says(&run.stderr, &["ingest \"r\"", ABSENT]);
    let run = ingest(&["--expected-size", "6"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert_eq!(env.ok(&["content", "ls", "-q"]), "");
    let run = ingest(&["--expected-size", "5", "--expected-digest", HELLO, "--label", "a=1"]);
    assert_eq!((run.code, run.stdout.trim()), (0, HELLO));
    says(&env.ok(&["content", "label", HELLO]), &["a=1", "containerd.io/gc.root="]);
}

#[test]
fn what_is_here_already_is_fine() {
    let env = with_hello();
    for args in [&["--label", "x=y"][..], &["--expected-digest", HELLO, "--label", "x=z"]] {
        let run = env.run_with_input(&[&["content", "ingest", "again"], args].concat(), b"hello");
        assert_eq!((run.code, run.stdout.trim(), run.stderr.as_str()), (0, HELLO, ""));
        says(&env.ok(&["content", "label", HELLO]), &[args[args.len() - 1]]);
    }
    assert_eq!(env.json(&["content", "active", "--format", "json"]), json!([]));
}

#[test]
fn a_missing_file_makes_no_ingest() {
    let env = TestEnvironment::new();
    says(&env.fails(&["content", "ingest", "r", "nowhere"]), &["open nowhere", "No such file"]);
    says(&env.fails(&["content", "ingest", "r", "."]), &["read .", "directory"]);
    assert_eq!(env.json(&["content", "active", "--format", "json"]), json!([]));
}

#[test]
fn an_ingest_that_was_cut_goes_on() {
    let env = TestEnvironment::new();
    // Enough that some of it is durable before the cut.
    let mut bytes = Vec::with_capacity(100 << 20);
    for mebibyte in 0..100u8 {
        bytes.resize(bytes.len() + (1 << 20), mebibyte);
    }
    let whole = env.file("whole", &bytes);
    // In a store of its own: this one must not have the blob.
    let digest = TestEnvironment::new().ok(&["content", "ingest", "r", whole.to_str().unwrap()]);
    let digest = digest.trim();

    // The pipe ends only after the command was killed.
    let mut command = env.command(&["content", "ingest", "r", "--expected-digest", digest]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &bytes[..80 << 20]).unwrap();
    // The rest of what is in the pipe is not needed; what is durable is.
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);

    let active = env.json(&["content", "active", "--format", "json"]);
    assert_eq!(active[0]["Ref"], "r", "{active}");
    assert_eq!(active[0]["Expected"], digest);
    let left = active[0]["Offset"].as_u64().unwrap();
    assert!(left > 0 && left <= 80 << 20, "{left}");
    says(&env.ok(&["content", "active"]), &["REF SIZE", "r   "]);

    // Other bytes before that point prove that they are not read again.
    let mut tail = bytes.clone();
    tail[..usize::try_from(left).unwrap()].fill(0xee);
    let tail = env.file("tail", &tail);
    let args = ["content", "ingest", "r", tail.to_str().unwrap(), "--expected-digest", digest];
    assert_eq!(env.ok(&args).trim(), digest);
    assert_eq!(env.json(&["content", "active", "--format", "json"]), json!([]));
}

#[test]
fn without_a_digest_nothing_is_mixed() {
    let env = TestEnvironment::new();
    let bytes = vec![7u8; 70 << 20];
    let mut command = env.command(&["content", "ingest", "r"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &bytes).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let run = env.run_with_input(&["content", "ingest", "r"], b"hello");
    assert_eq!((run.code, run.stdout.trim()), (0, HELLO));
}

#[test]
fn ingests_are_aborted() {
    let env = TestEnvironment::new();
    let mut command = env.command(&["content", "ingest", "left"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &vec![0u8; 3 << 20]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(env.json(&["content", "active", "--format", "json"])[0]["Ref"], "left");
    assert_eq!(env.json(&["content", "active", "ref==other", "--format", "json"]), json!([]));
    env.ok(&["content", "abort", "left"]);
    assert_eq!(env.json(&["content", "active", "--format", "json"]), json!([]));
    says(&env.fails(&["content", "abort", "left"]), &["left"]);
}

#[test]
fn what_another_namespace_has_is_taken_over() {
    let env = with_hello();
    let args = ["-n", "other", "content", "ingest", "r", "--expected-digest", HELLO];
    let run = env.run_with_input(&args, b"hello");
    assert_eq!((run.code, run.stdout.trim(), run.stderr.as_str()), (0, HELLO, ""));
    assert_eq!(env.ok(&["-n", "other", "content", "get", HELLO]), "hello");
    env.ok(&["content", "rm", HELLO]);
    assert_eq!(env.ok(&["-n", "other", "content", "get", HELLO]), "hello");
}
