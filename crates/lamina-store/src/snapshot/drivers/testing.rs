//! What the tests of the drivers share: the engine's order of calls.

use std::path::PathBuf;

use lamina_core::snapshot::{Kind, Usage};

use crate::snapshot::driver::{Driver, Place, Snapshot, SnapshotId, Stage, Target};

pub(crate) fn snapshot(id: u64, kind: Kind, parents: &[u64]) -> Snapshot {
    let parents = parents.iter().copied().map(SnapshotId).collect();
    Snapshot { id: SnapshotId(id), kind, parents, labels: Default::default() }
}

pub(crate) fn stage(name: &str) -> Stage {
    Stage { name: name.to_owned() }
}

/// Prepare or View.
pub(crate) fn make(driver: &dyn Driver, snapshot: &Snapshot) {
    let stage = stage(&format!("new-{}", snapshot.id));
    driver.create(snapshot, &stage).unwrap();
    driver.publish(snapshot, &stage).unwrap();
    driver.flush(&[snapshot.id], &[]).unwrap();
}

/// Commit.
pub(crate) fn commit(driver: &dyn Driver, snapshot: &Snapshot) -> Usage {
    let usage = driver.seal(snapshot).unwrap();
    driver.flush(&[], &[snapshot.id]).unwrap();
    if driver.settles() {
        driver.settle(&Snapshot { kind: Kind::Committed, ..snapshot.clone() }).unwrap();
    }
    usage
}

/// The directory that a layer for this active goes to.
pub(crate) fn layer(driver: &dyn Driver, snapshot: &Snapshot) -> PathBuf {
    match driver.target(snapshot, Place::Bottom).unwrap() {
        Target::Dir { path, .. } => path,
        Target::Mount => panic!("{driver:?} wants a mount"),
    }
}
