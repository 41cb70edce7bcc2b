//! Ingests that have a writer: at most one each, and how far it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lamina_core::{Error, Namespace, Result};

use crate::db::{from_ns, ns};

/// The open ingests of a host.
#[derive(Debug, Default)]
pub(super) struct Active {
    open: Mutex<HashMap<Key, Entry>>,
    closed: Condvar,
}

type Key = (Namespace, String);

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
        let key = (space.clone(), reference.to_owned());
        let mut open = self.open();
        while let Some(entry) = open.get(&key) {
            if !entry.closing {
                return Err(Error::unavailable(format!("ref {reference} locked")));
            }
            open = self.closed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        let progress = Arc::new(Progress::default());
        let entry = Entry { progress: Arc::clone(&progress), closing: false };
        open.insert(key.clone(), entry);
        drop(open);
        Ok(Hold { active: Arc::clone(self), key, progress })
    }

    /// How far the writer of an ingest is, if it has one.
    pub(super) fn progress(&self, space: &Namespace, reference: &str) -> Option<(u64, Timestamp)> {
        let open = self.open();
        let progress = &open.get(&(space.clone(), reference.to_owned()))?.progress;
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
