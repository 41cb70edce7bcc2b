//! The part of a proxy that is like any other back end.

use std::collections::BTreeSet;

use lamina_core::snapshot::Usage;
use lamina_core::{Error, Kind, Mount, Result};

use super::{ANSWER, Remote};
use crate::snapshot::driver::{
    Capabilities, Driver, Place, Removed, Snapshot, SnapshotId, Stage, Target,
};

impl Driver for Remote {
    fn create(&self, snapshot: &Snapshot, _: &Stage) -> Result<()> {
        Err(no_files(snapshot.id))
    }

    fn publish(&self, snapshot: &Snapshot, _: &Stage) -> Result<()> {
        Err(no_files(snapshot.id))
    }

    fn discard(&self, _: &Stage) -> Result<()> {
        Ok(())
    }

    /// What a proxy answered is as durable as it makes it.
    fn flush(&self, _: &[SnapshotId], _: &[SnapshotId]) -> Result<()> {
        Ok(())
    }

    fn target(&self, _: &Snapshot, _: Place) -> Result<Target> {
        Ok(Target::Mount)
    }

    fn mounts(&self, snapshot: &Snapshot) -> Result<Vec<Mount>> {
        let row = self.row(snapshot.id)?;
        self.ask(&row.namespace, ANSWER, async |proxy| proxy.mounts(&row.key).await)
    }

    fn usage(&self, snapshot: &Snapshot, _: &dyn Fn() -> bool) -> Result<Usage> {
        let row = self.row(snapshot.id)?;
        self.ask(&row.namespace, ANSWER, async |proxy| proxy.usage(&row.key).await)
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Usage> {
        Err(no_files(snapshot.id))
    }

    fn remove(&self, id: SnapshotId) -> Result<Removed> {
        let Some(row) = self.db.read(|r| r.remote(self.name(), id))? else {
            return Ok(Removed::Gone);
        };
        for key in [Some(&row.key), row.committing.as_ref()].into_iter().flatten() {
            match self.ask(&row.namespace, ANSWER, async |proxy| proxy.remove(key).await) {
                Ok(()) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) if error.kind() == Kind::FailedPrecondition => return Ok(Removed::Busy),
                Err(error) => return Err(error),
            }
        }
        Ok(Removed::Gone)
    }

    /// What is owed to a proxy is in rows, and the reaper does it, also if the proxy is away now.
    fn recover(&self, _: &BTreeSet<SnapshotId>, _: SnapshotId) -> Result<()> {
        Ok(())
    }

    fn exists(&self, snapshot: &Snapshot) -> Result<bool> {
        match self.look_for(snapshot.id, "") {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => {
                tracing::warn!(snapshotter = self.name(), id = %snapshot.id, error = %error.chain(),
                    "a proxy cannot be asked whether a snapshot is there");
                Ok(true)
            }
        }
    }

    fn list(&self) -> Result<Option<BTreeSet<SnapshotId>>> {
        Ok(None)
    }

    fn capabilities(&self) -> Capabilities {
        self.source.capabilities
    }
}

fn no_files(id: SnapshotId) -> Error {
    Error::internal(format!("snapshot {id} of a proxy has no files of ours"))
}
