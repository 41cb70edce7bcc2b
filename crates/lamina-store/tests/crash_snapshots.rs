//! Snapshots, killed or failing or out of room at every step of every operation: after a start fsck
//! finds nothing, what was answered is there, and the same call succeeds.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::content::WriteOptions;
use lamina_core::snapshot::CommitOptions;
use lamina_core::{Digest, Kind, Labels, Namespace, Result, Scope};
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;
use lamina_store::snapshot::{Handle, Layer};
use lamina_store::{Options, Store};
use lamina_testkit::crash::{self, Cut, Listener, Scenario};

fn open(dir: &Path, steps: Steps) -> Result<Store> {
    let all = Options::new(dir.join("root"), dir.join("state"));
    // A child that another test forks holds our lock until it runs its program.
    Store::open(Options { steps, reserve: 0, wait: Duration::from_secs(20), ..all })
}

fn quiet(dir: &Path) -> Store {
    open(dir, Steps::none()).unwrap_or_else(|e| panic!("open: {}", e.chain()))
}

fn scope(name: &str) -> Scope {
    Scope::new(Namespace::new(name).unwrap())
}

fn driver() -> &'static str {
    // Overlayfs rebases; without the privileges for it, the crash tests of its steps are native's.
    if lamina_sys::kernel::is_root() { "overlayfs" } else { "native" }
}

fn one(store: &Store) -> Handle {
    store.snapshots(&scope("one"), driver()).unwrap()
}

fn none() -> Labels {
    Labels::new()
}

/// Nothing is half there, nothing is left over, and what every scenario starts with is there.
fn sound(store: &Store, cut: &str) {
    let handle = one(store);
    store.engine(driver()).unwrap().reap().unwrap();
    let report = store.fsck(FsckOptions { verify_blobs: true, repair: false }).unwrap();
    assert_eq!(report.findings, [], "after {cut}");
    handle.stat_now("base").unwrap_or_else(|e| panic!("after {cut}: {}", e.chain()));
    let mounts = handle.mounts_now("bystander").unwrap();
    assert!(!mounts.is_empty());
}

/// A committed layer that may be shared, with its blob, and an active that no scenario touches.
fn base(dir: &Path) {
    let store = quiet(dir);
    let content = store.content_now(&scope("one"));
    let mut writer = content.writer_now("blob", WriteOptions::default()).unwrap();
    writer.write(b"blob").unwrap();
    let blob = writer.commit(Default::default()).unwrap();
    let handle = one(&store);
    handle.prepare_now("k", "", none()).unwrap();
    let layer = Layer { diff_id: diff(), blob: Some(blob) };
    handle.commit_layer_now("base", "k", CommitOptions::default(), layer).unwrap();
    handle.prepare_now("bystander", "base", none()).unwrap();
    store.close().unwrap();
}

fn diff() -> Digest {
    Digest::sha256(b"a layer")
}

