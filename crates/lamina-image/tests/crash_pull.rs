//! Whole pulls, killed or failing or out of room at the steps they reach, and given up at any point:
//! after a start fsck finds nothing and no record names half an image, and the same pull succeeds.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::OnceCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{
    Digest, Filters, Host as _, Labels, Mount, Namespace, Platform, Reference, Result, Scope,
};
use lamina_image::pull::{Flights, Platforms, Pull, Pulled, Silent};
use lamina_image::registry::{Anonymous, Config, Registry};
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;
use lamina_store::mount::temp::TempMounts;
use lamina_store::{Options, Store};
use lamina_testkit::crash::{self, Cut, Listener, Scenario};
use lamina_testkit::env::skip::require_root;
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::or_skip;
use lamina_testkit::registry::{Fault, On, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use lamina_testkit::tree::Tree;
use tokio::runtime::{Builder, Runtime};

const REPOSITORY: &str = "library/app";
/// The record's name, the same for the registry of this process and that of a killed child.
const NAME: &str = "registry.example/library/app:1";

/// A whole pull reaches the same steps again and again, and a cut at all of them takes minutes: each is
/// cut the first time, and then every so many times. The fifth of five blobs is among them.
const EVERY: usize = 12;

/// Up to which time. Of the steps of transactions every run has some more than these; how many more
/// depends on which requests happen to share one.
const MOST: usize = 15;

/// Far more than any pull here takes.
const FOR_EVER: Duration = Duration::from_secs(60);

fn scope() -> Scope {
    Scope::new(Namespace::new("default").unwrap())
}

fn amd64() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

/// Three layers; the second takes something of the first away.
fn image() -> Image {
    let archive = |entries: Vec<Entry>| TarBuilder::archive(entries);
    ImageBuilder::new(Flavor::Oci)
        .platform(amd64())
        .layer(archive(vec![
            Entry::dir("etc"),
            Entry::file("etc/one", "1"),
            Entry::file("etc/gone", "x"),
        ]))
        .layer_as(
            archive(vec![
                Entry::dir("etc"),
                Entry::whiteout("etc/gone"),
                Entry::file("etc/two", "2"),
            ]),
            Compression::Zstd,
        )
        .layer_as(archive(vec![Entry::symlink("three", "etc/one")]), Compression::None)
        .build()
}

/// A registry that serves [`image`].
fn serve() -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push(REPOSITORY, "1", &image());
    registry
}

fn open(dir: &Path, steps: Steps) -> Result<Store> {
    let all = Options::new(dir.join("root"), dir.join("state"));
    // A child that another test forks holds our lock until it runs its program.
    Store::open(Options { steps, reserve: 0, wait: Duration::from_secs(20), ..all })
}

fn quiet(dir: &Path) -> Store {
    open(dir, Steps::none()).unwrap_or_else(|e| panic!("open: {}", e.chain()))
}

/// Few threads and one download at a time: every run reaches much the same steps.
fn in_order() -> Runtime {
    Builder::new_current_thread().enable_all().max_blocking_threads(3).build().unwrap()
}

async fn pull(registry: &TestRegistry, store: &Store, snapshotter: &str) -> Result<Pulled> {
    let reference = Reference::parse(&format!("{}/{REPOSITORY}:1", registry.host()))?;
    let client = Registry::new(Config { plain_http: true, ..Config::default() })?;
    let pull = Pull {
        repository: client.repository(&reference, Arc::new(Anonymous)).await?,
        name: NAME.to_owned(),
        host: Arc::new(store.clone()),
        scope: scope(),
        platforms: Platforms::Best(Matcher::only(&amd64())),
        snapshotter: Some(snapshotter.to_owned()),
        labels: Labels::new(),
        downloads: 1,
        limits: Limits::STANDARD,
        progress: Arc::new(Silent),
    };
    let flights = Flights::new();
    let pulled = tokio::time::timeout(FOR_EVER, pull.run(&flights)).await;
    pulled.unwrap_or_else(|_| panic!("the pull neither ends nor fails"))
}

