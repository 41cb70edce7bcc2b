//! One call at a time for each name.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use lamina_core::Namespace;

type Name = (Namespace, String);

/// The names that a call is at work on.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: Mutex<BTreeSet<Name>>,
    freed: Condvar,
}

/// A name that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    names: &'a Names,
    name: Name,
}

impl Names {
    /// Waits until nobody works on the name, and takes it.
    pub(super) fn take(&self, namespace: &Namespace, name: &str) -> Taken<'_> {
        let name = (namespace.clone(), name.to_owned());
        let mut taken = self.lock();
        while taken.contains(&name) {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.insert(name.clone());
        Taken { names: self, name }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        // A set is whole at every moment, also when a holder panicked.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.names.lock().remove(&self.name);
        self.names.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_at_a_time_for_a_name_and_others_go_on() {
        let names = Names::default();
        let namespace = Namespace::new("default").unwrap();
        let other = names.take(&namespace, "other");
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _taken = names.take(&namespace, "name");
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        drop(other);
        assert!(names.lock().is_empty());
    }
}
