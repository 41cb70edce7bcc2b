//! Ingests that have a writer: at most one each, and how far it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lamina_core::{Error, Namespace, Result};

use super::disk::dir_name;
use crate::db::{from_ns, ns};

/// The open ingests of a host.
#[derive(Debug, Default)]
pub(super) struct Active {
    open: Mutex<HashMap<Key, Entry>>,
    closed: Condvar,
}

/// The name of the ingest's directory: one for each namespace and reference.
type Key = String;

#[derive(Debug)]
struct Entry {
    progress: Arc<Progress>,
    /// Its writer is done and only makes durable what it has: a newcomer waits for that.
    closing: bool,
}

/// How far a writer is, for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Progress {
    offset: AtomicU64,
    updated: AtomicI64,
}

/// The right to write one ingest; given back when dropped.
#[derive(Debug)]
pub(super) struct Hold {
    active: Arc<Active>,
    key: Key,
    progress: Arc<Progress>,
}

impl Active {
    /// Takes the right to write an ingest.
    ///
    /// # Errors
    /// Unavailable while another has it; containerd's clients try again when they read `locked`.
    pub(super) fn hold(self: &Arc<Self>, space: &Namespace, reference: &str) -> Result<Hold> {
        let key = dir_name(space, reference);
        let mut open = self.open();
        while let Some(entry) = open.get(&key) {
            if !entry.closing {
                return Err(Error::unavailable(format!("ref {reference} locked")));
            }
            open = self.closed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(self.enter(&mut open, key, false))
    }

    /// Keeps writers from the ingest of a directory, if it has none now; they wait.
    pub(super) fn hold_dir(self: &Arc<Self>, dir: &str) -> Option<Hold> {
        let mut open = self.open();
        (!open.contains_key(dir)).then(|| self.enter(&mut open, dir.to_owned(), true))
    }

    fn enter(self: &Arc<Self>, open: &mut HashMap<Key, Entry>, key: Key, closing: bool) -> Hold {
        let progress = Arc::new(Progress::default());
        open.insert(key.clone(), Entry { progress: Arc::clone(&progress), closing });
        Hold { active: Arc::clone(self), key, progress }
    }

    /// How far the writer of an ingest is, if it has one.
    pub(super) fn progress(&self, space: &Namespace, reference: &str) -> Option<(u64, Timestamp)> {
        let open = self.open();
        let progress = &open.get(&dir_name(space, reference))?.progress;
        let updated = from_ns(progress.updated.load(Ordering::Relaxed));
        Some((progress.offset.load(Ordering::Relaxed), updated))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        // A map that is whole at every moment.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Tells how far the writer is.
    pub(super) fn advance(&self, offset: u64, updated: Timestamp) {
        self.progress.offset.store(offset, Ordering::Relaxed);
        self.progress.updated.store(ns(updated), Ordering::Relaxed);
    }

    /// From now on a newcomer waits until this is dropped, instead of being refused.
    pub(super) fn closing(&self) {
        if let Some(entry) = self.active.open().get_mut(&self.key) {
            entry.closing = true;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.active.open().remove(&self.key);
        self.active.closed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_waits_for_who_holds_its_directory() {
        let active = Arc::new(Active::default());
        let space = Namespace::new("a").unwrap();
        let dir = dir_name(&space, "r");
        let held = active.hold_dir(&dir).unwrap();
        assert!(active.hold_dir(&dir).is_none());
        let writer = std::thread::spawn({
            let (active, space) = (Arc::clone(&active), space.clone());
            move || active.hold(&space, "r").map(drop)
        });
        // Whether it comes before or after the hold goes, it is not refused.
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(held);
        writer.join().unwrap().unwrap();
        let writing = active.hold(&space, "r").unwrap();
        assert!(active.hold_dir(&dir).is_none());
        drop(writing);
        assert!(active.hold_dir(&dir).is_some());
    }
}
