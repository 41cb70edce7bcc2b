//! The contract of the content store, over the local one.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::path::Path;
use std::sync::Arc;

use lamina_core::{ContentStore, Namespace, Scope};
use lamina_store::Durability;
use lamina_store::content::{Options, Sharing, Store};
use lamina_store::db::{self, Db};
use lamina_store::fault::Steps;
use lamina_testkit::suite::content::{self, Facts};

fn open(root: &Path, sharing: Sharing) -> Store {
    let durability = Durability::None;
    let db = Db::open(&root.join("db"), db::Options::new(durability)).unwrap();
    let options = Options { durability, sharing, reserve: 0, steps: Steps::none() };
    Store::open(&root.join("content"), db, options).unwrap()
}

fn scoped(store: &Store) -> impl Fn(&Namespace) -> Arc<dyn ContentStore> + Sync {
    |namespace| Arc::new(store.scoped(Scope::new(namespace.clone())))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_shared() {
    let dir = tempfile::tempdir().unwrap();
    content::every_case(&scoped(&open(dir.path(), Sharing::Shared)), Facts::LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_isolated() {
    let dir = tempfile::tempdir().unwrap();
    content::every_case(&scoped(&open(dir.path(), Sharing::Isolated)), Facts::LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing() {
    let dir = tempfile::tempdir().unwrap();
    content::sharing(&scoped(&open(dir.path(), Sharing::Shared)), Facts::LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn isolation() {
    let dir = tempfile::tempdir().unwrap();
    content::isolation(&scoped(&open(dir.path(), Sharing::Isolated))).await;
}
