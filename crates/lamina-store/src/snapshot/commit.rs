//! Commit: an active becomes immutable, by one transaction after its data is on disk.

use lamina_core::digest::chain_id;
use lamina_core::snapshot::{self, CommitOptions, Kind, Usage};
use lamina_core::{Digest, Error, Event, Result, Scope, labels};

use super::barrier::Needs;
use super::driver::{Snapshot, SnapshotId};
use super::engine::Engine;
use super::locks::Pin;
use crate::db::Tx;
use crate::db::names::NameRow;
use crate::db::snapshots::SnapshotRow;
use crate::durability::Durability;

/// The layer that our own apply laid down in an active: what makes its chain ID worth trusting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the uncompressed layer, computed from the bytes that were applied.
    pub diff_id: Digest,
    /// The blob it was read from.
    pub blob: Option<Digest>,
}

/// What is to be committed.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) options: CommitOptions,
    pub(super) layer: Option<Layer>,
    pub(super) durability: Durability,
}

impl Engine {
    /// Commits. Steps: `commit.begin`, `.sealed`, `.flushed`, `.row`, `.settled`.
    pub(super) fn commit(&self, scope: &Scope, mut commit: Commit) -> Result<()> {
        snapshot::check_key(&commit.name)?;
        labels::check(&commit.options.labels)?;
        commit.options.labels.retain(|_, value| !value.is_empty());
        let steps = &self.options.steps;
        let _held = self.keys.hold(&scope.namespace, &[&commit.key, &commit.name]);
        self.db.read(|r| r.check_lease(scope))?;
        let (active, parent, _pins) = self.pin_commit(scope, &commit)?;
        steps.reach("commit.begin")?;

        let mut snapshot = self.db.read(|r| self.describe(r, &active))?;
        if let Some(parent) = &parent {
            snapshot.parents = self.stack(parent.id)?;
        }
        if let Some(remote) = &self.remote {
            self.commit_remote(remote, scope, &commit, &snapshot)?;
            return self.name_committed(scope, &commit, &snapshot, Usage::default());
        }
        let usage = self.driver.seal(&snapshot)?;
        steps.reach("commit.sealed")?;
        if commit.durability == Durability::Full {
            self.barrier.wait(snapshot.id, Needs::Data)?;
        }
        steps.reach("commit.flushed")?;
        self.name_committed(scope, &commit, &snapshot, usage)?;
        // From here on it is committed, whatever fails: settling is owed and done at the next start.
        if let Err(error) = self.settle(snapshot) {
            tracing::warn!(snapshotter = %self.name, name = %commit.name, error = %error.chain(),
                "a committed snapshot is not settled yet; the next start does it");
        }
        Ok(())
    }

    /// Checks a commit, and keeps the parent from being removed and both from being collected.
    fn pin_commit(
        &self,
        scope: &Scope,
        commit: &Commit,
    ) -> Result<(NameRow, Option<NameRow>, Vec<Pin>)> {
        loop {
            let (active, parent) = self.check_commit(scope, commit)?;
            let ids = std::iter::once(active.id).chain(parent.as_ref().map(|row| row.id));
            let pins = ids.map(|id| self.pins.pin(id)).collect();
            // As in a create: what is found once it is pinned stays.
            let (again, below) = self.check_commit(scope, commit)?;
            let id = |row: &Option<NameRow>| row.as_ref().map(|row| row.id);
            if again.id == active.id && id(&below) == id(&parent) {
                return Ok((active, parent, pins));
            }
        }
    }

    /// The rules of a commit, in containerd's order. Returns the active, and the parent that it gets
    /// by this commit.
    fn check_commit(&self, scope: &Scope, commit: &Commit) -> Result<(NameRow, Option<NameRow>)> {
        if self.name_row(scope, &commit.name)?.is_some() {
            return Err(Error::already_exists(format!("committed snapshot {:?}", commit.name)));
        }
        let active = self
            .name_row(scope, &commit.key)?
            .ok_or_else(|| Error::not_found(format!("snapshot {:?}", commit.key)))?;
        if active.kind != Kind::Active {
            return Err(Error::failed_precondition(format!(
                "snapshot {:?} is {}, not active",
                commit.key,
                active.kind.as_str()
            )));
        }
        let wanted = commit.options.parent.as_deref().unwrap_or_default();
        if wanted.is_empty() || wanted == active.parent {
            return Ok((active, None));
        }
        if !active.parent.is_empty() {
            return Err(Error::invalid_argument(format!(
                "snapshot {:?} has parent {:?} and cannot be committed on {wanted:?}",
                commit.key, active.parent
            )));
        }
        let parent = self
            .name_row(scope, wanted)?
            .ok_or_else(|| Error::not_found(format!("parent snapshot {wanted:?}")))?;
        if parent.kind != Kind::Committed {
            return Err(Error::failed_precondition(format!(
                "parent snapshot {wanted:?} is {}, not committed",
                parent.kind.as_str()
            )));
        }
        if !self.driver.capabilities().rebase {
            return Err(Error::failed_precondition(format!(
                "snapshotter {} cannot give a snapshot its parent at commit (no `rebase`)",
                self.name
            )));
        }
        Ok((active, Some(parent)))
    }

