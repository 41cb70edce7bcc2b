//! Layers that are laid through a mount, and images, killed or failing at every step: after a start
//! fsck finds nothing, and the same call succeeds.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::snapshot::CommitOptions;
use lamina_core::{Kind, Labels, Namespace, Result, Scope};
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;
use lamina_store::mount::{self, How};
use lamina_store::snapshot::{Handle, drivers};
use lamina_store::{Options, Store};
use lamina_testkit::crash::{self, Cut, Listener, Scenario};
use lamina_testkit::disk::{Mounted, scratch_image};
use lamina_testkit::or_skip;

const NAME: &str = "blockfile";

fn open(dir: &Path, steps: Steps) -> Result<Store> {
    let mut config = drivers::Config::default();
    config.blockfile.scratch_file = Some(dir.join("empty.img"));
    let mut all = Options::new(dir.join("root"), dir.join("state"));
    all.snapshotters = drivers::all(&config);
    // A child that another test forks holds our lock until it runs its program.
    Store::open(Options { steps, reserve: 0, wait: Duration::from_secs(20), ..all })
}

fn quiet(dir: &Path) -> Store {
    open(dir, Steps::none()).unwrap_or_else(|e| panic!("open: {}", e.chain()))
}

fn handle(store: &Store) -> Handle {
    store.snapshots(&Scope::new(Namespace::new("one").unwrap()), NAME).unwrap()
}

fn needs() -> std::result::Result<(), String> {
    if !lamina_sys::kernel::is_root() {
        return Err("needs root".to_owned());
    }
    scratch_image(&tempfile::tempdir().unwrap().path().join("image"), 16 << 20)
}

/// A layer with a file in it, and an active on it with another.
fn base(dir: &Path) {
    scratch_image(&dir.join("empty.img"), 16 << 20).unwrap();
    let store = quiet(dir);
    let handle = handle(&store);
    for (key, parent, file) in [("k", "", "lower"), ("work", "base", "upper")] {
        let mounts = handle.prepare_now(key, parent, Labels::new()).unwrap();
        let at = dir.join("mnt");
        std::fs::create_dir(&at).unwrap();
        let _held = Mounted(at.canonicalize().unwrap());
        mount::all(&mounts, &at).unwrap();
        std::fs::write(at.join(file), file).unwrap();
        mount::unmount_all(&at, How::Plain).unwrap();
        std::fs::remove_dir(&at).unwrap();
        if parent.is_empty() {
            handle.commit_now("base", key, CommitOptions::default()).unwrap();
        }
    }
    store.close().unwrap();
}

fn sound(store: &Store, cut: &str) {
    handle(store).stat_now("base").unwrap_or_else(|e| panic!("after {cut}: {}", e.chain()));
    store.engine(NAME).unwrap().reap().unwrap();
    let report = store.fsck(FsckOptions { verify_blobs: true, repair: false }).unwrap();
    assert_eq!(report.findings, [], "after {cut}");
}

/// Cuts `op` everywhere; it is done again after each cut, if that did not do it.
fn cut(test: &str, wanted: &[&str], op: fn(&Store) -> Result<()>, done: fn(&Store, &Path)) {
    let () = or_skip!(test, needs());
    let steps = crash::at_every_step(&Scenario {
        test,
        prepare: &base,
        act: &|dir, listener: Listener| {
            let steps = Steps::watched(Arc::new(move |step: &'static str| listener.reach(step)));
            let store = open(dir, steps)?;
            store.engine(NAME)?;
            op(&store)
        },
        check: &|dir, cut: &Cut| {
            let store = quiet(dir);
            sound(&store, &cut.to_string());
            match op(&store) {
                Err(error) if !matches!(error.kind(), Kind::AlreadyExists | Kind::NotFound) => {
                    panic!("the same call after {cut}: {}", error.chain())
                }
                _ => {}
            }
            done(&store, dir);
            store.close().unwrap();
        },
    });
    for step in wanted {
        assert!(steps.iter().any(|(name, _)| name == step), "{step} was not reached: {steps:?}");
    }
}

/// What a view of `parent` shows.
fn look(store: &Store, dir: &Path, parent: &str) -> Vec<String> {
    let handle = handle(store);
    let at = dir.join("look");
    std::fs::create_dir(&at).unwrap();
    let mounts = handle.view_now("look", parent, Labels::new()).unwrap();
    let _held = Mounted(at.canonicalize().unwrap());
    mount::all(&mounts, &at).unwrap();
    let names = std::fs::read_dir(&at).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    mount::unmount_all(&at, How::Plain).unwrap();
    std::fs::remove_dir(&at).unwrap();
    handle.remove_now("look").unwrap();
    names
}

#[test]
fn prepare() {
    cut(
        "prepare",
        &["create.staged", "create.published", "create.flushed", "create.row"],
        |store| handle(store).prepare_now("new", "base", Labels::new()).map(drop),
        |store, dir| {
            handle(store).commit_now("new layer", "new", CommitOptions::default()).unwrap();
            assert_eq!(look(store, dir, "new layer"), ["lower"]);
        },
    );
}

#[test]
fn commit() {
    cut(
        "commit",
        &["commit.begin", "commit.sealed", "commit.flushed", "commit.row"],
        |store| handle(store).commit_now("done", "work", CommitOptions::default()),
        |store, dir| assert_eq!(look(store, dir, "done"), ["lower", "upper"]),
    );
}

#[test]
fn remove() {
    cut(
        "remove",
        &["remove.row", "reap.files", "reap.row"],
        |store| {
            handle(store).remove_now("work")?;
            store.engine(NAME)?.reap().map(drop)
        },
        |store, dir| {
            assert!(handle(store).stat_now("work").unwrap_err().is_not_found());
            assert_eq!(look(store, dir, "base"), ["lower"]);
        },
    );
}
