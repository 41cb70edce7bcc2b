//! Prepare and View.

use lamina_core::snapshot::{self, Kind, Usage};
use lamina_core::{Error, Event, Labels, Mount, Result, Scope, labels};

use super::barrier::Needs;
use super::driver::{Snapshot, SnapshotId};
use super::engine::Engine;
use super::locks::Pin;
use crate::db::names::NameRow;
use crate::db::snapshots::SnapshotRow;
use crate::durability::Durability;

/// The row of a snapshot that was just made.
pub(super) fn fresh_row(id: SnapshotId, kind: Kind, parent: Option<SnapshotId>) -> SnapshotRow {
    SnapshotRow {
        id,
        kind,
        parent,
        diff_id: None,
        blob: None,
        chain_id: None,
        usage: Usage::default(),
        live: true,
        settled: true,
    }
}

/// What is to be made.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) kind: Kind,
    pub(super) key: String,
    /// Empty for none.
    pub(super) parent: String,
    pub(super) labels: Labels,
    pub(super) durability: Durability,
}

impl Engine {
    /// Makes an active or a view. Steps: `create.parent`, `.begin`, `.staged`, `.published`,
    /// `.flushed`, `.row`.
    pub(super) fn create(&self, scope: &Scope, mut new: New) -> Result<Vec<Mount>> {
        snapshot::check_key(&new.key)?;
        labels::check(&new.labels)?;
        new.labels.retain(|_, value| !value.is_empty());
        let steps = &self.options.steps;
        let _held = self.keys.hold(&scope.namespace, &[&new.key]);
        self.refuse_taken(scope, &new)?;
        let (_pin, parents) = self.pin_parent(scope, &new.parent)?;
        steps.reach("create.begin")?;

        let snapshot = Snapshot {
            id: self.ids.take(&self.db)?,
            kind: new.kind,
            parents,
            labels: labels::inherited(&new.labels),
        };
        // Tells fsck that files without a row are on their way to one.
        let making = self.pins.pin(snapshot.id);
        if let Some(remote) = &self.remote {
            let made = self.create_remote(remote, scope, &new, &snapshot);
            drop(making);
            // What was begun and came to nothing is undone.
            return made.inspect_err(|_| self.kick());
        }
        self.build(&snapshot, new.durability)?;
        let named = self.name_created(scope, &new, &snapshot);
        drop(making);
        let mounts = named.and_then(|()| self.driver.mounts(&snapshot));
        match mounts {
            Ok(mounts) => Ok(mounts),
            Err(error) => {
                self.abandon(scope, &new.key, snapshot.id);
                Err(error)
            }
        }
    }

    /// Fails when the key, or the snapshot that the labels say this one will become, is there. The
    /// lease gets hold of what was found, as the caller is going to use that instead.
    fn refuse_taken(&self, scope: &Scope, new: &New) -> Result<()> {
        self.db.read(|r| r.check_lease(scope))?;
        let target = new.labels.get(labels::SNAPSHOT_REF);
        if let Some(target) = target
            && (self.name_row(scope, target)?.is_some() || self.adopt_named(scope, target)?)
            && self.hold_existing(scope, target)?
        {
            return Err(Error::already_exists(format!("target snapshot {target:?}")));
        }
        if self.name_row(scope, &new.key)?.is_some() && self.hold_existing(scope, &new.key)? {
            return Err(Error::already_exists(format!("snapshot {:?}", new.key)));
        }
        Ok(())
    }

    /// Lets the scope's lease hold what was found under `key`. False when it is not there any more:
    /// whoever found it must not go by it. Step: `hold.found`.
    pub(super) fn hold_existing(&self, scope: &Scope, key: &str) -> Result<bool> {
        if scope.lease.is_none() {
            return Ok(true);
        }
        self.options.steps.reach("hold.found")?;
        let (scope, key, kind) = (scope.clone(), key.to_owned(), self.resource());
        let snapshotter = self.name.clone();
        self.db.write(move |tx| {
            let there = tx.name(&scope.namespace, &snapshotter, &key)?.is_some();
            if there {
                tx.hold(&scope, &kind, &key)?;
            }
            Ok(there)
        })
    }

    /// Keeps the parent from being removed, and says what lies below what is made on it.
    fn pin_parent(&self, scope: &Scope, parent: &str) -> Result<(Option<Pin>, Vec<SnapshotId>)> {
        loop {
            let Some(row) = self.parent_of(scope, parent)? else { return Ok((None, Vec::new())) };
            self.options.steps.reach("create.parent")?;
            // Pinned first, looked at again afterwards: a removal sees the pin, or we see the
            // removal, or that another has the name now, which is then to be pinned.
            let pin = self.pins.pin(row.id);
            if self.parent_of(scope, parent)?.is_some_and(|now| now.id == row.id) {
                return Ok((Some(pin), self.stack(row.id)?));
            }
        }
    }

