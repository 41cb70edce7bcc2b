//! What is wrong with the host, and how it is told.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lamina_core::Platform;
use lamina_testkit::image::{Compression, Flavor, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};

use crate::environment::{Run, TestEnvironment, not_root, says};

#[test]
fn a_store_in_use_is_told_with_its_owner() {
    let env = TestEnvironment::new();
    env.ok(&["ns", "ls"]);
    let lock = fs::File::options().write(true).open(env.root().join("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(env.root().join("lock"), "4711\n").unwrap();
    let begun = std::time::Instant::now();
    let error = env.fails(&["ns", "ls"]);
    says(
        &error,
        &["$TEMP/root", "in use by another process", "4711", "hint: one process at a time"],
    );
    assert!(begun.elapsed().as_secs() < 10);
    drop(lock);
    env.ok(&["ns", "ls"]);
}

#[test]
fn a_command_waits_for_another_to_end() {
    let env = TestEnvironment::new();
    env.ok(&["ns", "ls"]);
    let lock = fs::File::options().write(true).open(env.root().join("lock")).unwrap();
    lock.lock().unwrap();
    let mut child = env.command(&["ns", "ls"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it did not wait");
    drop(lock);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_corrupt_database_is_not_touched() {
    let env = TestEnvironment::new();
    env.ok(&["ns", "create", "a"]);
    let mut bytes = fs::read(env.database()).unwrap();
    bytes[..100].fill(0x55);
    fs::write(env.database(), &bytes).unwrap();
    let error = env.fails(&["ns", "ls"]);
    says(&error, &["open the store $TEMP/root", "meta.db", "damaged"]);
    assert!(fs::read(env.database()).unwrap() == bytes);
}

#[test]
fn a_newer_database_is_not_opened() {
    let env = TestEnvironment::new();
    env.ok(&["ns", "create", "a"]);
    let mut bytes = fs::read(env.database()).unwrap();
    // The header's "user version" is at offset 60, big-endian (SQLite file format, 1.3).
    bytes[60..64].copy_from_slice(&999u32.to_be_bytes());
    fs::write(env.database(), &bytes).unwrap();
    says(&env.fails(&["ns", "ls"]), &["meta.db", "schema version 999", "newer lamina"]);
    assert!(fs::read(env.database()).unwrap() == bytes);
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let env = TestEnvironment::new();
    let file = env.file("plain", "");
    let env = env.with_root(file);
    says(&env.fails(&["ns", "ls"]), &["open the store $TEMP/plain"]);
}

const NOBODY: u32 = 65534;

/// Runs the binary as somebody without rights, from a place where he can reach it.
fn run_as_nobody(env: &TestEnvironment, args: &[&str]) -> Run {
    fs::set_permissions(env.temp(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = env.temp().join("lamina");
    // Not written by this process: a test that forks meanwhile would hold the copy open for writing,
    // and then it cannot be executed (ETXTBSY).
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_lamina")).arg(&binary).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&binary);
    env.prepare(&mut command).args(args).uid(NOBODY).gid(NOBODY);
    env.finish(command.output().unwrap())
}

#[test]
fn privileged_somebody_else_is_told_what_needs_root() {
    if not_root("privileged_somebody_else_is_told_what_needs_root") {
        return;
    }
    let env = TestEnvironment::new();
    env.ok(&["ns", "ls"]);
    let run = run_as_nobody(&env, &["ns", "ls"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    says(
        &run.stderr,
        &["open the store $TEMP/root", "ermission denied", "hint: in a store of your own", "need"],
    );
}

#[test]
fn privileged_the_default_place_is_told_to_be_roots() {
    if not_root("privileged_the_default_place_is_told_to_be_roots") {
        return;
    }
    let env = TestEnvironment::new().with_root("/var/lib/lamina/test");
    let run = run_as_nobody(&env, &["ns", "ls"]);
    assert_eq!(run.code, 1);
    says(&run.stderr, &["belong to root: run this as root, or have a store of your own"]);
}

#[test]
fn privileged_a_store_of_ones_own_needs_no_root() {
    if not_root("privileged_a_store_of_ones_own_needs_no_root") {
        return;
    }
    let env = TestEnvironment::new();
    for dir in ["root", "state"] {
        let path = env.temp().join(dir);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let ok = |args: &[&str]| {
        let run = run_as_nobody(&env, args);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{args:?}");
        run.stdout
    };
    ok(&["snapshot", "prepare", "k"]);
    ok(&["snapshot", "commit", "c", "k"]);
    ok(&["snapshot", "prepare", "k", "c"]);
    assert_eq!(ok(&["snapshot", "tree"]), " c\n  \\_ k\n");
    let blob = env.file("blob", "hello");
    let digest = ok(&["content", "ingest", "r", blob.to_str().unwrap()]);
    assert_eq!(ok(&["content", "get", digest.trim()]), "hello");
    ok(&["lease", "create", "--id", "l"]);
    ok(&["snapshot", "rm", "k"]);
    ok(&["prune"]);
}

/// Everything below a directory, with sizes.
fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                pending.push(entry.path());
            }
            found.push((entry.path(), if meta.is_file() { meta.len() } else { 0 }));
        }
    }
    found.sort();
    found
}

#[test]
fn privileged_a_read_only_root_is_told() {
    if not_root("privileged_a_read_only_root_is_told") {
        return;
    }
    let env = TestEnvironment::new().on_tmpfs("size=64m");
    env.ok(&["ns", "create", "a"]);
    env.make_read_only();
    let before = listing(env.root());
    for args in [&["ns", "ls"][..], &["snapshot", "prepare", "k"]] {
        let error = env.fails(args);
        says(&error, &["open the store $TEMP/fs/root", "Read-only file system"]);
        says(&error, &["hint: the file system of", "mounted read-only"]);
    }
    assert_eq!(listing(env.root()), before);
}

#[test]
fn privileged_a_full_disk_loses_nothing() {
    if not_root("privileged_a_full_disk_loses_nothing") {
        return;
    }
    // The store keeps 64 MiB free, so that things can still be removed when a disk is full.
    let env = TestEnvironment::new().on_tmpfs("size=128m");
    let small = env.file("small", "hello");
    let digest = env.ok(&["content", "ingest", "small", small.to_str().unwrap()]);
    let large = env.file("large", "");
    fs::File::options().write(true).open(&large).unwrap().set_len(256 << 20).unwrap();
    let error = env.fails(&["content", "ingest", "large", large.to_str().unwrap()]);
    says(&error, &["ingest \"large\"", "in reserve", "hint: `lamina df`"]);

    // The disk is full of an ingest now; what was there is whole, and there is a way out.
    assert_eq!(env.ok(&["content", "get", digest.trim()]), "hello");
    assert_eq!(env.ok(&["content", "ls", "-q"]), digest);
    says(&env.ok(&["content", "active"]), &["large"]);
    env.ok(&["content", "abort", "large"]);
    env.ok(&["snapshot", "prepare", "k"]);
}

#[test]
fn privileged_a_pull_onto_a_full_disk_leaves_no_half_image() {
    if not_root("privileged_a_pull_onto_a_full_disk_leaves_no_half_image") {
        return;
    }
    let bytes = vec![b'x'; 40 << 20];
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer_as(TarBuilder::archive([Entry::file("big", bytes)]), Compression::None)
        .build();
    let registry = TestRegistry::start();
    registry.push("app", "1", &image);
    let reference = format!("{}/app:1", registry.host());
    // Room for the documents and a part of the layer above the 64 MiB that are kept free.
    let env = TestEnvironment::new().on_tmpfs("size=90m");
    let pull = ["pull", "-q", "--plain-http", "--platform", "linux/amd64", &reference];
    let error = env.fails(&pull);
    let layer = format!("layer {}", image.layers[0].digest);
    says(&error, &[&format!("pull {reference}"), &layer, "in reserve", "hint: `lamina df`"]);
    assert_eq!(env.ok(&["images", "ls", "-q"]), "");
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
    says(&env.ok(&["fsck"]), &["clean"]);
    // With room it goes on.
    env.shell("mount -o remount,size=256m $TEMP/fs");
    assert_eq!(env.ok(&pull), format!("{reference}\n"));
}

/// With nothing kept free, the layer takes the room that is needed to say that it is gone.
#[test]
fn privileged_a_pull_that_takes_the_last_byte_leaves_nothing() {
    if not_root("privileged_a_pull_that_takes_the_last_byte_leaves_nothing") {
        return;
    }
    let zeros = TarBuilder::archive([Entry::file("zeros", vec![0; 40 << 20])]);
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer_as(zeros, Compression::Zstd)
        .build();
    let registry = TestRegistry::start();
    registry.push("app", "1", &image);
    let reference = format!("{}/app:1", registry.host());
    for snapshotter in ["overlayfs", "native"] {
        let env = TestEnvironment::new().on_tmpfs("size=24m");
        env.file("config.toml", "[limits]\nfree_bytes = 0\n");
        let pull = ["pull", "-q", "--plain-http", "--platform", "linux/amd64", &reference];
        let pull = ["--snapshotter", snapshotter].into_iter().chain(pull);
        let pull: Vec<&str> = pull.collect();
        let error = env.fails(&pull);
        let layer = format!("layer {}", image.layers[0].digest);
        // Told by whoever is the first to find no room, the extractor or the database.
        says(&error, &[&format!("pull {reference}"), &layer, "hint: `lamina df`"]);
        let list = ["--snapshotter", snapshotter, "snapshot", "ls"];
        assert_eq!(env.ok(&list), "KEY PARENT KIND\n", "{error}");
        says(&env.ok(&["fsck"]), &["clean"]);
        // With room it goes on.
        env.shell("mount -o remount,size=256m $TEMP/fs");
        assert_eq!(env.ok(&pull), format!("{reference}\n"));
    }
}
