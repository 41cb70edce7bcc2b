//! Walk: filters, order, pages.

use lamina_core::snapshot::{CommitOptions, Kind, PAGE};

use super::lab::{Lab, labels};

/// What each kind of filter finds.
pub fn walk_with_filters(lab: &Lab<'_>) {
    let key = "containerd.io/test";
    let commit = |name: &str, parent: &str, mark: &[(&str, &str)]| {
        lab.prepare("tmp", parent);
        let options = CommitOptions { labels: labels(mark), parent: None };
        lab.commit_with(name, "tmp", options).unwrap();
    };
    commit("c1", "", &[(key, "one")]);
    commit("c2", "c1", &[(key, "two")]);
    commit("c3", "c2", &[]);
    for (kind, name, parent, mark) in [
        (Kind::Active, "a1", "c2", &[(key, "one")][..]),
        (Kind::Active, "a2", "", &[]),
        (Kind::View, "v1", "c2", &[(key, "one")]),
        (Kind::View, "v2", "c3", &[("other", "x")]),
    ] {
        lab.try_make(kind, name, parent, labels(mark)).unwrap();
    }
    let label = |rest: &str| format!("labels.\"{key}\"{rest}");
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &["a1", "a2", "c1", "c2", "c3", "v1", "v2"]),
        (&[""], &["a1", "a2", "c1", "c2", "c3", "v1", "v2"]),
        (&[&label("==one")], &["a1", "c1", "v1"]),
        (&[&format!("kind==active,{}", label("==one"))], &["a1"]),
        (&[&format!("kind==view,{}", label("==one"))], &["v1"]),
        (&[&format!("kind==committed,{}", label("==one"))], &["c1"]),
        (&["name==a1", "name==c3", "name==absent"], &["a1", "c3"]),
        (&[&format!("name==c1,{}", label(""))], &["c1"]),
        (&[&format!("name==c3,{}", label(""))], &[]),
        (&["parent==c2"], &["a1", "c3", "v1"]),
        (&[&format!("parent!=\"\",{}", label("==one"))], &["a1", "v1"]),
        (&[&label("")], &["a1", "c1", "c2", "v1"]),
        (&[&label("!=one")], &["a2", "c2", "c3", "v2"]),
        (&["name~=\"^[ac]1$\""], &["a1", "c1"]),
        (&["labels.other==x", "kind==committed,parent==\"\""], &["c1", "v2"]),
        (&["nonsense"], &[]),
    ];
    for (filters, want) in cases {
        let found: Vec<_> = lab.walk(filters).into_iter().map(|info| info.name).collect();
        assert_eq!(found, *want, "{filters:?}");
    }
}

/// Every key once, in byte order, in pages of at most a hundred.
pub fn walk_in_key_order(lab: &Lab<'_>) {
    let mut keys: Vec<String> = (0..PAGE + 20).map(|number| format!("k{number}")).collect();
    keys.extend(["/x", "Z", "ä", "a\u{1F980}", "k1 ", "k1\u{7f}"].map(str::to_owned));
    for (number, key) in keys.iter().enumerate() {
        let mark = [("even", "yes")];
        let mark = if number % 2 == 0 { &mark[..] } else { &[] };
        lab.try_make(Kind::View, key, "", labels(mark)).unwrap();
    }
    let even: Vec<String> = keys.iter().step_by(2).cloned().collect();
    for (filters, mut want) in [(&[][..], keys), (&["labels.even==yes"][..], even)] {
        want.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let mut found = Vec::new();
        lab.walk_pages(filters, |page| {
            assert!((1..=PAGE).contains(&page.len()), "a page of {}", page.len());
            found.extend(page.into_iter().map(|info| info.name));
        });
        assert_eq!(found, want);
    }
}

/// The snapshotter can be used while a walk is under way, also changed.
pub fn stat_in_walk(lab: &Lab<'_>) {
    lab.layer("base", "", &[]);
    for number in 0..PAGE {
        lab.view(&format!("view-{number:03}"), "base");
    }
    let mut seen = 0;
    lab.walk_pages(&[], |page| {
        for info in page {
            assert_eq!(lab.stat(&info.name), info);
            seen += 1;
            if info.kind == Kind::View {
                lab.remove(&info.name);
            }
        }
    });
    assert_eq!(seen, PAGE + 1);
    assert_eq!(lab.walk(&[]).len(), 1);
}