/// Cuts `op` everywhere. `op` runs again after each cut and must then succeed, or say that it was
/// done already; `done` holds after it.
fn cut(
    test: &str,
    wanted: &[&str],
    more: fn(&Path),
    op: fn(&Store) -> Result<()>,
    done: fn(&Store),
    was_done: &[Kind],
) {
    let steps = crash::at_every_step(&Scenario {
        test,
        prepare: &|dir| {
            base(dir);
            more(dir);
        },
        act: &|dir, listener: Listener| {
            let steps = Steps::watched(Arc::new(move |step: &'static str| listener.reach(step)));
            let store = open(dir, steps)?;
            // The snapshotter is opened by its first use, which recovers.
            store.engine(driver())?;
            op(&store)
        },
        check: &|dir, cut: &Cut| {
            let store = quiet(dir);
            sound(&store, &cut.to_string());
            match op(&store) {
                Ok(()) => {}
                Err(error) if was_done.contains(&error.kind()) => {}
                Err(error) => panic!("the same call after {cut}: {}", error.chain()),
            }
            done(&store);
            store.close().unwrap();
            drop(store);
            sound(&quiet(dir), &format!("{cut} and the same call again"));
        },
    });
    for step in wanted {
        assert!(steps.iter().any(|(name, _)| name == step), "{step} was not reached: {steps:?}");
    }
}

#[test]
fn prepare() {
    cut(
        "prepare",
        &["create.begin", "create.staged", "create.published", "create.flushed", "create.row"],
        |_| (),
        |store| one(store).prepare_now("new", "base", none()).map(drop),
        |store| assert!(!one(store).mounts_now("new").unwrap().is_empty()),
        &[Kind::AlreadyExists],
    );
}

#[test]
fn view() {
    cut(
        "view",
        &["create.staged", "create.row"],
        |_| (),
        |store| one(store).view_now("look", "base", none()).map(drop),
        |store| assert!(!one(store).mounts_now("look").unwrap().is_empty()),
        &[Kind::AlreadyExists],
    );
}

#[test]
fn commit() {
    cut(
        "commit",
        &["commit.begin", "commit.sealed", "commit.flushed", "commit.row"],
        |dir| {
            let store = quiet(dir);
            one(&store).prepare_now("work", "base", none()).unwrap();
            store.close().unwrap();
        },
        |store| one(store).commit_now("done", "work", CommitOptions::default()),
        |store| {
            assert!(one(store).stat_now("work").unwrap_err().is_not_found());
            assert_eq!(one(store).stat_now("done").unwrap().parent, "base");
        },
        &[Kind::AlreadyExists],
    );
}

#[test]
fn commit_with_a_parent_that_comes_late() {
    if driver() != "overlayfs" {
        eprintln!("SKIP commit_with_a_parent_that_comes_late: overlayfs needs root");
        return;
    }
    cut(
        "commit_with_a_parent_that_comes_late",
        &["commit.sealed", "commit.row"],
        |dir| {
            let store = quiet(dir);
            one(&store).prepare_now("work", "", none()).unwrap();
            store.close().unwrap();
        },
        |store| {
            let options = CommitOptions { parent: Some("base".into()), ..Default::default() };
            let layer = Layer { diff_id: Digest::sha256(b"second"), blob: None };
            one(store).commit_layer_now("done", "work", options, layer)
        },
        |store| assert_eq!(one(store).stat_now("done").unwrap().parent, "base"),
        &[Kind::AlreadyExists],
    );
}

#[test]
fn remove() {
    cut(
        "remove",
        &["remove.begin", "remove.row", "reap.files", "reap.row"],
        |dir| {
            let store = quiet(dir);
            one(&store).prepare_now("old", "base", none()).unwrap();
            store.close().unwrap();
        },
        |store| {
            one(store).remove_now("old")?;
            store.engine(driver())?.reap().map(drop)
        },
        |store| assert!(one(store).stat_now("old").unwrap_err().is_not_found()),
        &[Kind::NotFound],
    );
}

#[test]
fn adoption() {
    cut(
        "adoption",
        &["adopt.begin", "adopt.row"],
        |_| (),
        |store| {
            let two = store.snapshots(&scope("two"), driver())?;
            assert!(two.adopt_now(&diff())?);
            Ok(())
        },
        |store| {
            let two = store.snapshots(&scope("two"), driver()).unwrap();
            two.stat_now(diff().as_str()).unwrap();
            let blob = Digest::sha256(b"blob");
            store.content_now(&scope("two")).info_now(&blob).unwrap();
        },
        &[],
    );
}

#[test]
fn collection() {
    // What the scenario starts with is kept by a root label; the rest is garbage.
    cut(
        "collection",
        &["gc.marking", "gc.marked", "gc.chunk"],
        |dir| {
            let store = quiet(dir);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let root = lamina_core::labels::GC_ROOT;
            let handle = one(&store);
            for key in ["base", "bystander"] {
                let mut info = handle.stat_now(key).unwrap();
                info.labels.insert(root.into(), "yes".into());
                let update = lamina_core::Snapshotter::update(&handle, info, &[]);
                runtime.block_on(update).unwrap();
            }
            handle.prepare_now("garbage", "base", none()).unwrap();
            handle.commit_now("rubbish", "garbage", CommitOptions::default()).unwrap();
            handle.prepare_now("litter", "rubbish", none()).unwrap();
            drop(runtime);
            store.close().unwrap();
        },
        |store| store.collect().map(drop),
        |store| {
            for key in ["rubbish", "litter"] {
                assert!(one(store).stat_now(key).unwrap_err().is_not_found(), "{key}");
            }
            let blob = Digest::sha256(b"blob");
            assert!(store.content_now(&scope("one")).info_now(&blob).unwrap_err().is_not_found());
        },
        &[],
    );
}
