//! `lamina snapshot diff`

use std::process::{Command, Stdio};

use lamina_core::media_type::{OCI_LAYER, OCI_LAYER_ZSTD};
use lamina_testkit::disk::Mounted;
use lamina_testkit::tar::{Listed, list};

use crate::environment::{TestEnvironment, says};

/// Snapshots `base` and, on it, `work`, which has a file more.
fn with_some() -> TestEnvironment {
    let env = TestEnvironment::new().with_snapshotter("overlayfs").on_tmpfs("size=256m");
    for (name, parent, file) in [("p", "", "old"), ("work", "base", "new")] {
        let place = env.temp().join(format!("at-{name}"));
        std::fs::create_dir(&place).unwrap();
        let mounted = Mounted(place.clone());
        let shown = env.ok(&["snapshot", "prepare", name, parent, "--target", "@"]);
        let command = shown.replace("$TEMP", &env.temp().display().to_string());
        let command = command.replace(" @ ", &format!(" {} ", place.display()));
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
        std::fs::write(place.join(file), file).unwrap();
        drop(mounted);
        if parent.is_empty() {
            env.ok(&["snapshot", "commit", "base", "p"]);
        }
    }
    env
}

/// What is written to standard output, as bytes.
fn output(env: &TestEnvironment, args: &[&str]) -> Vec<u8> {
    let output = env.command(args).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {errors}");
    output.stdout
}

fn summary(tar: &[u8]) -> Vec<String> {
    list(tar).iter().map(Listed::summary).collect()
}

#[test]
fn privileged_a_layer_is_written() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIP privileged_a_layer_is_written: needs root");
    }
    let env = with_some();
    let plain = ["--media-type", OCI_LAYER];
    let diff = |args: &[&str]| output(&env, &[&["snapshot", "diff"], &plain[..], args].concat());
    let one = diff(&["work"]);
    assert_eq!(summary(&one), ["0 new"]);
    assert_eq!(diff(&["base", "work"]), one);
    assert_eq!(summary(&diff(&["work", "base"])), ["0 .wh.new"]);
    assert_eq!(summary(&diff(&["base"])), ["0 old"]);

    // gzip is what is written if nothing else is said.
    assert!(output(&env, &["snapshot", "diff", "work"]).starts_with(&[0x1f, 0x8b]));
    // Nothing is left of those but of what is kept.
    env.ok(&["prune"]);
    assert_eq!(env.ok(&["content", "ls", "-q"]), "");
    let args =
        ["snapshot", "diff", "--media-type", OCI_LAYER_ZSTD, "--keep", "--label", "a=b", "work"];
    assert!(output(&env, &args).starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    env.ok(&["prune"]);
    let listed = env.ok(&["content", "ls"]);
    says(&listed, &["a=b", "containerd.io/uncompressed=sha256:", "containerd.io/gc.root="]);
    assert_eq!(env.ok(&["snapshot", "ls", "kind==view"]), "KEY PARENT KIND\n");
    assert_eq!(env.ok(&["lease", "ls", "-q"]), "");

    // Times after the date of the source become that.
    let mut command = env.command(&[&["snapshot", "diff"], &plain[..], &["work"]].concat());
    let dated = command.env("SOURCE_DATE_EPOCH", "8").output().unwrap();
    assert_eq!(list(&dated.stdout)[0].fields[4], "00000000010");
}

#[test]
fn privileged_what_cannot_be_written_is_told() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIP privileged_what_cannot_be_written_is_told: needs root");
    }
    let env = with_some();
    says(&env.fails(&["snapshot", "diff", "nope"]), &["\"nope\"", "not found"]);
    says(&env.fails(&["snapshot", "diff", "base", "nope"]), &["\"nope\"", "not found"]);
    let args = ["snapshot", "diff", "--media-type", "text/plain", "work"];
    says(&env.fails(&args), &["text/plain"]);
    assert_eq!(env.ok(&["content", "ls", "-q"]), "");
    assert_eq!(env.ok(&["snapshot", "ls", "kind==view"]), "KEY PARENT KIND\n");
}
