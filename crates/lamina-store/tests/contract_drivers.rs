//! What only one back end does, asked through the store.

// Helpers of tests fail by panicking, and each program uses a part of the harness.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

#[path = "support/fake_driver.rs"]
mod fake_driver;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/snapshot_harness.rs"]
mod snapshot_harness;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lamina_core::labels::{SNAPSHOT_GID_MAP, SNAPSHOT_UID_MAP, SNAPSHOT_UPPER_DIR};
use lamina_core::snapshot::{CommitOptions, Info};
use lamina_core::{Filters, Kind, Labels, Mount, Namespace, Scope};
use lamina_store::snapshot::Handle;
use lamina_store::snapshot::drivers::overlay;
use lamina_testkit::or_skip;
use lamina_testkit::suite::snapshots::Harness;
use snapshot_harness::{StoreHarness, fake_options};

fn handle(store: &lamina_store::Store, name: &str) -> Handle {
    store.snapshots(&Scope::new(Namespace::new("testing").unwrap()), name).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

/// Reaps until nothing is busy; the fake needs three tries a snapshot, and children go first.
fn reap(snapshots: &Handle) {
    for _ in 0..6 {
        if snapshots.engine().reap().unwrap().busy.is_empty() {
            return;
        }
    }
    assert_eq!(snapshots.engine().reap().unwrap().busy, []);
}

#[test]
fn privileged_overlay_options_are_last() {
    let mount_options = vec!["volatile".to_owned(), "redirect_dir=off".to_owned()];
    let config = overlay::Config { mount_options, ..Default::default() };
    let harness = or_skip!("privileged_overlay_options_are_last", StoreHarness::overlayfs(config));
    let snapshots = handle(harness.store(), "overlayfs");
    let last = |mounts: &[Mount], count: usize| {
        let options = &mounts[0].options;
        options[options.len() - count..].join(" ")
    };
    let index = Path::new("/sys/module/overlay/parameters/index").exists();
    let want =
        if index { "volatile redirect_dir=off index=off" } else { "volatile redirect_dir=off" };
    let count = want.split(' ').count();
    for (name, parent) in [("one", ""), ("two", "one")] {
        let mounts = snapshots.prepare_now("active", parent, Labels::new()).unwrap();
        let at = harness.attach(&mounts);
        std::fs::write(at.join(name), name).unwrap();
        harness.detach(&at);
        if parent.is_empty() {
            assert_eq!(last(&mounts, 2), "rw rbind", "never on bind mounts");
        } else {
            assert_eq!(last(&mounts, count), want);
        }
        snapshots.commit_now(name, "active", CommitOptions::default()).unwrap();
    }
    let mounts = snapshots.view_now("view", "two", Labels::new()).unwrap();
    assert_eq!(last(&mounts, count), want);
    // A volatile overlay refuses to be mounted after a crash; asked again, the list is no longer.
    assert_eq!(snapshots.mounts_now("view").unwrap(), mounts);
    let at = harness.attach(&mounts);
    assert_eq!(std::fs::read_to_string(at.join("one")).unwrap(), "one");
    harness.detach(&at);
}

#[test]
fn overlay_shows_the_upper_directory_when_asked_to() {
    let test = "overlay_shows_the_upper_directory_when_asked_to";
    let config = overlay::Config { upperdir_label: true, ..Default::default() };
    let harness = or_skip!(test, StoreHarness::overlayfs_without_mounts(config));
    let snapshots = handle(harness.store(), "overlayfs");
    snapshots.prepare_now("active", "", Labels::new()).unwrap();
    let dir = harness.root().join("snapshots/1/fs");
    let want = labels(&[(SNAPSHOT_UPPER_DIR, dir.to_str().unwrap())]);
    assert_eq!(snapshots.stat_now("active").unwrap().labels, want);

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let all = harness.snapshotter();
    let asked = Info { labels: labels(&[("mine", "x")]), ..snapshots.stat_now("active").unwrap() };
    let answer = runtime.block_on(all.update(asked, &[])).unwrap();
    let mut with_mine = want.clone();
    with_mine.insert("mine".to_owned(), "x".to_owned());
    assert_eq!(answer.labels, with_mine);
    // Filters do not see it, as it is not stored.
    let walk = |filter: &str| {
        let mut pages = all.walk(Filters::parse_all(&[filter]).unwrap());
        let page = runtime.block_on(std::future::poll_fn(|cx| pages.as_mut().poll_next(cx)));
        page.transpose().unwrap().unwrap_or_default()
    };
    assert_eq!(walk("labels.mine==x")[0].labels, with_mine);
    assert!(walk(&format!("labels.\"{SNAPSHOT_UPPER_DIR}\"")).is_empty());
    snapshots.commit_now("committed", "active", CommitOptions::default()).unwrap();
    assert_eq!(snapshots.stat_now("committed").unwrap().labels, want);
}

#[test]
fn overlay_removes_before_it_answers_when_asked_to() {
    let test = "overlay_removes_before_it_answers_when_asked_to";
    let config = overlay::Config { sync_remove: true, ..Default::default() };
    let harness = or_skip!(test, StoreHarness::overlayfs_without_mounts(config));
    let snapshots = handle(harness.store(), "overlayfs");
    for key in ["one", "two"] {
        snapshots.prepare_now(key, "", Labels::new()).unwrap();
    }
    snapshots.remove_now("one").unwrap();
    assert_eq!(entries(&harness.root().join("trash")), 0);
    assert_eq!(entries(&harness.root().join("snapshots")), 1);
}

#[test]
fn privileged_overlay_maps_owners() {
    let harness =
        or_skip!("privileged_overlay_maps_owners", StoreHarness::overlayfs(Default::default()));
    let snapshots = handle(harness.store(), "overlayfs");
    let id_mapped = snapshots.engine().driver().capabilities().remap_ids;
    if !id_mapped {
        eprintln!("SKIP privileged_overlay_maps_owners: no overlay on id-mapped mounts here");
        return;
    }
    for (name, parent) in [("one", ""), ("two", "one")] {
        let at = harness.attach(&snapshots.prepare_now("tmp", parent, Labels::new()).unwrap());
        std::fs::write(at.join(name), "").unwrap();
        harness.detach(&at);
        snapshots.commit_now(name, "tmp", CommitOptions::default()).unwrap();
    }
    let maps = labels(&[(SNAPSHOT_UID_MAP, "0:1000:65536"), (SNAPSHOT_GID_MAP, "0:2000:65536")]);
    let mounts = snapshots.prepare_now("mapped", "two", maps).unwrap();
    let first = ["uidmap=0:1000:65536", "gidmap=0:2000:65536"];
    assert_eq!(mounts[0].options[..2], first);
    let at = harness.attach(&mounts);
    let owner = |path: &Path| {
        let found = path.symlink_metadata().unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner(&at), (1000, 2000), "the root of the new layer");
    assert_eq!(owner(&at.join("one")), (1000, 2000), "a file of a lower layer");
    harness.detach(&at);
    assert_eq!(owner(&harness.root().join("snapshots/1/fs/one")), (0, 0), "it is not changed");
    // A layer on top of it belongs to whom the maps of the one below said.
    snapshots.commit_now("three", "mapped", CommitOptions::default()).unwrap();
    let at = harness.attach(&snapshots.prepare_now("top", "three", Labels::new()).unwrap());
    assert_eq!(owner(&at), (1000, 2000));
    harness.detach(&at);
}

#[test]
fn overlay_refuses_maps_that_are_none() {
    let test = "overlay_refuses_maps_that_are_none";
    let harness = or_skip!(test, StoreHarness::overlayfs_without_mounts(Default::default()));
    let snapshots = handle(harness.store(), "overlayfs");
    let good = "0:0:65536";
    let bad = [
        "0",
        "0:0",
        "0:0:",
        "0:0:1:1",
        "-1:0:1",
        "0:-1:1",
        "0:0:-1",
        "a:0:1",
        "0:b:1",
        "0:0:c",
        "0:0:1,",
        "1:1000:10",
        "0:0:0",
    ];
    for map in bad {
        for maps in [[map, good], [good, map], [map, map]] {
            let pairs = [(SNAPSHOT_UID_MAP, maps[0]), (SNAPSHOT_GID_MAP, maps[1])];
            let error = snapshots.prepare_now("active", "", labels(&pairs)).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{maps:?}");
            assert!(snapshots.stat_now("active").unwrap_err().is_not_found(), "{maps:?}");
        }
    }
    assert_eq!(entries(&harness.root().join("snapshots")), 0);
}

#[test]
fn a_busy_snapshot_is_tried_until_it_goes() {
    let harness = or_skip!("a_busy_snapshot_is_tried_until_it_goes", StoreHarness::fake());
    let snapshots = handle(harness.store(), "fake");
    snapshots.prepare_now("active", "", Labels::new()).unwrap();
    let trees = harness.root().join("now");
    assert_eq!(entries(&trees), 1);
    snapshots.remove_now("active").unwrap();
    snapshots.prepare_now("active", "", Labels::new()).unwrap();
    reap(&snapshots);
    assert_eq!(entries(&trees), 1, "the new one, under the same key");
    snapshots.stat_now("active").unwrap();
}

#[test]
fn a_power_cut_leaves_what_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = lamina_store::Store::open(fake_options(dir.path())).unwrap();
    let snapshots = handle(&store, "fake");
    let tree = |mounts: &[Mount]| std::path::PathBuf::from(&mounts[0].source);
    let mounts = snapshots.prepare_now("active", "", Labels::new()).unwrap();
    std::fs::write(tree(&mounts).join("file"), "kept").unwrap();
    snapshots.commit_now("committed", "active", CommitOptions::default()).unwrap();
    let mounts = snapshots.prepare_now("child", "committed", Labels::new()).unwrap();
    std::fs::write(tree(&mounts).join("late"), "lost").unwrap();
    snapshots.prepare_now("gone", "committed", Labels::new()).unwrap();
    snapshots.remove_now("gone").unwrap();
    let root = store.snapshotter_root("fake");
    store.close().unwrap();
    drop((snapshots, store));
    fake_driver::power_cut(&root).unwrap();

    let store = lamina_store::Store::open(fake_options(dir.path())).unwrap();
    let snapshots = handle(&store, "fake");
    let mounts = snapshots.mounts_now("child").unwrap();
    assert_eq!(std::fs::read_to_string(tree(&mounts).join("file")).unwrap(), "kept");
    assert!(!tree(&mounts).join("late").exists(), "an active is not promised to anybody");
    let mounts = snapshots.view_now("view", "committed", Labels::new()).unwrap();
    assert_eq!(std::fs::read_to_string(tree(&mounts).join("file")).unwrap(), "kept");
    reap(&snapshots);
    assert_eq!(entries(&root.join("now")), 3, "what was removed came back, and went again");
    for key in ["view", "child", "committed"] {
        snapshots.remove_now(key).unwrap();
    }
    reap(&snapshots);
    assert_eq!(entries(&root.join("now")), 0);
    store.close().unwrap();
}
