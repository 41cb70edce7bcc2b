//! Layers that had no entries when they were sealed. They have no data that a sync of the whole file
//! system would be needed for, and which on a busy host waits for everybody else's.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::snapshot::driver::SnapshotId;

/// With more of them at once, one sync of all is cheaper than one each.
const MOST: usize = 8;

/// Sealed layers without entries that wait to be flushed.
#[derive(Debug, Default)]
pub(super) struct Bare(Mutex<BTreeSet<SnapshotId>>);

impl Bare {
    /// Notes whether a layer has no entries; one that was sealed before may have got some.
    pub(super) fn note(&self, id: SnapshotId, is_bare: bool) {
        let mut noted = self.lock();
        if is_bare {
            noted.insert(id);
        } else {
            noted.remove(&id);
        }
    }

    /// Forgets `sealed`, and answers whether they are few and all without entries.
    pub(super) fn take(&self, sealed: &[SnapshotId]) -> bool {
        let mut noted = self.lock();
        let bare = sealed.iter().filter(|id| noted.remove(id)).count();
        bare == sealed.len() && bare <= MOST
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<SnapshotId>> {
        // A set is whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_bare_until_it_is_flushed_and_among_few() {
        let bare = Bare::default();
        let ids: Vec<SnapshotId> = (1..=10).map(SnapshotId).collect();
        bare.note(ids[0], true);
        assert!(!bare.take(&ids[..2]), "one of two is not");
        assert!(!bare.take(&ids[..1]), "it was forgotten");
        ids.iter().for_each(|id| bare.note(*id, true));
        assert!(bare.take(&ids[..MOST]));
        bare.note(ids[0], true);
        ids[1..].iter().for_each(|id| bare.note(*id, true));
        assert!(!bare.take(&ids), "too many");
    }
}
