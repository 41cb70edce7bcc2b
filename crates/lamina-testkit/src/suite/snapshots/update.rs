//! Update: labels, and nothing else.

use jiff::Timestamp;
use lamina_core::Kind as Class;
use lamina_core::snapshot::{CommitOptions, Info, Kind};

use super::lab::{Lab, class, labels};

fn pairs(names: &[(&str, &str)]) -> lamina_core::Labels {
    names.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Every form of update, on every kind.
pub fn update_labels(lab: &Lab<'_>) {
    let start = pairs(&[("l1", "v1"), ("l2", "v2"), ("l3", "v3")]);
    let commit = |name: &str, parent: &str| {
        lab.try_make(Kind::Active, "tmp", parent, start.clone()).unwrap();
        let options = CommitOptions { labels: start.clone(), parent: None };
        lab.commit_with(name, "tmp", options).unwrap();
    };
    commit("c1", "");
    commit("c2", "c1");
    for (kind, key, parent) in
        [(Kind::Active, "a1", "c2"), (Kind::Active, "a2", ""), (Kind::View, "v1", "c1")]
    {
        lab.try_make(kind, key, parent, start.clone()).unwrap();
    }
    for key in ["c1", "c2", "a1", "a2", "v1"] {
        let first = lab.stat(key);
        assert_eq!(first.labels, start, "{key}");
        assert_eq!(first.created, first.updated, "{key}");
        let change = |labels: &[(&str, &str)], paths: &[&str]| {
            let before = Timestamp::now();
            // Fields that cannot change are not looked at.
            let asked = Info {
                labels: pairs(labels),
                parent: "other".to_owned(),
                kind: Kind::View,
                created: Timestamp::UNIX_EPOCH,
                ..first.clone()
            };
            let answered = lab.update(asked, paths).unwrap();
            assert_eq!(answered, lab.stat(key), "{key}: the answer is what is stored");
            assert_eq!((answered.kind, &answered.parent), (first.kind, &first.parent), "{key}");
            assert_eq!(answered.created, first.created, "{key}");
            assert!(before <= answered.updated && answered.updated <= Timestamp::now(), "{key}");
            answered.labels
        };
        let all = [("l1", "updated"), ("l4", "v4")];
        assert_eq!(change(&all, &[]), pairs(&all));
        let some = [("l1", "again"), ("l5", "not named")];
        let paths = ["labels.l1", "labels.l4"];
        assert_eq!(change(&some, &paths), pairs(&[("l1", "again")]), "named ones only");
        assert_eq!(change(&all, &["labels"]), pairs(&all));
        assert_eq!(change(&[("l1", "")], &["labels.l1"]), pairs(&[("l4", "v4")]), "empty deletes");
        assert_eq!(
            change(&[("a.b/c", "d")], &["labels.a.b/c"]),
            pairs(&[("a.b/c", "d"), ("l4", "v4")])
        );
        assert_eq!(change(&[("x", "1"), ("y", "")], &[]), pairs(&[("x", "1")]));
        assert_eq!(change(&[], &[]), pairs(&[]));
    }
}

/// Nothing else can be changed; a wrong path changes nothing at all.
pub fn update_of_other_fields(lab: &Lab<'_>) {
    lab.prepare("active", "");
    let before = lab.stat("active");
    for paths in
        [&["parent"][..], &["kind"], &["labels.l1", "name"], &["created"], &[""], &["label"]]
    {
        let asked = Info { labels: labels(&[("l1", "new")]), ..before.clone() };
        assert_eq!(class(lab.update(asked, paths)), Class::InvalidArgument, "{paths:?}");
        assert_eq!(lab.stat("active"), before, "{paths:?}");
    }
    let nameless = Info { name: String::new(), ..before };
    assert_eq!(class(lab.update(nameless, &[])), Class::InvalidArgument);
}
