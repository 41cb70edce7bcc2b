//! The engine over the native driver: the life cycle, rebase rules, adoption, recovery. The contract
//! suites in `tests/` run over every driver with real mounts; what is here needs neither.

use std::path::Path;
use std::sync::Arc;

use lamina_core::snapshot::{CommitOptions, Kind};
use lamina_core::{Digest, Filters, Labels, Namespace, Scope};

use super::drivers::native::Native;
use super::locks::Pins;
use super::*;
use crate::Durability;
use crate::db::{self, Db};
use crate::fault::Steps;

fn open(root: &Path) -> (Db, Arc<Engine>) {
    let db = Db::open(&root.join("db"), db::Options::new(Durability::Full)).unwrap();
    let driver = Arc::new(Native::open(&root.join("native")).unwrap());
    let options = Options {
        durability: Durability::Full,
        share: true,
        sync_remove: false,
        steps: Steps::none(),
    };
    let engine = Engine::open("native", driver, db.clone(), Pins::default(), options).unwrap();
    (db, engine)
}

fn scope(name: &str) -> Scope {
    Scope::new(Namespace::new(name).unwrap())
}

fn none() -> Labels {
    Labels::new()
}

#[test]
fn life_cycle_and_its_errors() {
    use lamina_core::Kind as E;
    let root = tempfile::tempdir().unwrap();
    let (_db, engine) = open(root.path());
    let h = engine.scoped(scope("a"));
    fn kind<T>(result: lamina_core::Result<T>) -> E {
        result.map(drop).unwrap_err().kind()
    }

    let mounts = h.prepare_now("k", "", none()).unwrap();
    assert!(mounts[0].source.ends_with("snapshots/1"), "{mounts:?}");
    assert_eq!(h.mounts_now("k").unwrap(), mounts);
    assert_eq!(kind(h.prepare_now("k", "", none())), E::AlreadyExists);
    assert_eq!(kind(h.view_now("k", "", none())), E::AlreadyExists);
    assert_eq!(kind(h.prepare_now("x", "k", none())), E::InvalidArgument);
    assert_eq!(kind(h.prepare_now("x", "nobody", none())), E::NotFound);
    assert_eq!(kind(h.commit_now("c", "nobody", CommitOptions::default())), E::NotFound);
    h.commit_now("c", "k", CommitOptions::default()).unwrap();
    assert_eq!(kind(h.stat_now("k")), E::NotFound);
    assert_eq!(kind(h.mounts_now("c")), E::FailedPrecondition);
    let info = h.stat_now("c").unwrap();
    assert_eq!((info.kind, info.created), (Kind::Committed, info.updated));

    h.prepare_now("k", "c", none()).unwrap();
    assert_eq!(kind(h.commit_now("c", "k", CommitOptions::default())), E::AlreadyExists);
    let refused = h.remove_now("c").unwrap_err();
    assert_eq!(refused.kind(), E::FailedPrecondition);
    assert!(refused.to_string().contains("remove"), "{refused}");
    h.view_now("v", "c", none()).unwrap();
    assert_eq!(kind(h.commit_now("d", "v", CommitOptions::default())), E::FailedPrecondition);
    for key in ["v", "k", "c"] {
        h.remove_now(key).unwrap();
    }
    assert_eq!(engine.reap().unwrap().busy, []);
    assert_eq!(std::fs::read_dir(root.path().join("native/snapshots")).unwrap().count(), 0);
}

#[test]
fn one_namespace_does_not_see_another() {
    let root = tempfile::tempdir().unwrap();
    let (_db, engine) = open(root.path());
    let (a, b) = (engine.scoped(scope("a")), engine.scoped(scope("b")));
    a.prepare_now("k", "", none()).unwrap();
    assert!(b.stat_now("k").unwrap_err().is_not_found());
    b.prepare_now("k", "", none()).unwrap();
    b.remove_now("k").unwrap();
    a.stat_now("k").unwrap();
    let page = engine.walk_page(b.scope(), &Filters::default(), &mut Some(String::new())).unwrap();
    assert_eq!(page, []);
}

#[test]
fn a_listing_of_one_page_shows_nothing_twice() {
    let root = tempfile::tempdir().unwrap();
    let (_db, engine) = open(root.path());
    let h = engine.scoped(scope("a"));
    h.prepare_now("a", "", none()).unwrap();
    let mut after = Some(String::new());
    let mut page = || engine.walk_page(h.scope(), &Filters::default(), &mut after).unwrap();
    assert_eq!(page().len(), 1);
    // What was shown is renamed to something behind it.
    h.commit_now("b", "a", CommitOptions::default()).unwrap();
    assert_eq!(page(), []);
}

