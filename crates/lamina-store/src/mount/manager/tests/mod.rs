//! The manager with real mounts.

mod crash;
mod leftovers;
mod life;
mod lists;

use std::path::{Path, PathBuf};

use lamina_core::mount::ActivateOptions;
use lamina_core::{Mount, Namespace, Scope};

use super::{Handlers, LoopHandler, Manager, ManagerOptions};
use crate::db::{Db, Options};
use crate::durability::Durability;
use crate::fault::Steps;
use crate::mount::Mounter;

/// How a manager in `dir` is opened; the boot is `boot-a`.
fn options(dir: &Path) -> ManagerOptions {
    ManagerOptions {
        targets: dir.join("state/t"),
        allowed: vec![dir.join("allowed")],
        handlers: Handlers::none().with("loop", std::sync::Arc::new(LoopHandler)),
        mounter: Mounter::default(),
        boot: "boot-a".to_owned(),
        steps: Steps::none(),
    }
}

fn database(dir: &Path) -> Db {
    Db::open(&dir.join("db"), Options::new(Durability::None)).unwrap()
}

fn open(dir: &Path) -> Manager {
    std::fs::create_dir_all(dir.join("allowed")).unwrap();
    Manager::open(database(dir), options(dir)).unwrap()
}

fn scope() -> Scope {
    Scope::new(namespace())
}

fn namespace() -> Namespace {
    Namespace::new("default").unwrap()
}

fn tmpfs() -> Mount {
    Mount::new("tmpfs", "tmpfs", ["size=256k"])
}

fn temporary() -> ActivateOptions {
    ActivateOptions { temporary: true, ..ActivateOptions::default() }
}

fn names(manager: &Manager) -> Vec<String> {
    manager.list(&namespace()).unwrap().into_iter().map(|found| found.name).collect()
}

/// The directories of activations.
fn targets(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir.join("state/t"))
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default()
}

/// How many mounts there are below `dir`.
fn mounts_below(dir: &Path) -> usize {
    let real = dir.canonicalize().unwrap();
    let entries = lamina_sys::mountinfo::read().unwrap();
    lamina_sys::mountinfo::below(&entries, &real).len()
}
