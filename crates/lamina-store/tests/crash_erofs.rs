//! Snapshots that a commit packs into images, killed or failing at every step: after a start fsck finds
//! nothing, and the same call succeeds.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::snapshot::CommitOptions;
use lamina_core::{Host as _, Kind, Labels, Mount, Namespace, Result, Scope};
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;
use lamina_store::mount::{self, How};
use lamina_store::snapshot::Handle;
use lamina_store::{Options, Store};
use lamina_testkit::crash::{self, Cut, Listener, Scenario};
use lamina_testkit::disk::Mounted;
use lamina_testkit::or_skip;

const NAME: &str = "erofs";

fn open(dir: &Path, steps: Steps) -> Result<Store> {
    let all = Options::new(dir.join("root"), dir.join("state"));
    // A child that another test forks holds our lock until it runs its program.
    Store::open(Options { steps, reserve: 0, wait: Duration::from_secs(20), ..all })
}

fn quiet(dir: &Path) -> Store {
    open(dir, Steps::none()).unwrap_or_else(|e| panic!("open: {}", e.chain()))
}

fn scope() -> Scope {
    Scope::new(Namespace::new("one").unwrap())
}

fn handle(store: &Store) -> Handle {
    store.snapshots(&scope(), NAME).unwrap()
}

fn needs() -> std::result::Result<(), String> {
    if !lamina_sys::kernel::is_root() {
        return Err("needs root".to_owned());
    }
    let dir = tempfile::tempdir().unwrap();
    match quiet(dir.path()).snapshots(&scope(), NAME) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.chain()),
    }
}

/// Runs `work` on what the mounts show, with the mount manager's part.
fn with<T>(store: &Store, dir: &Path, mounts: &[Mount], work: impl FnOnce(&Path) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let manager = store.mounts(&scope());
    let activation = runtime.block_on(manager.activate("look", mounts, Default::default()));
    let rest = match &activation {
        Ok(activation) => &activation.system,
        Err(error) if error.kind() == Kind::Unimplemented => mounts,
        Err(error) => panic!("{mounts:?}: {}", error.chain()),
    };
    let at = dir.join("mnt");
    std::fs::create_dir(&at).unwrap();
    let _held = Mounted(dir.canonicalize().unwrap());
    mount::all(rest, &at).unwrap_or_else(|error| panic!("{rest:?}: {}", error.chain()));
    let found = work(&at);
    mount::unmount_all(&at, How::Plain).unwrap();
    std::fs::remove_dir(&at).unwrap();
    if activation.is_ok() {
        runtime.block_on(manager.deactivate("look")).unwrap();
    }
    found
}

/// A layer with two files in it, and two actives with another: on it, and on nothing yet.
fn base(dir: &Path) {
    let store = quiet(dir);
    let handle = handle(&store);
    for (key, parent) in [("k", ""), ("work", "base"), ("apart", "")] {
        let mounts = handle.prepare_now(key, parent, Labels::new()).unwrap();
        with(&store, dir, &mounts, |at| match key {
            "k" => ["lower", "gone"].map(|name| std::fs::write(at.join(name), name).unwrap()),
            "work" => [
                std::fs::remove_file(at.join("gone")).unwrap(),
                std::fs::write(at.join("upper"), "upper").unwrap(),
            ],
            _ => ["upper", "more"].map(|name| std::fs::write(at.join(name), name).unwrap()),
        });
        if key == "k" {
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

/// What a view of `parent` shows; what was packed is not kept a second time.
fn look(store: &Store, dir: &Path, parent: &str) -> Vec<String> {
    let handle = handle(store);
    let mounts = handle.view_now("look", parent, Labels::new()).unwrap();
    let names = with(store, dir, &mounts, |at| {
        let names = std::fs::read_dir(at).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    });
    handle.remove_now("look").unwrap();
    let image = Path::new(&mounts[0].source);
    let packed = std::fs::read_dir(image.with_file_name("fs")).unwrap();
    assert_eq!(packed.count(), 0, "{image:?}");
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
            assert_eq!(look(store, dir, "new layer"), ["gone", "lower"]);
        },
    );
}

#[test]
fn commit() {
    cut(
        "commit",
        &["commit.begin", "commit.sealed", "commit.flushed", "commit.row", "commit.settled"],
        |store| handle(store).commit_now("done", "work", CommitOptions::default()),
        |store, dir| assert_eq!(look(store, dir, "done"), ["lower", "upper"]),
    );
}

#[test]
fn commit_with_a_parent_that_comes_late() {
    cut(
        "commit_with_a_parent_that_comes_late",
        &["commit.sealed", "commit.row", "commit.settled"],
        |store| {
            let options = CommitOptions { parent: Some("base".into()), ..Default::default() };
            handle(store).commit_now("done", "apart", options)
        },
        |store, dir| assert_eq!(look(store, dir, "done"), ["gone", "lower", "more", "upper"]),
    );
}
