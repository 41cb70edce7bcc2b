//! Labels on snapshots, and the label that names what a snapshot will become.

use lamina_core::Kind as Class;
use lamina_core::snapshot::{CommitOptions, Kind};

use super::lab::{Lab, class, labels};

/// A committed snapshot has the labels of its commit, none of the active's; empty ones are none.
pub fn labels_of_a_commit(lab: &Lab<'_>) {
    let first = [("first", "1"), ("empty", ""), ("containerd.io/snapshot/x", "y")];
    lab.try_make(Kind::Active, "active", "", labels(&first)).unwrap();
    let want = labels(&[("first", "1"), ("containerd.io/snapshot/x", "y")]);
    assert_eq!(lab.stat("active").labels, want);
    let options = CommitOptions { labels: labels(&[("second", "2"), ("empty", "")]), parent: None };
    lab.commit_with("committed", "active", options).unwrap();
    assert_eq!(lab.stat("committed").labels, labels(&[("second", "2")]));
    lab.try_make(Kind::View, "view", "committed", labels(&first)).unwrap();
    assert_eq!(lab.stat("view").labels, want, "a child inherits nothing");
}

/// `containerd.io/snapshot.ref` says what the snapshot is going to be: when that is there already,
/// nothing is made, and the caller is told.
pub fn target_that_exists(lab: &Lab<'_>) {
    let target = [("containerd.io/snapshot.ref", "layer")];
    lab.try_make(Kind::Active, "extract-1", "", labels(&target)).unwrap();
    lab.commit("layer", "extract-1");
    let before = lab.walk(&[]);
    let again = lab.try_make(Kind::Active, "extract-2", "", labels(&target));
    assert_eq!(class(again), Class::AlreadyExists);
    assert_eq!(lab.walk(&[]), before);
    lab.remove("layer");
    lab.try_make(Kind::Active, "extract-2", "", labels(&target)).unwrap();
}