#[test]
fn a_lease_that_is_not_there_is_an_error_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (_db, engine) = open(root.path());
    let h = engine.scoped(scope("a").with_lease("no"));
    assert!(h.prepare_now("k", "", none()).unwrap_err().is_not_found());
    assert_eq!(std::fs::read_dir(root.path().join("native/snapshots")).unwrap().count(), 0);
}

#[test]
fn ids_are_never_used_twice_and_unused_ones_are_handed_back() {
    let root = tempfile::tempdir().unwrap();
    let id = |key: &str| {
        let (db, engine) = open(root.path());
        let h = engine.scoped(scope("a"));
        let mounts = h.prepare_now(key, "", none()).unwrap();
        h.remove_now(key).unwrap();
        engine.close().unwrap();
        db.close().unwrap();
        mounts[0].source.rsplit('/').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!((id("a"), id("b"), id("a")), (1, 2, 3));
}

#[test]
fn only_verified_chains_are_shared_and_survive_their_first_namespace() {
    let root = tempfile::tempdir().unwrap();
    let (db, engine) = open(root.path());
    let (a, b) = (engine.scoped(scope("a")), engine.scoped(scope("b")));
    let (diff, blob) = (Digest::sha256(b"diff"), Digest::sha256(b"blob"));
    let layer = || Layer { diff_id: diff.clone(), blob: Some(blob.clone()) };
    let target = Labels::from([(lamina_core::labels::SNAPSHOT_REF.into(), diff.to_string())]);

    // A name that looks like a chain ID proves nothing.
    a.prepare_now("k", "", none()).unwrap();
    a.commit_now(diff.as_str(), "k", CommitOptions::default()).unwrap();
    assert!(!b.adopt_now(&diff).unwrap());
    a.remove_now(diff.as_str()).unwrap();

    a.prepare_now("k", "", none()).unwrap();
    a.commit_layer_now(diff.as_str(), "k", CommitOptions::default(), layer()).unwrap();
    // Without its blob on the host it is not adopted.
    assert!(!b.adopt_now(&diff).unwrap());
    let digest = blob.clone();
    db.write(move |tx| tx.insert_blob_for_test(&digest)).unwrap();
    let found = b.prepare_now("extract", "", target).unwrap_err();
    assert!(found.is_already_exists());
    assert_eq!(b.stat_now(diff.as_str()).unwrap().kind, Kind::Committed);

    a.remove_now(diff.as_str()).unwrap();
    engine.reap().unwrap();
    let mounts = b.view_now("v", diff.as_str(), none()).unwrap();
    assert!(Path::new(&mounts[0].source).is_dir(), "{mounts:?}");
}

#[test]
fn what_no_row_names_is_dropped_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let (db, engine) = open(root.path());
    engine.scoped(scope("a")).prepare_now("kept", "", none()).unwrap();
    engine.close().unwrap();
    db.close().unwrap();
    drop((engine, db));
    let dir = root.path().join("native/snapshots");
    for stray in ["new-7", "17"] {
        std::fs::create_dir(dir.join(stray)).unwrap();
    }
    let (_db, engine) = open(root.path());
    let mut left: Vec<_> =
        std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["1"]);
    engine.scoped(scope("a")).stat_now("kept").unwrap();
}

#[test]
fn a_removal_waits_for_what_is_being_made_on_it() {
    let root = tempfile::tempdir().unwrap();
    let (_db, engine) = open(root.path());
    let h = engine.scoped(scope("a"));
    h.prepare_now("k", "", none()).unwrap();
    h.commit_now("base", "k", CommitOptions::default()).unwrap();
    let making = engine.pins.pin(engine.named(h.scope(), "base").unwrap().id);
    let (tell, told) = std::sync::mpsc::channel();
    let removing = std::thread::spawn({
        let h = h.clone();
        move || tell.send(h.remove_now("base")).unwrap()
    });
    assert!(told.recv_timeout(std::time::Duration::from_millis(50)).is_err());
    h.stat_now("base").unwrap();
    drop(making);
    told.recv_timeout(std::time::Duration::from_secs(10)).unwrap().unwrap();
    removing.join().unwrap();
    assert!(h.stat_now("base").unwrap_err().is_not_found());
}
