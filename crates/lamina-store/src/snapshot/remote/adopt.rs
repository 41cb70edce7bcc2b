//! A layer that the proxy says it has gets its name.

use lamina_core::snapshot::{Info, Kind};
use lamina_core::{Error, Event, Filters, Result, Scope, labels};

use futures_util::TryStreamExt as _;

use super::{ANSWER, Remote};
use crate::db::Tx;
use crate::db::names::NameRow;
use crate::db::remotes::RemoteRow;
use crate::snapshot::create::{New, fresh_row};
use crate::snapshot::driver::{Snapshot, SnapshotId};
use crate::snapshot::engine::Engine;

impl Engine {
    /// Names `target` the committed snapshot of the proxy's that has that label and lies on `parent`,
    /// and lets the lease hold it; `begun` is forgotten. Steps: `adopt.found`, `.row`.
    ///
    /// # Errors
    /// NotFound when the proxy has none.
    pub(super) fn adopt_remote(
        &self,
        remote: &Remote,
        scope: &Scope,
        new: &New,
        begun: &Snapshot,
        target: &str,
        parent: &str,
    ) -> Result<()> {
        // What is found must not be removed before it is named.
        let _still = self.reaper.hold();
        let found = remote.find_target(scope, target, parent)?.ok_or_else(|| {
            Error::not_found(format!("target snapshot {target:?} of the proxy {}", remote.name()))
        })?;
        self.options.steps.reach("adopt.found")?;
        let adopted = Adopted {
            found,
            target: target.to_owned(),
            begun: begun.id,
            parent: begun.parents.first().copied(),
            fresh: self.ids.take(&self.db)?,
        };
        let (scope, new, resource) = (scope.clone(), new.clone(), self.resource());
        let snapshotter = self.name.clone();
        self.db.write(move |tx| {
            tx.forget_snapshot(&snapshotter, adopted.begun)?;
            if tx.name(&scope.namespace, &snapshotter, &adopted.target)?.is_none() {
                adopted.name(tx, &scope, &snapshotter, &new)?;
            }
            tx.hold(&scope, &resource, &adopted.target)
        })?;
        self.options.steps.reach("adopt.row")
    }
}

struct Adopted {
    found: Info,
    target: String,
    begun: SnapshotId,
    parent: Option<SnapshotId>,
    fresh: SnapshotId,
}

impl Adopted {
    fn name(&self, tx: &mut Tx<'_>, scope: &Scope, snapshotter: &str, new: &New) -> Result<()> {
        let space = &scope.namespace;
        let below = tx.name(space, snapshotter, &new.parent)?.map(|row| row.id);
        if below != self.parent {
            return Err(Error::not_found(format!("parent snapshot {:?}", new.parent)));
        }
        let id = match tx.remote_by_key(snapshotter, &self.found.name)? {
            // Another namespace has it, or had it until just now.
            Some(known) => {
                tx.revive_snapshot(snapshotter, known.id)?;
                known.id
            }
            None => {
                let row = fresh_row(self.fresh, Kind::Committed, self.parent);
                tx.insert_snapshot(snapshotter, &row)?;
                let (namespace, key) = (space.clone(), self.found.name.clone());
                let remote = RemoteRow { id: row.id, namespace, key, committing: None };
                tx.insert_remote(snapshotter, &remote)?;
                row.id
            }
        };
        tx.ensure_namespace(space)?;
        let mut labels = self.found.labels.clone();
        labels.extend(new.labels.clone());
        let now = tx.now();
        let name = NameRow {
            key: self.target.clone(),
            id,
            kind: Kind::Committed,
            parent: new.parent.clone(),
            labels,
            created: now,
            updated: now,
        };
        tx.insert_name(space, snapshotter, &name)?;
        let (key, name, snapshotter) =
            (new.key.clone(), self.target.clone(), snapshotter.to_owned());
        tx.event(space, Event::SnapshotCommit { key, name, snapshotter });
        Ok(())
    }
}

impl Remote {
    /// The committed snapshot whose label says that it is `target`, on `parent`.
    fn find_target(&self, scope: &Scope, target: &str, parent: &str) -> Result<Option<Info>> {
        let wanted = |info: &Info| {
            info.kind == Kind::Committed
                && info.parent == parent
                && info.labels.get(labels::SNAPSHOT_REF).is_some_and(|name| name == target)
        };
        let filter = format!("kind==committed,labels.{:?}=={target:?}", labels::SNAPSHOT_REF);
        let filters = Filters::parse_all(&[filter])?;
        self.ask(&scope.namespace, ANSWER, async |proxy| {
            let mut pages = proxy.walk(filters);
            while let Some(page) = pages.try_next().await? {
                if let Some(found) = page.into_iter().find(wanted) {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }
}