    fn name_committed(
        &self,
        scope: &Scope,
        commit: &Commit,
        snapshot: &Snapshot,
        usage: Usage,
    ) -> Result<()> {
        let (scope, commit, resource) = (scope.clone(), commit.clone(), self.resource());
        let (id, parent) = (snapshot.id, snapshot.parents.first().copied());
        let (snapshotter, settles) = (self.name.clone(), self.driver.settles());
        self.db.write(move |tx| {
            let space = &scope.namespace;
            let active = tx
                .name(space, &snapshotter, &commit.key)?
                .ok_or_else(|| Error::not_found(format!("snapshot {:?}", commit.key)))?;
            let mut row = tx
                .snapshot(&snapshotter, id)?
                .ok_or_else(|| Error::not_found(format!("snapshot {:?}", commit.key)))?;
            let parent_name = match &commit.options.parent {
                Some(wanted) if active.parent.is_empty() => wanted.clone(),
                _ => active.parent.clone(),
            };
            if let Some(parent) = parent {
                let still = tx.name(space, &snapshotter, &parent_name)?;
                if still.map(|row| row.id) != Some(parent) {
                    return Err(Error::not_found(format!("parent snapshot {parent_name:?}")));
                }
            }
            row.kind = Kind::Committed;
            row.parent = parent;
            row.usage = usage;
            row.settled = !settles;
            if let Some(layer) = &commit.layer {
                row.diff_id = Some(layer.diff_id.clone());
                row.blob.clone_from(&layer.blob);
            } else if parent.is_some() && active.parent.is_empty() {
                // Laid down as the lowest layer, which reads a deletion otherwise.
                (row.diff_id, row.blob) = (None, None);
            }
            row.chain_id = verified_chain(tx, &snapshotter, &row)?;
            tx.update_snapshot(&snapshotter, &row)?;
            tx.end_remote_commit(&snapshotter, id)?;
            tx.delete_name(space, &snapshotter, &commit.key)?;
            let now = tx.now();
            tx.insert_name(
                space,
                &snapshotter,
                &NameRow {
                    key: commit.name.clone(),
                    id,
                    kind: Kind::Committed,
                    parent: parent_name,
                    labels: commit.options.labels.clone(),
                    created: now,
                    updated: now,
                },
            )?;
            tx.move_holds(space, &resource, &commit.key, &commit.name)?;
            tx.hold(&scope, &resource, &commit.name)?;
            tx.event(
                space,
                Event::SnapshotCommit {
                    key: commit.key.clone(),
                    name: commit.name.clone(),
                    snapshotter: snapshotter.to_string(),
                },
            );
            Ok(())
        })?;
        self.options.steps.reach("commit.row")
    }

    fn settle(&self, mut snapshot: Snapshot) -> Result<()> {
        if !self.driver.settles() {
            return Ok(());
        }
        snapshot.kind = Kind::Committed;
        self.driver.settle(&snapshot)?;
        let (snapshotter, id) = (self.name.clone(), snapshot.id);
        self.db.write(move |tx| tx.mark_settled(&snapshotter, id))?;
        self.options.steps.reach("commit.settled")
    }

    /// Remembers the one layer that makes up the active `key`, for a commit that a client asks for
    /// later, or that it is made of anything else.
    pub(crate) fn record_layer(
        &self,
        scope: &Scope,
        key: &str,
        id: SnapshotId,
        layer: Option<Layer>,
    ) -> Result<()> {
        let (scope, key, snapshotter) = (scope.clone(), key.to_owned(), self.name.clone());
        self.db.write(move |tx| {
            let gone = || Error::not_found(format!("active snapshot {key:?}"));
            let name = tx.active_name(&scope.namespace, &snapshotter, id)?;
            // Removed and made again is another one.
            if name.is_none_or(|name| name.key != key) {
                return Err(gone());
            }
            let mut row = tx.snapshot(&snapshotter, id)?.ok_or_else(gone)?;
            row.diff_id = layer.as_ref().map(|layer| layer.diff_id.clone());
            row.blob = layer.as_ref().and_then(|layer| layer.blob.clone());
            tx.update_snapshot(&snapshotter, &row)
        })
    }
}

/// The chain ID of a row, when everything down to the bottom was verified, and no other live row
/// has it: a second copy of a chain is kept, but not shared.
fn verified_chain(tx: &Tx<'_>, snapshotter: &str, row: &SnapshotRow) -> Result<Option<Digest>> {
    let Some(diff_id) = &row.diff_id else { return Ok(None) };
    let below = match row.parent {
        None => None,
        Some(parent) => match chain_of(tx, snapshotter, parent)? {
            None => return Ok(None),
            chain => chain,
        },
    };
    let chain = chain_id(below.as_ref(), diff_id);
    let taken = tx.snapshot_by_chain(snapshotter, &chain)?.is_some_and(|other| other.id != row.id);
    Ok((!taken).then_some(chain))
}

fn chain_of(tx: &Tx<'_>, snapshotter: &str, id: SnapshotId) -> Result<Option<Digest>> {
    Ok(tx.snapshot(snapshotter, id)?.and_then(|row| row.chain_id))
}
