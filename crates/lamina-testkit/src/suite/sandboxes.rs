//! The contract of [`SandboxStore`].

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lamina_core::{Any, Filters, Kind, Labels, Namespace, Sandbox, SandboxStore};

/// Opens the records of a namespace.
pub type Open<'a> = &'a (dyn Fn(&Namespace) -> Arc<dyn SandboxStore> + Sync);

/// Runs every case, each in a namespace of its own.
pub async fn every_case(open: Open<'_>) {
    records(open).await;
    refusals(open).await;
    paths(open).await;
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn any(type_url: &str, value: &[u8]) -> Any {
    Any { type_url: type_url.to_owned(), value: value.to_vec() }
}

fn sandbox(id: &str) -> Sandbox {
    Sandbox {
        id: id.to_owned(),
        labels: labels(&[("a", "1"), ("b", "2")]),
        runtime: "io.containerd.runc.v2".to_owned(),
        runtime_options: Some(any("x.Options", &[0, 255])),
        spec: Some(any("x.Spec", b"{}")),
        sandboxer: "shim".to_owned(),
        extensions: BTreeMap::from([("e".to_owned(), any("x.Y", &[1]))]),
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    }
}

async fn ids(store: &Arc<dyn SandboxStore>, filters: &[&str]) -> Vec<String> {
    let found = store.list(Filters::parse_all(filters).unwrap()).await.unwrap();
    found.into_iter().map(|sandbox| sandbox.id).collect()
}

async fn records(open: Open<'_>) {
    let store = open(&namespace("sandbox-records"));
    let bare = Sandbox {
        labels: Labels::new(),
        runtime: String::new(),
        runtime_options: None,
        spec: None,
        sandboxer: String::new(),
        extensions: BTreeMap::new(),
        ..sandbox("b")
    };
    for asked in [sandbox("a"), bare] {
        let made = store.create(asked.clone()).await.unwrap();
        assert!(made.created > Timestamp::UNIX_EPOCH && made.created == made.updated);
        let (created, updated) = (made.created, made.updated);
        assert_eq!(made, Sandbox { created, updated, ..asked });
        assert_eq!(store.get(&made.id).await.unwrap(), made);
    }
    for (filters, want) in [
        (&[][..], &["a", "b"][..]),
        (&["id==b"], &["b"]),
        (&["id==b", "labels.a==1"], &["a", "b"]),
        (&["labels.a!=1"], &["b"]),
    ] {
        assert_eq!(ids(&store, filters).await, want, "{filters:?}");
    }
    assert!(ids(&open(&namespace("sandbox-other")), &[]).await.is_empty());
    store.delete("a").await.unwrap();
    assert_eq!(ids(&store, &[]).await, ["b"]);
    store.create(sandbox("a")).await.unwrap();
}

async fn refusals(open: Open<'_>) {
    let store = open(&namespace("sandbox-refusals"));
    store.create(sandbox("s")).await.unwrap();
    let long = Sandbox { labels: labels(&[("k", &"v".repeat(4096))]), ..sandbox("new") };
    let nameless =
        Sandbox { extensions: BTreeMap::from([(String::new(), Any::default())]), ..sandbox("new") };
    for (asked, kind) in [
        (sandbox("s"), Kind::AlreadyExists),
        (sandbox(""), Kind::InvalidArgument),
        (sandbox("a/b"), Kind::InvalidArgument),
        (sandbox(&"x".repeat(77)), Kind::InvalidArgument),
        (long.clone(), Kind::InvalidArgument),
        (nameless, Kind::InvalidArgument),
    ] {
        assert_eq!(store.create(asked.clone()).await.unwrap_err().kind(), kind, "{asked:?}");
    }
    assert_eq!(store.get("new").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.delete("new").await.unwrap_err().kind(), Kind::NotFound);
    let runtime = Sandbox { runtime: "other".to_owned(), ..sandbox("s") };
    for (asked, path, kind) in [
        (sandbox("new"), "labels", Kind::NotFound),
        (sandbox("s"), "sandboxer", Kind::InvalidArgument),
        (sandbox("s"), "created_at", Kind::InvalidArgument),
        (Sandbox { id: "s".to_owned(), ..long }, "labels.k", Kind::InvalidArgument),
        (runtime, "", Kind::InvalidArgument),
    ] {
        let paths: Vec<String> = (!path.is_empty()).then(|| path.to_owned()).into_iter().collect();
        let error = store.update(asked, &paths).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{path:?}");
    }
    let kept = store.get("s").await.unwrap();
    assert_eq!((kept.labels, kept.created), (sandbox("s").labels, kept.updated));
}

async fn paths(open: Open<'_>) {
    let store = open(&namespace("sandbox-paths"));
    let new = Sandbox {
        labels: labels(&[("a", "9"), ("c", "3")]),
        runtime: "other".to_owned(),
        runtime_options: None,
        spec: Some(any("x.Spec", b"2")),
        sandboxer: "other".to_owned(),
        extensions: BTreeMap::from([("f".to_owned(), any("x.Y", &[2]))]),
        ..sandbox("s")
    };
    let old = sandbox("s");
    let whole = Sandbox { runtime: old.runtime.clone(), ..new.clone() };
    for (paths, asked, want) in [
        (&[][..], &whole, Sandbox { sandboxer: "shim".to_owned(), ..whole.clone() }),
        (&["labels"], &new, Sandbox { labels: new.labels.clone(), ..old.clone() }),
        (&["labels.a"], &new, Sandbox { labels: labels(&[("a", "9"), ("b", "2")]), ..old.clone() }),
        (&["labels.b"], &new, Sandbox { labels: labels(&[("a", "1")]), ..old.clone() }),
        (&["spec"], &new, Sandbox { spec: new.spec.clone(), ..old.clone() }),
        (
            &["runtime"],
            &new,
            Sandbox { runtime: "other".to_owned(), runtime_options: None, ..old.clone() },
        ),
        (&["extensions"], &new, Sandbox { extensions: new.extensions.clone(), ..old.clone() }),
        (&["extensions.e"], &new, Sandbox { extensions: BTreeMap::new(), ..old.clone() }),
    ] {
        store.create(old.clone()).await.unwrap();
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let changed = store.update(asked.clone(), &paths).await.unwrap();
        assert!(changed.updated > changed.created, "{paths:?}");
        let (created, updated) = (changed.created, changed.updated);
        assert_eq!(changed, Sandbox { created, updated, ..want }, "{paths:?}");
        assert_eq!(store.get("s").await.unwrap(), changed);
        store.delete("s").await.unwrap();
    }
}
