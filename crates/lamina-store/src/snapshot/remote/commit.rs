//! Commit at a proxy.

use lamina_core::snapshot::{self, CommitOptions};
use lamina_core::{Error, Result, Scope, labels};

use super::{ANSWER, MAKE, Remote, key_of};
use crate::snapshot::commit::Commit;
use crate::snapshot::driver::Snapshot;
use crate::snapshot::engine::Engine;

impl Engine {
    /// Lets the proxy commit `snapshot`, whose parents are those it is to have; its row is written
    /// next. Steps: `commit.pending`, `.asked`.
    pub(in crate::snapshot) fn commit_remote(
        &self,
        remote: &Remote,
        scope: &Scope,
        commit: &Commit,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let row = remote.row(snapshot.id)?;
        let parent = self.remote_parent(remote, snapshot)?;
        let name = match row.committing {
            Some(begun) => begun,
            None => {
                let number = self.ids.take(&self.db)?;
                let name = key_of(&scope.namespace, number, &commit.name);
                let (snapshotter, id, key) = (self.name.clone(), snapshot.id, name.clone());
                self.db.write(move |tx| tx.begin_remote_commit(&snapshotter, id, &key))?;
                name
            }
        };
        self.options.steps.reach("commit.pending")?;
        let rebased = commit.options.parent.is_some() && !parent.is_empty();
        let options = CommitOptions {
            labels: labels::inherited(&commit.options.labels),
            parent: rebased.then(|| parent.clone()),
        };
        let answer = remote.ask(&scope.namespace, MAKE, async |proxy| {
            proxy.commit(&name, &row.key, options).await
        });
        self.options.steps.reach("commit.asked")?;
        match answer {
            // An earlier attempt, which nobody heard of, may have done it.
            Err(error) if error.is_already_exists() || error.is_not_found() => {
                let found = remote
                    .ask(&scope.namespace, ANSWER, async |proxy| proxy.stat(&name).await)
                    .map_err(|_| error.with_kind(lamina_core::Kind::NotFound))?;
                if found.kind != snapshot::Kind::Committed || found.parent != parent {
                    return Err(Error::failed_precondition(format!(
                        "snapshot {:?} was committed by the proxy {} as something else",
                        commit.key,
                        remote.name()
                    )));
                }
                Ok(())
            }
            answer => answer,
        }
    }
}
