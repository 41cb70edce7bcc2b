//! The trait's calls as a case wants them: blocking, and panicking where success is expected.

use std::fmt;
use std::path::Path;

use lamina_core::snapshot::{CommitOptions, Info, Kind, Usage};
use lamina_core::{Error, Filters, Labels, Mount, Result};
use tokio::runtime::{Builder, Runtime};

use super::harness::{Facts, Harness};
use super::tree::{self, Op, Tree};

/// A snapshotter to experiment with.
pub struct Lab<'h> {
    harness: &'h dyn Harness,
    runtime: Runtime,
}

impl fmt::Debug for Lab<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lab({:?})", self.facts())
    }
}

/// Labels from pairs; `containerd.io/gc.root` is among them, as upstream's suite has it, so that
/// nothing is collected meanwhile.
pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let root = [("containerd.io/gc.root", "2026-01-01T00:00:00Z")];
    pairs.iter().chain(&root).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

impl<'h> Lab<'h> {
    /// A lab over a fresh snapshotter.
    pub fn new(harness: &'h dyn Harness) -> Self {
        Lab { harness, runtime: Builder::new_current_thread().build().unwrap() }
    }

    pub(super) fn facts(&self) -> Facts {
        self.harness.facts()
    }

    pub(super) fn harness(&self) -> &dyn Harness {
        self.harness
    }

    pub(super) fn try_stat(&self, key: &str) -> Result<Info> {
        self.runtime.block_on(self.harness.snapshotter().stat(key))
    }

    pub(super) fn stat(&self, key: &str) -> Info {
        self.try_stat(key).unwrap_or_else(|error| panic!("stat {key}: {}", error.chain()))
    }

    pub(super) fn update(&self, info: Info, paths: &[&str]) -> Result<Info> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.runtime.block_on(self.harness.snapshotter().update(info, &paths))
    }

    pub(super) fn usage(&self, key: &str) -> Result<Usage> {
        self.runtime.block_on(self.harness.snapshotter().usage(key))
    }

    pub(super) fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        self.runtime.block_on(self.harness.snapshotter().mounts(key))
    }

    pub(super) fn try_make(
        &self,
        kind: Kind,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>> {
        let snapshotter = self.harness.snapshotter();
        let mounts = match kind {
            Kind::Active => self.runtime.block_on(snapshotter.prepare(key, parent, labels)),
            Kind::View => self.runtime.block_on(snapshotter.view(key, parent, labels)),
            Kind::Committed => panic!("a committed snapshot is made by commit"),
        }?;
        assert!(!mounts.is_empty(), "{kind} {key} has no mounts");
        Ok(mounts)
    }

    pub(super) fn prepare(&self, key: &str, parent: &str) -> Vec<Mount> {
        self.try_make(Kind::Active, key, parent, labels(&[]))
            .unwrap_or_else(|error| panic!("prepare {key} on {parent:?}: {}", error.chain()))
    }

    pub(super) fn view(&self, key: &str, parent: &str) -> Vec<Mount> {
        self.try_make(Kind::View, key, parent, labels(&[]))
            .unwrap_or_else(|error| panic!("view {key} of {parent:?}: {}", error.chain()))
    }

    pub(super) fn try_commit(&self, name: &str, key: &str, parent: Option<&str>) -> Result<()> {
        let options = CommitOptions { labels: labels(&[]), parent: parent.map(str::to_owned) };
        self.commit_with(name, key, options)
    }

    pub(super) fn commit_with(&self, name: &str, key: &str, options: CommitOptions) -> Result<()> {
        self.runtime.block_on(self.harness.snapshotter().commit(name, key, options))
    }

    pub(super) fn commit(&self, name: &str, key: &str) {
        self.try_commit(name, key, None)
            .unwrap_or_else(|error| panic!("commit {key} as {name}: {}", error.chain()));
    }

    pub(super) fn try_remove(&self, key: &str) -> Result<()> {
        self.runtime.block_on(self.harness.snapshotter().remove(key))
    }

    pub(super) fn remove(&self, key: &str) {
        self.try_remove(key).unwrap_or_else(|error| panic!("remove {key}: {}", error.chain()));
    }

    pub(super) fn close(&self) -> Result<()> {
        self.runtime.block_on(self.harness.snapshotter().close())
    }

    pub(super) fn cleanup(&self) -> Result<()> {
        self.runtime.block_on(self.harness.snapshotter().cleanup())
    }

    /// The pages of a walk; each is handed to `page` while the walk is still under way.
    pub(super) fn walk_pages(&self, filters: &[&str], mut page: impl FnMut(Vec<Info>)) {
        let filters = Filters::parse_all(filters).unwrap();
        let snapshotter = self.harness.snapshotter();
        let mut pages = snapshotter.walk(filters);
        while let Some(next) =
            self.runtime.block_on(std::future::poll_fn(|cx| pages.as_mut().poll_next(cx)))
        {
            page(next.unwrap_or_else(|error| panic!("walk: {}", error.chain())));
        }
    }

    pub(super) fn walk(&self, filters: &[&str]) -> Vec<Info> {
        let mut all = Vec::new();
        self.walk_pages(filters, |page| all.extend(page));
        all
    }

    /// Whether anything is known of the key.
    pub(super) fn is_there(&self, key: &str) -> bool {
        match self.try_stat(key) {
            Ok(_) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => panic!("stat {key}: {}", error.chain()),
        }
    }

    /// Runs `work` on the tree of a mount list.
    pub(super) fn attached<T>(&self, mounts: &[Mount], work: impl FnOnce(&Path) -> T) -> T {
        let at = self.harness.attach(mounts);
        let done = work(&at);
        self.harness.detach(&at);
        done
    }

    /// Applies changes to the tree of an active.
    pub(super) fn write(&self, mounts: &[Mount], ops: &[Op]) {
        self.attached(mounts, |root| tree::apply(root, ops));
    }

    /// Prepares `key` on `parent`, applies the changes and commits it as `name`.
    pub(super) fn layer(&self, name: &str, parent: &str, ops: &[Op]) {
        let key = format!("/tmp/{name}-prepared");
        self.write(&self.prepare(&key, parent), ops);
        self.commit(name, &key);
    }

    /// What a view of `parent` shows.
    pub(super) fn look(&self, parent: &str) -> Tree {
        let key = format!("/tmp/{parent}-looked-at");
        let seen = self.attached(&self.view(&key, parent), tree::read);
        self.remove(&key);
        seen
    }
}

/// The class of an error that was expected.
pub(super) fn class<T: fmt::Debug>(result: Result<T>) -> lamina_core::Kind {
    result.map_err(|error: Error| error.kind()).expect_err("this must fail")
}
