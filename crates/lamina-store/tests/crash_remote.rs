//! Snapshots of a proxy, cut at every step of both phases, and with answers that never arrive: what is
//! named is there, and what nobody names the proxy does not keep.

// Helpers of tests fail by panicking, and each program uses a part of the harness.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

#[path = "support/proxy.rs"]
mod proxy;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use lamina_core::labels::SNAPSHOT_REF;
use lamina_core::snapshot::{CommitOptions, Info};
use lamina_core::{Filters, Host, Kind, Labels, Namespace, Result, Scope};
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;
use lamina_store::snapshot::Handle;
use lamina_store::{Options, Store};
use lamina_testkit::crash::{self, Cut, Listener, Scenario};
use proxy::{NAME, Proxy};
use tokio::runtime::Runtime;

/// A store and the proxy it uses.
struct World {
    store: Store,
    proxy: Proxy,
    // Last: the store's threads wait for calls that it carries out.
    runtime: Runtime,
}

impl World {
    fn open(dir: &Path, steps: Steps) -> Result<World> {
        let runtime = Runtime::new().unwrap();
        let proxy = Proxy::native(dir)?;
        let mut all = Options::new(dir.join("root"), dir.join("state"));
        all.remotes = vec![proxy.source(runtime.handle())];
        let wait = Duration::from_secs(20);
        let store = Store::open(Options { steps, reserve: 0, wait, ..all })?;
        store.engine(NAME)?;
        Ok(World { store, proxy, runtime })
    }

    fn quiet(dir: &Path) -> World {
        World::open(dir, Steps::none()).unwrap_or_else(|e| panic!("open: {}", e.chain()))
    }

    fn close(self) {
        self.store.close().unwrap();
        self.proxy.behind.close().unwrap();
    }

    fn of(&self, namespace: &str) -> Handle {
        self.store.snapshots(&Scope::new(Namespace::new(namespace).unwrap()), NAME).unwrap()
    }

    fn one(&self) -> Handle {
        self.of("one")
    }

    fn script(&self) -> std::sync::MutexGuard<'_, proxy::Script> {
        self.proxy.script.lock().unwrap()
    }

    /// What the proxy has.
    fn behind(&self) -> Vec<Info> {
        let all = Scope::new(Namespace::new("all").unwrap());
        let snapshots = self.proxy.behind.snapshotter(&all, "native").unwrap();
        self.runtime.block_on(snapshots.walk(Filters::default()).try_concat()).unwrap()
    }

    /// Everything that is named is at the proxy, and nothing else.
    fn sound(&self, cut: &str, names: &[&str]) {
        let reaped = self.store.engine(NAME).unwrap().reap().unwrap();
        assert_eq!(reaped.busy, [], "after {cut}");
        let report = self.store.fsck(FsckOptions { verify_blobs: true, repair: false }).unwrap();
        assert_eq!(report.findings, [], "after {cut}");
        for name in names {
            self.one()
                .stat_now(name)
                .unwrap_or_else(|e| panic!("{name} after {cut}: {}", e.chain()));
        }
        let listed = self.one();
        let listed = self.runtime.block_on(async {
            use lamina_core::Snapshotter as _;
            listed.walk(Filters::default()).try_concat().await.unwrap()
        });
        let behind = self.behind();
        assert_eq!(listed.len(), behind.len(), "after {cut}: {listed:?}\n{behind:?}");
    }
}

fn none() -> Labels {
    Labels::new()
}

fn target(name: &str) -> Labels {
    Labels::from([(SNAPSHOT_REF.to_owned(), name.to_owned())])
}

/// A committed snapshot, and an active that no scenario touches.
fn base(dir: &Path) {
    let world = World::quiet(dir);
    world.one().prepare_now("k", "", none()).unwrap();
    world.one().commit_now("base", "k", CommitOptions::default()).unwrap();
    world.one().prepare_now("bystander", "base", none()).unwrap();
    world.close();
}

