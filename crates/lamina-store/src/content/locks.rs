//! Locks by name, for names that come and go.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The names that are held.
#[derive(Debug)]
pub(super) struct Locks<K> {
    held: Mutex<HashSet<K>>,
    freed: Condvar,
}

/// A held name; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Held<K: Eq + Hash> {
    locks: Arc<Locks<K>>,
    name: K,
}

impl<K: Eq + Hash + Clone> Locks<K> {
    /// Holds a name, after whoever holds it now.
    pub(super) fn lock(self: &Arc<Self>, name: K) -> Held<K> {
        let mut held = self.held();
        while !held.insert(name.clone()) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        drop(held);
        Held { locks: Arc::clone(self), name }
    }
}

impl<K> Locks<K> {
    fn held(&self) -> MutexGuard<'_, HashSet<K>> {
        // A set that is whole at every moment.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Locks { held: Mutex::default(), freed: Condvar::new() }
    }
}

impl<K: Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        self.locks.held().remove(&self.name);
        self.locks.freed.notify_all();
    }
}