/// fsck finds nothing, and an image that is listed is whole.
fn sound(store: &Store, snapshotter: &str, after: &str) {
    store.engine(snapshotter).unwrap().reap().unwrap();
    let report = store.fsck(FsckOptions { verify_blobs: true, repair: false }).unwrap();
    assert_eq!(report.findings, [], "after {after}");
    let images = in_order().block_on(store.images(&scope()).list(Filters::default())).unwrap();
    if !images.is_empty() {
        assert_eq!(images[0].target.digest, image().root.digest, "after {after}");
        let content = store.content_now(&scope());
        for digest in image().content.keys() {
            content.info_now(digest).unwrap_or_else(|e| panic!("after {after}: {}", e.chain()));
        }
    }
}

/// The tree that the image unpacked to.
fn tree(dir: &Path, store: &Store, snapshotter: &str, top: &Digest) -> Tree {
    let snapshots = store.snapshots(&scope(), snapshotter).unwrap();
    let mounts = snapshots.view_now("look", top.as_str(), Labels::new()).unwrap();
    let show = |mounts: &[Mount]| {
        TempMounts::new(dir.join("look")).with(mounts, |root| Ok(Tree::read(root))).unwrap()
    };
    let tree = match snapshotter {
        "native" => Tree::read(&mounts[0].source),
        "erofs" => {
            let (runtime, manager) = (in_order(), store.mounts(&scope()));
            let active = runtime.block_on(manager.activate("look", &mounts, Default::default()));
            let tree = show(&active.unwrap().system);
            runtime.block_on(manager.deactivate("look")).unwrap();
            tree
        }
        _ => show(&mounts),
    };
    snapshots.remove_now("look").unwrap();
    assert_eq!(tree.paths(), ["etc", "etc/one", "etc/two", "three"]);
    tree.without_root()
}

/// The same pull succeeds, gives the whole tree, and leaves no lease, ingest or garbage.
fn recovers(dir: &Path, registry: &TestRegistry, snapshotter: &str, after: &str) -> Tree {
    let store = quiet(dir);
    sound(&store, snapshotter, after);
    let runtime = in_order();
    let pulled = runtime.block_on(pull(registry, &store, snapshotter));
    let pulled = pulled.unwrap_or_else(|e| panic!("the pull after {after}: {}", e.chain()));
    let found = tree(dir, &store, snapshotter, &pulled.unpacked[0]);
    let leases = runtime.block_on(store.leases(&scope()).list(Filters::default())).unwrap();
    assert_eq!(leases, [], "after {after}");
    store.collect().unwrap();
    let ingests = store.content_now(&scope()).statuses_now(&Filters::default()).unwrap();
    assert_eq!(ingests, [], "after {after}");
    let kept = tree(dir, &store, snapshotter, &pulled.unpacked[0]);
    found.assert_same(&kept, "after a collection");
    sound(&store, snapshotter, &format!("{after} and the same pull again"));
    found
}

/// The tree of a pull that nothing happens to.
fn whole(registry: &TestRegistry, snapshotter: &str) -> Tree {
    let dir = tempfile::tempdir().unwrap();
    recovers(dir.path(), registry, snapshotter, "nothing")
}

fn cut(test: &str, snapshotter: &str) {
    let registry = serve();
    // Not before a check needs it: a child that is to be killed does not.
    let expected = OnceCell::new();
    let steps = crash::at_every_step(&Scenario {
        test,
        prepare: &|dir| drop(quiet(dir)),
        act: &|dir, listener: Listener| {
            let times = Mutex::new(HashMap::<&str, usize>::new());
            let sampled = move |step: &'static str| {
                let mut times = times.lock().unwrap();
                let time = times.entry(step).or_default();
                *time += 1;
                let take = *time == 1 || (time.is_multiple_of(EVERY) && *time <= MOST);
                drop(times);
                if take { listener.reach(step) } else { Ok(()) }
            };
            let steps = Steps::watched(Arc::new(sampled));
            let store = open(dir, steps)?;
            store.engine(snapshotter)?;
            in_order().block_on(pull(&registry, &store, snapshotter)).map(drop)
        },
        check: &|dir, cut: &Cut| {
            let found = recovers(dir, &registry, snapshotter, &cut.to_string());
            let expected = expected.get_or_init(|| whole(&registry, snapshotter));
            expected.assert_same(&found, &cut.to_string());
        },
    });
    for wanted in ["ingest.begin", "blob.row", "create.row", "commit.row", "db.commit"] {
        assert!(steps.iter().any(|(name, _)| *name == wanted), "{wanted} not reached: {steps:?}");
    }
}

