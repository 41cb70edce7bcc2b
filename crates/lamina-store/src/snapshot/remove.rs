//! Remove: the name goes and the snapshot turns dead in one transaction; files follow outside of
//! every lock.

use lamina_core::lease::ResourceType;
use lamina_core::{Error, Event, Result, Scope};

use super::driver::SnapshotId;
use super::engine::Engine;

impl Engine {
    /// Removes `key`. Steps: `remove.begin`, `.row`, and those of the reaper.
    pub(super) fn remove(&self, scope: &Scope, key: &str) -> Result<()> {
        let _held = self.keys.hold(&scope.namespace, &[key]);
        self.options.steps.reach("remove.begin")?;
        self.remove_held(scope, key)?;
        if self.options.sync_remove {
            self.reap()?;
        }
        Ok(())
    }

    /// [`remove`](Self::remove) for a caller that holds the key.
    pub(super) fn remove_held(&self, scope: &Scope, key: &str) -> Result<()> {
        // What is being made on it becomes a child, or fails and leaves it free; either is waited for,
        // as an answer given before would be one that no order of the two explains.
        loop {
            match self.try_remove(scope, key)? {
                Removal::Done => return self.options.steps.reach("remove.row"),
                Removal::Pinned(id) => self.pins.wait_free(id),
            }
        }
    }

    fn try_remove(&self, scope: &Scope, key: &str) -> Result<Removal> {
        let (scope, key) = (scope.clone(), key.to_owned());
        let (snapshotter, pins) = (self.name.clone(), self.pins.clone());
        let removal = self.db.write(move |tx| {
            let space = &scope.namespace;
            let name = tx
                .name(space, &snapshotter, &key)?
                .ok_or_else(|| Error::not_found(format!("snapshot {key:?}")))?;
            if tx.name_has_child(space, &snapshotter, &key)? {
                return Err(Error::failed_precondition(format!(
                    "cannot remove snapshot {key:?}: it has children"
                )));
            }
            if pins.is_pinned(name.id) && tx.names_of(&snapshotter, name.id)? == 1 {
                return Ok(Err(name.id));
            }
            let dead = tx.remove_name(space, &snapshotter, &key)?;
            tx.release(&scope, ResourceType::Snapshot(snapshotter.to_string()), &key)?;
            tx.count_deletion();
            tx.event(
                space,
                Event::SnapshotRemove { key: key.clone(), snapshotter: snapshotter.to_string() },
            );
            Ok(Ok(dead))
        })?;
        match removal {
            Err(id) => Ok(Removal::Pinned(id)),
            Ok(dead) => {
                if dead.is_some() {
                    self.kick();
                }
                Ok(Removal::Done)
            }
        }
    }
}

/// What an attempt to remove found.
enum Removal {
    Done,
    /// Something is being made on this snapshot.
    Pinned(SnapshotId),
}
