//! The contract of sandbox records, over a store, and what they hold.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use lamina_core::{Host as _, Labels, Namespace, Sandbox, Scope};
use lamina_store::{Durability, Options, Store};
use lamina_testkit::suite::sandboxes;

fn open(dir: &tempfile::TempDir) -> Store {
    let mut options = Options::new(dir.path().join("root"), dir.path().join("state"));
    options.durability = Durability::None;
    Store::open(options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let scoped = |namespace: &Namespace| store.sandboxes(&Scope::new(namespace.clone()));
    sandboxes::every_case(&scoped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_a_sandbox_hold_snapshots_until_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let scope = Scope::new(Namespace::new("default").unwrap());
    let snapshots = store.snapshotter(&scope, "native").unwrap();
    for key in ["held", "loose"] {
        snapshots.prepare(key, "", Labels::new()).await.unwrap();
    }
    let label = ("containerd.io/gc.ref.snapshot.native".to_owned(), "held".to_owned());
    let sandbox = Sandbox {
        id: "pod".to_owned(),
        labels: Labels::from([label]),
        runtime: String::new(),
        runtime_options: None,
        spec: None,
        sandboxer: String::new(),
        extensions: Default::default(),
        created: jiff::Timestamp::UNIX_EPOCH,
        updated: jiff::Timestamp::UNIX_EPOCH,
    };
    let records = store.sandboxes(&scope);
    records.create(sandbox).await.unwrap();
    store.collect().unwrap();
    snapshots.stat("held").await.unwrap();
    snapshots.stat("loose").await.unwrap_err();
    records.delete("pod").await.unwrap();
    store.collect().unwrap();
    snapshots.stat("held").await.unwrap_err();
}
