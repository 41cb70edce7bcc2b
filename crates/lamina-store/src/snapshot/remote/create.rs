//! Prepare and View at a proxy.

use lamina_core::snapshot::Kind;
use lamina_core::{Error, Mount, Result, Scope, labels};

use super::{MAKE, Remote, key_of};
use crate::db::remotes::RemoteRow;
use crate::snapshot::create::{New, fresh_row};
use crate::snapshot::driver::Snapshot;
use crate::snapshot::engine::Engine;

impl Engine {
    /// Makes `snapshot`, which is pinned until this returns, as is its parent. What an error leaves is
    /// a dead row. Steps: `create.pending`, `.asked`, `.row`, and those of `adopt_remote`.
    pub(in crate::snapshot) fn create_remote(
        &self,
        remote: &Remote,
        scope: &Scope,
        new: &New,
        snapshot: &Snapshot,
    ) -> Result<Vec<Mount>> {
        let key = key_of(&scope.namespace, snapshot.id, &new.key);
        let parent = self.remote_parent(remote, snapshot)?;
        self.begin_create(scope, new, snapshot, &key)?;
        let answer = remote.ask(&scope.namespace, MAKE, async |proxy| match new.kind {
            Kind::View => proxy.view(&key, &parent, snapshot.labels.clone()).await,
            _ => proxy.prepare(&key, &parent, snapshot.labels.clone()).await,
        });
        self.options.steps.reach("create.asked")?;
        match (answer, new.labels.get(labels::SNAPSHOT_REF)) {
            (Ok(mounts), _) => {
                self.name_created(scope, new, snapshot)?;
                Ok(mounts)
            }
            (Err(error), Some(target)) if error.is_already_exists() => {
                self.adopt_remote(remote, scope, new, snapshot, target, &parent)?;
                Err(Error::already_exists(format!("target snapshot {target:?}")))
            }
            // A key that is never used twice cannot be there.
            (Err(error), None) if error.is_already_exists() => {
                let message = format!("proxy snapshotter {} has {key:?} already", remote.name());
                Err(Error::internal(message).with_source(error))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What the proxy calls the snapshot below; empty for none.
    pub(super) fn remote_parent(&self, remote: &Remote, snapshot: &Snapshot) -> Result<String> {
        let parent = snapshot.parents.first();
        Ok(parent.map(|id| remote.row(*id)).transpose()?.map(|row| row.key).unwrap_or_default())
    }

    fn begin_create(&self, scope: &Scope, new: &New, snapshot: &Snapshot, key: &str) -> Result<()> {
        let snapshotter = self.name.clone();
        let row = fresh_row(snapshot.id, new.kind, snapshot.parents.first().copied());
        let (namespace, key) = (scope.namespace.clone(), key.to_owned());
        let remote = RemoteRow { id: row.id, namespace, key, committing: None };
        self.db.write(move |tx| {
            tx.insert_snapshot(&snapshotter, &row)?;
            tx.kill_snapshot(&snapshotter, row.id)?;
            tx.insert_remote(&snapshotter, &remote)
        })?;
        self.options.steps.reach("create.pending")
    }
}
