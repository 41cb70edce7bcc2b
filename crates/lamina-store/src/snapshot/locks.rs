//! What operations under way hold in memory: keys that are being changed, and parents that must not
//! go away meanwhile.
//!
//! Two operations on one key run one after the other, so that every answer is true at the moment it
//! is given: a second `prepare` waits, then finds the key taken, or free because the first failed.
//! Operations on different keys never wait for each other here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lamina_core::Namespace;

use super::driver::SnapshotId;

/// Keys held by operations under way.
#[derive(Debug, Default)]
pub(crate) struct KeyLocks {
    held: Mutex<HashSet<(Namespace, String)>>,
    freed: Condvar,
}

/// Holds its keys until it is dropped.
#[derive(Debug)]
pub(crate) struct KeyGuard {
    locks: Arc<KeyLocks>,
    keys: Vec<(Namespace, String)>,
}

impl KeyLocks {
    /// Waits until none of `keys` is held, and takes all of them at once; taking all or none rules
    /// out that two operations wait for each other.
    pub(crate) fn hold(self: &Arc<Self>, namespace: &Namespace, keys: &[&str]) -> KeyGuard {
        let wanted: BTreeSet<&str> = keys.iter().copied().collect();
        let keys: Vec<_> = wanted.iter().map(|k| (namespace.clone(), (*k).to_owned())).collect();
        let mut held = lock(&self.held);
        while keys.iter().any(|key| held.contains(key)) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.extend(keys.iter().cloned());
        KeyGuard { locks: Arc::clone(self), keys }
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        let mut held = lock(&self.locks.held);
        for key in &self.keys {
            held.remove(key);
        }
        self.locks.freed.notify_all();
    }
}

/// Snapshots that an operation under way builds upon. Shared with the collector's sweep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins(Arc<Pinned>);

#[derive(Debug, Default)]
struct Pinned {
    counts: Mutex<HashMap<SnapshotId, usize>>,
    freed: Condvar,
}

/// Pins one snapshot until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    id: SnapshotId,
}

impl Pins {
    /// Pins `id`. The caller looks only afterwards whether `id` is (still) there.
    pub(crate) fn pin(&self, id: SnapshotId) -> Pin {
        *lock(&self.0.counts).entry(id).or_default() += 1;
        Pin { pins: self.clone(), id }
    }

    /// Whether something builds upon `id` right now.
    pub(crate) fn is_pinned(&self, id: SnapshotId) -> bool {
        lock(&self.0.counts).contains_key(&id)
    }

    /// Waits until nothing builds upon `id`. The caller looks afterwards what became of it.
    pub(crate) fn wait_free(&self, id: SnapshotId) {
        let mut counts = lock(&self.0.counts);
        while counts.contains_key(&id) {
            counts = self.0.freed.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = lock(&self.pins.0.counts);
        if let Some(count) = pins.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.id);
                self.pins.0.freed.notify_all();
            }
        }
    }
}

/// Nothing behind these locks can be left half changed by a panic, so poison carries no meaning.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_held_once_and_two_keys_at_once() {
        let locks = Arc::new(KeyLocks::default());
        let space = Namespace::new("a").unwrap();
        let first = locks.hold(&space, &["x", "y", "x"]);
        let _elsewhere = locks.hold(&Namespace::new("b").unwrap(), &["x"]);
        let (send, done) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn({
            let (locks, space) = (Arc::clone(&locks), space.clone());
            move || {
                let _guard = locks.hold(&space, &["y", "z"]);
                send.send(()).unwrap();
            }
        });
        assert!(done.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        drop(first);
        done.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        waiter.join().unwrap();
        assert!(lock(&locks.held).len() == 1);
    }

    #[test]
    fn pins_count() {
        let pins = Pins::default();
        let (a, b) = (pins.pin(SnapshotId(1)), pins.pin(SnapshotId(1)));
        drop(a);
        assert!(pins.is_pinned(SnapshotId(1)));
        drop(b);
        assert!(!pins.is_pinned(SnapshotId(1)));
    }
}
