//! Prepare, commit, stat, remove, close.

use jiff::Timestamp;
use lamina_core::snapshot::Kind;

use super::lab::{Lab, class, labels};
use super::tree::{Op, assert_same};

/// One life from the empty tree over two layers and a view to nothing.
pub fn basic(lab: &Lab<'_>) {
    let initial = [
        Op::File("foo", "foo\n", 0o777),
        Op::Dir("a", 0o755),
        Op::Dir("a/b", 0o755),
        Op::Dir("a/b/c", 0o755),
    ];
    let mounts = lab.prepare("/tmp/base", "");
    lab.write(&mounts, &initial);
    let info = lab.stat("/tmp/base");
    assert_eq!((info.kind, &*info.name, &*info.parent), (Kind::Active, "/tmp/base", ""));
    lab.commit("committed", "/tmp/base");
    let info = lab.stat("committed");
    assert_eq!((info.kind, &*info.name, &*info.parent), (Kind::Committed, "committed", ""));
    assert!(!lab.is_there("/tmp/base"), "a committed key goes on under its new name only");
    let base = lab.look("committed");

    let mounts = lab.prepare("/tmp/next", "committed");
    assert_eq!(lab.stat("/tmp/next").parent, "committed");
    lab.attached(&mounts, |root| {
        assert_same(&super::tree::read(root), &base, "a fresh child");
        super::tree::apply(
            root,
            &[
                Op::File("bar", "bar\n", 0o777),
                Op::File("foo", "changed\n", 0o777),
                Op::Remove("a/b"),
            ],
        );
    });
    let info = lab.stat("/tmp/next");
    assert_eq!((info.kind, &*info.parent), (Kind::Active, "committed"));
    lab.commit("second", "/tmp/next");
    assert_eq!(lab.stat("second").parent, "committed");
    assert_same(&lab.look("committed"), &base, "the base, with a child");

    let names = ["committed", "second"];
    let walked = lab.walk(&[]);
    assert_eq!(walked.iter().map(|info| &*info.name).collect::<Vec<_>>(), names);
    assert_eq!(walked, names.map(|name| lab.stat(name)), "walk and stat agree");

    let seen = lab.look("second");
    let names: Vec<&str> = seen.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["", "a", "bar", "foo"]);

    let error = lab.try_remove("committed").expect_err("it has a child");
    assert_eq!(error.kind(), lamina_core::Kind::FailedPrecondition);
    // Clients look for the word.
    assert!(error.chain().contains("remove"), "{}", error.chain());
    lab.remove("second");
    lab.remove("committed");
    assert!(lab.walk(&[]).is_empty());
    lab.cleanup().unwrap();
}

/// A fresh active, as stat shows it.
pub fn stat_of_an_active(lab: &Lab<'_>) {
    lab.write(&lab.prepare("active", ""), &[Op::File("foo", "foo", 0o777)]);
    let info = lab.stat("active");
    assert_eq!((info.kind, &*info.name, &*info.parent), (Kind::Active, "active", ""));
    assert_eq!(info.labels, labels(&[]));
}

/// A committed one, as stat shows it.
pub fn stat_of_a_committed(lab: &Lab<'_>) {
    lab.layer("committed", "", &[Op::File("foo", "foo", 0o777)]);
    let info = lab.stat("committed");
    assert_eq!((info.kind, &*info.name, &*info.parent), (Kind::Committed, "committed", ""));
}

/// Parents are found by name down to the bottom.
pub fn parents_of_parents(lab: &Lab<'_>) {
    lab.layer("A", "", &[Op::File("foo", "foo", 0o777)]);
    lab.layer("B", "A", &[Op::File("bar", "bar", 0o777)]);
    let b = lab.stat("B");
    assert_eq!(b.parent, "A");
    assert_eq!(lab.stat(&b.parent).parent, "");
}

/// A key is one snapshot's, of whatever kind.
pub fn keys_are_taken_once(lab: &Lab<'_>) {
    lab.layer("base", "", &[]);
    let kinds = [Kind::Active, Kind::View];
    for (number, (first, second)) in
        kinds.iter().flat_map(|first| kinds.iter().map(move |second| (*first, *second))).enumerate()
    {
        let key = format!("key-{number}");
        lab.try_make(first, &key, "base", labels(&[])).unwrap();
        let before = lab.stat(&key);
        for parent in ["base", ""] {
            let again = lab.try_make(second, &key, parent, labels(&[("x", "y")]));
            assert_eq!(class(again), lamina_core::Kind::AlreadyExists, "{first} then {second}");
        }
        assert_eq!(lab.stat(&key), before);
    }
    assert_eq!(
        class(lab.try_make(Kind::Active, "base", "", labels(&[]))),
        lamina_core::Kind::AlreadyExists
    );
}

/// A removed key is free, for any kind.
pub fn keys_can_be_used_again(lab: &Lab<'_>) {
    lab.layer("committed-1", "", &[Op::File("one", "1", 0o644)]);
    lab.prepare("reuse", "committed-1");
    lab.remove("reuse");
    lab.view("reuse", "committed-1");
    lab.remove("reuse");
    let mounts = lab.prepare("reuse", "");
    lab.attached(&mounts, |root| {
        assert_eq!(std::fs::read_dir(root).unwrap().count(), 0, "nothing of what had the key");
    });
    lab.remove("reuse");
    lab.remove("committed-1");
    lab.layer("committed-1", "", &[]);
    assert_eq!(lab.look("committed-1").len(), 1);
}

/// Closing again does nothing.
pub fn close_twice(lab: &Lab<'_>) {
    lab.layer("committed", "", &[Op::File("foo", "foo", 0o644)]);
    lab.close().unwrap();
    lab.close().unwrap();
}

/// Only leaves can be removed, whatever their kind.
pub fn remove_intermediate(lab: &Lab<'_>) {
    lab.layer("base", "", &[Op::File("base", "", 0o644)]);
    lab.layer("middle", "base", &[Op::File("middle", "", 0o644)]);
    lab.prepare("top", "middle");
    for (key, child) in [("middle", "top"), ("base", "middle")] {
        let error = lab.try_remove(key).expect_err(child);
        assert_eq!(error.kind(), lamina_core::Kind::FailedPrecondition);
        assert!(error.chain().contains("remove"), "{}", error.chain());
    }
    lab.remove("top");
    lab.view("top", "middle");
    assert_eq!(class(lab.try_remove("middle")), lamina_core::Kind::FailedPrecondition);
    for key in ["top", "middle", "base"] {
        lab.remove(key);
    }
    assert!(lab.walk(&[]).is_empty());
}

/// Creation and commit set both times, to the moment they happened.
pub fn times(lab: &Lab<'_>) {
    let before = Timestamp::now();
    lab.prepare("active", "");
    let active = lab.stat("active");
    assert_eq!(active.created, active.updated);
    assert!(before <= active.created && active.created <= Timestamp::now());
    let between = Timestamp::now();
    lab.commit("committed", "active");
    let committed = lab.stat("committed");
    assert_eq!(committed.created, committed.updated);
    assert!(between <= committed.created && committed.created <= Timestamp::now());
    lab.view("view", "committed");
    let view = lab.stat("view");
    assert!(view.created == view.updated && view.created > committed.created);
}