fn cut(
    test: &str,
    wanted: &[&str],
    more: fn(&World),
    op: fn(&World) -> Result<()>,
    done: fn(&World),
    was_done: &[Kind],
) {
    let steps = crash::at_every_step(&Scenario {
        test,
        prepare: &|dir| {
            base(dir);
            let world = World::quiet(dir);
            more(&world);
            world.close();
        },
        act: &|dir, listener: Listener| {
            let steps = Steps::watched(Arc::new(move |step: &'static str| listener.reach(step)));
            op(&World::open(dir, steps)?)
        },
        check: &|dir, cut: &Cut| {
            let world = World::quiet(dir);
            match op(&world) {
                Ok(()) => {}
                Err(error) if was_done.contains(&error.kind()) => {}
                Err(error) => panic!("the same call after {cut}: {}", error.chain()),
            }
            done(&world);
            world.close();
            let world = World::quiet(dir);
            world.sound(&format!("{cut} and the same call again"), &["base", "bystander"]);
            world.close();
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
        &["create.begin", "create.pending", "create.asked", "create.row"],
        |_| (),
        |world| world.one().prepare_now("new", "base", none()).map(drop),
        |world| assert!(!world.one().mounts_now("new").unwrap().is_empty()),
        &[Kind::AlreadyExists],
    );
}

#[test]
fn commit() {
    cut(
        "commit",
        &["commit.begin", "commit.pending", "commit.asked", "commit.row"],
        |world| drop(world.one().prepare_now("work", "base", none()).unwrap()),
        |world| world.one().commit_now("done", "work", CommitOptions::default()),
        |world| {
            assert!(world.one().stat_now("work").unwrap_err().is_not_found());
            assert_eq!(world.one().stat_now("done").unwrap().parent, "base");
        },
        &[Kind::AlreadyExists],
    );
}

#[test]
fn remove() {
    cut(
        "remove",
        &["remove.begin", "remove.row", "reap.files", "reap.row"],
        |world| drop(world.one().prepare_now("old", "base", none()).unwrap()),
        |world| {
            world.one().remove_now("old")?;
            world.store.engine(NAME)?.reap().map(drop)
        },
        |world| assert!(world.one().stat_now("old").unwrap_err().is_not_found()),
        &[Kind::NotFound],
    );
}

#[test]
fn adoption() {
    cut(
        "adoption",
        &["create.pending", "create.asked", "adopt.found", "adopt.row"],
        |_| (),
        |world| {
            world.script().lazy = true;
            let prepared = world.one().prepare_now("extract", "base", target("chain"));
            let error = prepared.unwrap_err();
            if error.is_already_exists() { Ok(()) } else { Err(error) }
        },
        |world| {
            let found = world.one().stat_now("chain").unwrap();
            assert_eq!(
                (found.kind, found.parent.as_str()),
                (lamina_core::snapshot::Kind::Committed, "base")
            );
            assert!(world.one().stat_now("extract").unwrap_err().is_not_found());
        },
        &[],
    );
}

/// A world with `base` in it.
fn world() -> (tempfile::TempDir, World) {
    let dir = tempfile::tempdir().unwrap();
    base(dir.path());
    let world = World::quiet(dir.path());
    (dir, world)
}

#[test]
fn a_prepare_whose_answer_is_lost_is_undone() {
    let (_dir, world) = world();
    for call in ["prepare", "view"] {
        world.script().deaf = Some(call);
        let made = match call {
            "view" => world.one().view_now("new", "base", none()),
            _ => world.one().prepare_now("new", "base", none()),
        };
        let error = made.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.chain().contains("proxy snapshotter remote"), "{}", error.chain());
        world.script().deaf = None;
        world.sound(call, &["base"]);
        // The key is free at once.
        world.one().prepare_now("new", "base", none()).unwrap();
        world.one().remove_now("new").unwrap();
    }
    world.sound("all", &["base", "bystander"]);
    world.close();
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_by_the_next() {
    let (_dir, world) = world();
    world.one().prepare_now("work", "base", none()).unwrap();
    world.script().deaf = Some("commit");
    let lost = world.one().commit_now("done", "work", CommitOptions::default());
    assert_eq!(lost.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(world.one().stat_now("work").unwrap().kind, lamina_core::snapshot::Kind::Active);
    world.script().deaf = None;
    world.one().commit_now("done", "work", CommitOptions::default()).unwrap();
    world.sound("a lost commit", &["base", "done"]);
    world.close();
}

#[test]
fn a_commit_whose_answer_is_lost_goes_with_its_active() {
    let (_dir, world) = world();
    world.one().prepare_now("work", "base", none()).unwrap();
    world.script().deaf = Some("commit");
    world.one().commit_now("done", "work", CommitOptions::default()).unwrap_err();
    world.script().deaf = None;
    world.one().remove_now("work").unwrap();
    world.sound("a lost commit and a removal", &["base", "bystander"]);
    world.close();
}

#[test]
fn while_the_proxy_is_away_names_work_and_removals_wait() {
    let (dir, world) = world();
    world.script().down = true;
    let kinds = [
        world.one().prepare_now("new", "base", none()).unwrap_err().kind(),
        world.one().mounts_now("bystander").unwrap_err().kind(),
        world.one().stat_now("base").unwrap_err().kind(),
        world.one().commit_now("x", "bystander", CommitOptions::default()).unwrap_err().kind(),
    ];
    assert_eq!(kinds, [Kind::Unavailable; 4]);
    world.one().remove_now("bystander").unwrap();
    assert!(world.one().stat_now("bystander").unwrap_err().is_not_found());
    world.store.collect().unwrap();
    world.close();
    // Another start does what was owed.
    let world = World::quiet(dir.path());
    world.sound("an absence", &[]);
    world.close();
}

#[test]
fn a_layer_that_the_proxy_has_is_every_namespaces_and_goes_with_the_last() {
    let (_dir, world) = world();
    world.script().lazy = true;
    for space in ["one", "two"] {
        let space = world.of(space);
        for (name, parent) in [("low", ""), ("high", "low")] {
            let answer = space.prepare_now("extract", parent, target(name)).unwrap_err();
            assert!(answer.is_already_exists(), "{}", answer.chain());
            assert_eq!(space.stat_now(name).unwrap().parent, parent);
        }
    }
    let lazy = |world: &World| {
        let all = world.behind().into_iter();
        all.filter(|info| info.name.starts_with("lazy")).map(|info| info.name).collect::<Vec<_>>()
    };
    world.store.engine(NAME).unwrap().reap().unwrap();
    assert_eq!(lazy(&world), ["lazy high", "lazy low"]);
    for (space, left) in [("one", 2), ("two", 0)] {
        for name in ["high", "low"] {
            world.of(space).remove_now(name).unwrap();
        }
        world.store.engine(NAME).unwrap().reap().unwrap();
        assert_eq!(lazy(&world).len(), left);
    }
    world.close();
}

#[test]
fn a_proxy_that_says_it_has_a_layer_and_has_none_is_refused() {
    let (_dir, world) = world();
    world.script().lazy = true;
    // It lies on another snapshot than the one asked for.
    world.of("two").prepare_now("extract", "", target("chain")).unwrap_err();
    let answer = world.one().prepare_now("extract", "base", target("chain")).unwrap_err();
    assert!(answer.is_not_found(), "{}", answer.chain());
    assert!(world.one().stat_now("chain").unwrap_err().is_not_found());
    world.close();
}
