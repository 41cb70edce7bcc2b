//! Snapshotters in other processes: a back end that has keys, parents and a life cycle of its own.
//!
//! The engine keeps names, labels and leases as it does for local back ends, and tells the proxy of a
//! snapshot under a key that is never used twice, `<namespace>/<number>/<key>`. Nothing that two
//! processes write is one transaction, so each call has two phases:
//!
//! - create: a dead row with the key → the proxy is asked → the row turns live and gets its name
//! - commit: the row has the new key beside the old → the proxy is asked → new kind, key and name
//! - remove: as ever: the row turns dead, and the reaper asks until the proxy has neither key
//!
//! So whatever a call that was cut may have made has a row, and the reaper undoes it. A commit that
//! the proxy made and nobody heard of is found by the next attempt to commit.
//!
//! A proxy may have a layer that nobody fetched: it answers AlreadyExists to a `prepare` with the
//! label `containerd.io/snapshot.ref`. The committed snapshot with that label is then given the name.

mod adopt;
mod commit;
mod create;
mod driver;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::snapshot::{Info, MAX_KEY};
use lamina_core::{Error, Kind, Labels, Namespace, Result, Scope, Snapshotter};
use tokio::runtime::Handle;

use super::driver::{Capabilities, SnapshotId};
use crate::db::Db;
use crate::db::remotes::RemoteRow;

/// The snapshotter of another process, as a scope uses it. Connects when it is first called, and
/// again after the process went.
pub type Connect = Arc<dyn Fn(&Scope) -> Result<Arc<dyn Snapshotter>> + Send + Sync>;

/// A snapshotter in another process that a store may use.
#[derive(Clone)]
pub struct RemoteSource {
    /// Its name, as clients choose it.
    pub name: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Whether a pull is to tell it which image a layer belongs to.
    pub annotations: bool,
    /// Where calls of it run. Threads of the store wait for them; it must outlive the store.
    pub runtime: Handle,
    /// Reaches it.
    pub connect: Connect,
}

impl fmt::Debug for RemoteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSource").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A proxy and what it calls our snapshots.
#[derive(Debug)]
pub struct Remote {
    source: RemoteSource,
    db: Db,
}

/// How long a proxy may take to make something: a lazy one asks a registry first.
const MAKE: Duration = Duration::from_secs(600);
/// How long a proxy may take for anything else.
const ANSWER: Duration = Duration::from_secs(30);

/// In whose name a proxy is asked for what concerns all namespaces.
const ANY: &str = "default";

impl Remote {
    pub(crate) fn new(source: RemoteSource, db: Db) -> Self {
        Remote { source, db }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Whether a pull is to tell it which image a layer belongs to.
    pub fn wants_annotations(&self) -> bool {
        self.source.annotations
    }

    /// Asks it, and waits on this thread.
    ///
    /// # Errors
    /// The proxy's own; Unavailable when it does not answer in time.
    fn ask<T>(
        &self,
        namespace: &Namespace,
        limit: Duration,
        call: impl AsyncFnOnce(&dyn Snapshotter) -> Result<T>,
    ) -> Result<T> {
        let proxy = (self.source.connect)(&Scope::new(namespace.clone()))?;
        let answer = self.source.runtime.block_on(async {
            tokio::time::timeout(limit, call(&*proxy)).await.unwrap_or_else(|_| {
                let waited = limit.as_secs();
                Err(Error::unavailable(format!("it did not answer within {waited} s")))
            })
        });
        answer.map_err(|error| error.context(format!("proxy snapshotter {}", self.name())))
    }

    /// Tells it of labels that changed, of those that it is told at all.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) fn relabel(&self, id: SnapshotId, old: &Labels, new: Labels) -> Result<()> {
        let changed = |key: &&String| old.get(*key) != new.get(*key);
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).filter(changed).collect();
        let paths: Vec<String> = keys.into_iter().map(|key| format!("labels.{key}")).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let row = self.row(id)?;
        let told = self.ask(&row.namespace, ANSWER, async |proxy| {
            let info = Info { labels: new, ..proxy.stat(&row.key).await? };
            proxy.update(info, &paths).await
        });
        match told {
            // The names are ours: that it keeps no labels of its own harms nobody.
            Err(error) if error.kind() == Kind::Unimplemented => Ok(()),
            told => told.map(drop),
        }
    }

    /// Lets it free what it can.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) fn clean_up(&self) -> Result<()> {
        let namespace = Namespace::new(ANY)?;
        match self.ask(&namespace, ANSWER, async |proxy| proxy.cleanup().await) {
            // Not every snapshotter has something to clean up.
            Err(error) if error.kind() == Kind::Unimplemented => Ok(()),
            cleaned => cleaned,
        }
    }

    /// What it calls a snapshot of ours.
    fn row(&self, id: SnapshotId) -> Result<RemoteRow> {
        let row = self.db.read(|r| r.remote(self.name(), id))?;
        row.ok_or_else(|| {
            Error::data_loss(format!("{} snapshot {id} has no key of the proxy's", self.name()))
        })
    }

    /// Whether it has a snapshot that we name `key`.
    ///
    /// # Errors
    /// NotFound when it has not, else as [`ask`](Self::ask).
    pub(super) fn look_for(&self, id: SnapshotId, key: &str) -> Result<()> {
        let row = self.row(id)?;
        if row.committing.is_some() {
            // It has one of two keys; which, the commit finds out.
            return Ok(());
        }
        let found = self.ask(&row.namespace, ANSWER, async |proxy| proxy.stat(&row.key).await);
        match found {
            Err(error) if error.is_not_found() => {
                Err(Error::not_found(format!("snapshot {key:?}")).with_source(error))
            }
            found => found.map(drop),
        }
    }
}

/// The key of the proxy's for what a namespace calls `key`. The number makes it unique; of a long key, as
/// much is told as a proxy that bounds keys as we do takes.
fn key_of(namespace: &Namespace, number: SnapshotId, key: &str) -> String {
    let mut whole = format!("{namespace}/{number}/{key}");
    whole.truncate(whole.floor_char_boundary(MAX_KEY));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_as_far_as_they_fit() {
        let space = Namespace::new("a").unwrap();
        assert_eq!(key_of(&space, SnapshotId(7), "k/8/l"), "a/7/k/8/l");
        let long = key_of(&space, SnapshotId(7), &"\u{fc}".repeat(MAX_KEY / 2));
        assert!(long.starts_with("a/7/\u{fc}") && long.len() <= MAX_KEY);
        assert!(long.len() > MAX_KEY - 2);
    }
}
