//! Two operations at the worst moment for each other: every answer is still true when it is given.

use std::sync::Arc;

use lamina_core::labels::SNAPSHOT_REF;
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::snapshot::CommitOptions;
use lamina_core::{Host, Kind, Labels, Result};

use super::Handle;
use crate::testing::{Rig, scope};

fn rig() -> (Arc<Rig>, Handle) {
    let rig = Arc::new(Rig::new());
    let handle = rig.store.snapshots(&scope(), "native").unwrap();
    (rig, handle)
}

fn none() -> Labels {
    Labels::new()
}

fn commit(handle: &Handle, name: &str, parent: &str) {
    let key = format!("making {name}");
    handle.prepare_now(&key, parent, none()).unwrap();
    handle.commit_now(name, &key, CommitOptions::default()).unwrap();
}

fn kind<T>(result: Result<T>) -> Kind {
    result.map(drop).unwrap_err().kind()
}

#[test]
fn what_is_being_committed_is_not_collected() {
    let (rig, handle) = rig();
    handle.prepare_now("key", "", none()).unwrap();
    let inside = Arc::clone(&rig);
    // Nothing refers to the active; its files would go while they are sealed.
    rig.at("commit.begin", move || drop(inside.store.collect().unwrap()));
    handle.commit_now("name", "key", CommitOptions::default()).unwrap();
    rig.has_acted();
    handle.view_now("look", "name", none()).unwrap();
}

#[test]
fn usage_of_what_is_removed_meanwhile_is_not_found() {
    let (rig, handle) = rig();
    let mounts = handle.prepare_now("key", "", none()).unwrap();
    std::fs::create_dir(format!("{}/directory", mounts[0].source)).unwrap();
    let (inside, engine) = (handle.clone(), rig.store.engine("native").unwrap());
    // Asked in the middle of the walk over the tree.
    let cancelled = || {
        if inside.remove_now("key").is_ok() {
            engine.reap().unwrap();
        }
        false
    };
    assert_eq!(kind(handle.engine().usage(&scope(), "key", &cancelled)), Kind::NotFound);
}

#[test]
fn a_lease_gets_hold_of_what_is_in_the_way_or_it_is_not_in_the_way() {
    let (rig, handle) = rig();
    let leases = rig.store.leases(&scope());
    rig.runtime.block_on(leases.create("lease", none())).unwrap();
    let leased = rig.store.snapshots(&scope().with_lease("lease"), "native").unwrap();
    let target = Labels::from([(SNAPSHOT_REF.to_owned(), "target".to_owned())]);
    commit(&handle, "target", "");
    let inside = Arc::clone(&rig);
    // Collected after it was seen, before the lease holds it.
    rig.at("hold.found", move || drop(inside.store.collect().unwrap()));
    leased.prepare_now("key", "", target.clone()).unwrap();
    rig.has_acted();

    commit(&handle, "target", "");
    assert_eq!(kind(leased.prepare_now("other", "", target)), Kind::AlreadyExists);
    rig.store.collect().unwrap();
    handle.stat_now("target").unwrap();
}

#[test]
fn a_target_that_appears_while_another_copy_of_it_is_prepared_is_answered() {
    let (rig, handle) = rig();
    let leases = rig.store.leases(&scope());
    rig.runtime.block_on(leases.create("lease", none())).unwrap();
    let leased = rig.store.snapshots(&scope().with_lease("lease"), "native").unwrap();
    let target = Labels::from([(SNAPSHOT_REF.to_owned(), "target".to_owned())]);
    let inside = handle.clone();
    rig.at("create.staged", move || commit(&inside, "target", ""));
    assert_eq!(kind(leased.prepare_now("key", "", target)), Kind::AlreadyExists);
    rig.has_acted();
    assert_eq!(kind(handle.stat_now("key")), Kind::NotFound);
    let held = rig.runtime.block_on(leases.resources("lease")).unwrap();
    let kind = ResourceType::Snapshot("native".to_owned());
    assert_eq!(held, [Resource { kind, id: "target".to_owned() }]);
    let files = rig.store.snapshotter_root("native").join("snapshots");
    assert_eq!(std::fs::read_dir(files).unwrap().count(), 1, "nothing of the key is left");
}

#[test]
fn the_parent_that_is_copied_is_the_one_that_is_pinned() {
    let (rig, handle) = rig();
    commit(&handle, "parent", "");
    let inside = handle.clone();
    let next = Arc::clone(&rig);
    let (tell, told) = std::sync::mpsc::channel();
    rig.at("create.parent", move || {
        // Another snapshot takes the parent's name between the look at it and the pin.
        inside.remove_now("parent").unwrap();
        commit(&inside, "parent", "");
        let remover = inside.clone();
        next.at("create.begin", move || {
            // joined: by the end of the test, which waits for its answer.
            std::thread::spawn(move || tell.send(remover.remove_now("parent")).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
            inside.stat_now("parent").unwrap();
        });
    });
    handle.prepare_now("child", "parent", none()).unwrap();
    rig.has_acted();
    let removed = told.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    assert_eq!(kind(removed), Kind::FailedPrecondition);
}