#[test]
fn a_pull_into_native_is_cut_anywhere() {
    cut("a_pull_into_native_is_cut_anywhere", "native");
}

#[test]
fn a_pull_into_overlayfs_is_cut_anywhere() {
    or_skip!("a_pull_into_overlayfs_is_cut_anywhere", require_root());
    cut("a_pull_into_overlayfs_is_cut_anywhere", "overlayfs");
}

#[test]
fn a_pull_into_erofs_is_cut_anywhere() {
    let test = "a_pull_into_erofs_is_cut_anywhere";
    or_skip!(test, require_root());
    // A child that is to be killed comes by here, too: nothing may be held when it is.
    let dir = tempfile::tempdir().unwrap();
    let opened = quiet(dir.path()).snapshots(&scope(), "erofs").map(drop);
    drop(dir);
    if let Err(error) = opened {
        return println!("SKIP {test}: {}", error.chain());
    }
    cut(test, "erofs");
}

/// The registry falls silent before and within everything it is asked for, and the caller leaves.
#[test]
fn a_caller_may_leave_a_silent_registry() {
    let image = image();
    let mut points = vec![("the tag".to_owned(), On::manifests(), Fault::Hang)];
    for (digest, content) in &image.content {
        let half = content.bytes.len().div_ceil(2);
        points.push((format!("before {digest}"), On::digest(digest), Fault::Hang));
        let slow = Fault::Slow(half, Duration::from_millis(500));
        points.push((format!("in {digest}"), On::digest(digest), slow));
    }
    for (point, on, fault) in points {
        let (dir, registry) = (tempfile::tempdir().unwrap(), serve());
        registry.fault(on, fault);
        let store = quiet(dir.path());
        let left = in_order().block_on(async {
            tokio::time::timeout(Duration::from_millis(800), pull(&registry, &store, "native"))
                .await
        });
        assert!(left.is_err(), "{point}: the registry was not silent");
        drop(store);
        registry.clear_faults();
        let found = recovers(dir.path(), &registry, "native", &point);
        whole(&registry, "native").assert_same(&found, &point);
    }
}

/// The future is dropped after so many polls: at points spread over the whole pull.
#[test]
fn a_pull_may_be_dropped_at_any_await() {
    let registry = serve();
    let whole = whole(&registry, "native");
    let polls = AtomicUsize::new(0);
    let run = |dir: &Path, most: usize| {
        let store = quiet(dir);
        polls.store(0, Ordering::Relaxed);
        in_order().block_on(async {
            let mut pull = pin!(pull(&registry, &store, "native"));
            poll_fn(|context| match polls.fetch_add(1, Ordering::Relaxed) {
                n if n == most => Poll::Ready(None),
                _ => pull.as_mut().poll(context).map(Some),
            })
            .await
        })
    };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), usize::MAX).unwrap().unwrap();
    let all = polls.load(Ordering::Relaxed);
    let mut dropped = 0;
    for most in (1..all).step_by(all.div_ceil(25).max(1)) {
        let dir = tempfile::tempdir().unwrap();
        dropped += usize::from(run(dir.path(), most).is_none());
        let after = format!("{most} of {all} polls");
        whole.assert_same(&recovers(dir.path(), &registry, "native", &after), &after);
    }
    assert!(dropped >= 10, "only {dropped} of {all} polls were points to drop it at");
}
