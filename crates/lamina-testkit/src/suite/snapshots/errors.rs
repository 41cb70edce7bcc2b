//! Wrong calls: the class of the error, and that nothing changed.

use lamina_core::Kind as Class;
use lamina_core::snapshot::{CommitOptions, Kind, MAX_KEY};

use super::lab::{Lab, class, labels};
use super::tree::Op;

/// What is not there is not found, and cannot be a parent.
pub fn absent_things(lab: &Lab<'_>) {
    assert!(lab.walk(&[]).is_empty(), "a fresh snapshotter has nothing");
    let ask = |lab: &Lab<'_>| {
        assert_eq!(class(lab.try_stat("absent")), Class::NotFound);
        assert_eq!(class(lab.usage("absent")), Class::NotFound);
        assert_eq!(class(lab.mounts("absent")), Class::NotFound);
        assert_eq!(class(lab.try_remove("absent")), Class::NotFound);
        assert_eq!(class(lab.try_commit("name", "absent", None)), Class::NotFound);
    };
    ask(lab);
    lab.prepare("other", "");
    ask(lab);
    let info = lamina_core::snapshot::Info { name: "absent".into(), ..lab.stat("other") };
    assert_eq!(class(lab.update(info, &[])), Class::NotFound);
}

/// Only what is committed can be a parent.
pub fn bad_parents(lab: &Lab<'_>) {
    lab.layer("base", "", &[]);
    lab.prepare("active", "base");
    lab.view("view", "base");
    let before = lab.walk(&[]);
    for kind in [Kind::Active, Kind::View] {
        for (parent, want) in [
            ("absent", Class::NotFound),
            ("active", Class::InvalidArgument),
            ("view", Class::InvalidArgument),
        ] {
            let made = lab.try_make(kind, "new", parent, labels(&[]));
            assert_eq!(class(made), want, "{kind} on {parent}");
        }
    }
    assert_eq!(lab.walk(&[]), before);
}

/// Keys have bounds, and are otherwise any text.
pub fn bad_keys(lab: &Lab<'_>) {
    let long = "k".repeat(MAX_KEY);
    for key in ["/a/path", "with space", "sha256:abc", "ä\n\u{1F980}", "..", &long] {
        lab.prepare(key, "");
        assert_eq!(lab.stat(key).name, key);
        lab.remove(key);
    }
    lab.prepare("active", "");
    let over = "k".repeat(MAX_KEY + 1);
    for key in ["", "a\0b", &over] {
        for kind in [Kind::Active, Kind::View] {
            assert_eq!(class(lab.try_make(kind, key, "", labels(&[]))), Class::InvalidArgument);
        }
        assert_eq!(class(lab.try_commit(key, "active", None)), Class::InvalidArgument);
    }
    assert_eq!(lab.walk(&[]).len(), 1);
}

/// A commit that cannot be leaves the active as it was.
pub fn bad_commits(lab: &Lab<'_>) {
    lab.layer("base", "", &[]);
    let mounts = lab.prepare("active", "base");
    lab.write(&mounts, &[Op::File("early", "x", 0o644)]);
    lab.view("view", "base");
    let before = lab.walk(&[]);
    for (name, key, want) in [
        ("new", "view", Class::FailedPrecondition),
        ("new", "base", Class::FailedPrecondition),
        // The name is looked at first.
        ("base", "active", Class::AlreadyExists),
        ("view", "active", Class::AlreadyExists),
        ("active", "active", Class::AlreadyExists),
        ("base", "absent", Class::AlreadyExists),
        ("base", "view", Class::AlreadyExists),
    ] {
        assert_eq!(class(lab.try_commit(name, key, None)), want, "commit {key} as {name}");
    }
    assert_eq!(lab.walk(&[]), before);
    assert_eq!(lab.mounts("active").unwrap(), mounts);
    lab.write(&mounts, &[Op::File("late", "x", 0o644)]);
    lab.commit("new", "active");
    let names: Vec<_> = lab.look("new").into_keys().collect();
    assert_eq!(names, ["", "early", "late"].map(std::path::PathBuf::from));
}

/// Labels have bounds; nothing is made or changed by a call that breaks them.
pub fn bad_labels(lab: &Lab<'_>) {
    let fits = [("key", &*"v".repeat(4093))];
    let over = [("key", &*"v".repeat(4094))];
    lab.try_make(Kind::Active, "active", "", labels(&fits)).unwrap();
    let before = lab.walk(&[]);
    for kind in [Kind::Active, Kind::View] {
        assert_eq!(class(lab.try_make(kind, "new", "", labels(&over))), Class::InvalidArgument);
    }
    let options = CommitOptions { labels: labels(&over), parent: None };
    assert_eq!(class(lab.commit_with("new", "active", options)), Class::InvalidArgument);
    let info = lamina_core::snapshot::Info { labels: labels(&over), ..lab.stat("active") };
    assert_eq!(class(lab.update(info, &[])), Class::InvalidArgument);
    assert_eq!(lab.walk(&[]), before);
}