    /// The row of a parent that something may be put upon; `None` for the empty name.
    fn parent_of(&self, scope: &Scope, parent: &str) -> Result<Option<NameRow>> {
        if parent.is_empty() {
            return Ok(None);
        }
        let row = self
            .name_row(scope, parent)?
            .ok_or_else(|| Error::not_found(format!("parent snapshot {parent:?}")))?;
        if row.kind != Kind::Committed {
            return Err(Error::invalid_argument(format!(
                "parent snapshot {parent:?} is {}, not committed",
                row.kind.as_str()
            )));
        }
        Ok(Some(row))
    }

    /// `parent` and everything below it, nearest first.
    pub(super) fn stack(&self, parent: SnapshotId) -> Result<Vec<SnapshotId>> {
        self.db.read(|r| {
            let below = r.ancestors(&self.name, parent)?;
            Ok(std::iter::once(parent).chain(below.iter().map(|row| row.id)).collect())
        })
    }

    /// Puts the files of a snapshot where its id says, durably; on failure nothing is left.
    fn build(&self, snapshot: &Snapshot, durability: Durability) -> Result<()> {
        let steps = &self.options.steps;
        let stage = self.fresh_stage();
        let staged = self
            .driver
            .create(snapshot, &stage)
            .and_then(|()| steps.reach("create.staged"))
            .and_then(|()| self.driver.publish(snapshot, &stage));
        if let Err(error) = staged {
            if let Err(left) = self.driver.discard(&stage) {
                tracing::warn!(snapshotter = %self.name, stage = %stage.name, error = %left.chain(),
                    "a stage was left behind; the next start drops it");
            }
            return Err(error);
        }
        let durable = steps.reach("create.published").and_then(|()| match durability {
            Durability::Full => self.barrier.wait(snapshot.id, Needs::Entry),
            Durability::None => Ok(()),
        });
        durable
            .and_then(|()| steps.reach("create.flushed"))
            .inspect_err(|_| self.drop_files(snapshot.id))
    }

    /// Writes the rows of a snapshot whose files are in place.
    pub(super) fn name_created(&self, scope: &Scope, new: &New, snapshot: &Snapshot) -> Result<()> {
        let (scope, new, resource) = (scope.clone(), new.clone(), self.resource());
        let snapshotter = self.name.clone();
        let (id, parent) = (snapshot.id, snapshot.parents.first().copied());
        let begun = self.remote.is_some();
        let taken = self.db.write(move |tx| {
            // Others made it meanwhile: by a commit under its name, or by adoption.
            for name in new.labels.get(labels::SNAPSHOT_REF).into_iter().chain([&new.key]) {
                if tx.name(&scope.namespace, &snapshotter, name)?.is_some() {
                    tx.hold(&scope, &resource, name)?;
                    return Ok(Some(name.clone()));
                }
            }
            if let Some(parent) = parent {
                let still = tx.name(&scope.namespace, &snapshotter, &new.parent)?;
                if still.map(|row| row.id) != Some(parent) {
                    return Err(Error::not_found(format!("parent snapshot {:?}", new.parent)));
                }
            }
            match begun {
                true => tx.revive_snapshot(&snapshotter, id)?,
                false => tx.insert_snapshot(&snapshotter, &fresh_row(id, new.kind, parent))?,
            }
            let now = tx.now();
            tx.insert_name(
                &scope.namespace,
                &snapshotter,
                &NameRow {
                    key: new.key.clone(),
                    id,
                    kind: new.kind,
                    parent: new.parent.clone(),
                    labels: new.labels.clone(),
                    created: now,
                    updated: now,
                },
            )?;
            tx.ensure_namespace(&scope.namespace)?;
            tx.hold(&scope, &resource, &new.key)?;
            if new.kind == Kind::Active {
                tx.event(
                    &scope.namespace,
                    Event::SnapshotPrepare {
                        key: new.key.clone(),
                        parent: new.parent.clone(),
                        snapshotter: snapshotter.to_string(),
                    },
                );
            }
            Ok(None)
        })?;
        if let Some(name) = taken {
            return Err(Error::already_exists(format!("snapshot {name:?}")));
        }
        self.options.steps.reach("create.row")
    }

    /// Undoes a create that failed after its files were in place.
    fn abandon(&self, scope: &Scope, key: &str, id: SnapshotId) {
        if self.db.has_failed() {
            // The row may be there after the next start, and then it needs the files.
            return;
        }
        let named = self.name_row(scope, key).ok().flatten().is_some_and(|row| row.id == id);
        if !named {
            self.drop_files(id);
            return;
        }
        if let Err(error) = self.remove_held(scope, key) {
            tracing::warn!(snapshotter = %self.name, key, error = %error.chain(),
                "a snapshot that failed to be made could not be taken back");
        }
    }

    /// Best effort: whatever stays is dropped at the next start, as no row names it.
    fn drop_files(&self, id: SnapshotId) {
        match self.driver.remove(id) {
            Ok(super::driver::Removed::Gone) => {}
            Ok(super::driver::Removed::Busy) => {
                tracing::warn!(snapshotter = %self.name, %id, "files of a failed create are busy");
            }
            Err(error) => {
                tracing::warn!(snapshotter = %self.name, %id, error = %error.chain(),
                    "files of a failed create were left behind");
            }
        }
    }
}
