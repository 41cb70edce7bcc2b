//! The reaper: removes the files of dead rows, and each row only when its files are gone.
//!
//! One thread per snapshotter, joined when the engine closes. What is busy is tried again, less and
//! less often, and after a restart. Children go before their parents: some back ends need that.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lamina_core::{Error, Kind, Result};

use super::driver::{Driver, Removed, SnapshotId};
use super::locks::{Pins, lock};
use crate::db::Db;
use crate::fault::Steps;

/// What one pass over the dead rows did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Snapshots whose files and rows are gone.
    pub gone: usize,
    /// Snapshots that could not be removed now, and why.
    pub busy: Vec<(SnapshotId, String)>,
}

/// Removes dead snapshots of one driver.
#[derive(Debug)]
pub(crate) struct Reaper {
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Work {
    snapshotter: String,
    driver: Arc<dyn Driver>,
    /// What is pinned is being made, although its row is dead.
    making: Option<Pins>,
    db: Db,
    steps: Steps,
    /// One pass at a time: two would hand the same snapshot to the driver twice.
    passing: Mutex<()>,
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    pass: bool,
    stop: bool,
}

/// Rows per page, and so per transaction that forgets rows.
const PAGE: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

impl Reaper {
    /// Starts the thread; it sleeps until [`kick`](Self::kick).
    pub(crate) fn start(
        name: &str,
        driver: Arc<dyn Driver>,
        making: Option<Pins>,
        db: Db,
        steps: Steps,
    ) -> Result<Self> {
        let work = Arc::new(Work {
            snapshotter: name.to_owned(),
            driver,
            making,
            db,
            steps,
            passing: Mutex::default(),
            wanted: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new() // joined: by `stop`, which the engine calls
            .name(format!("reap-{name}"))
            .spawn({
                let work = Arc::clone(&work);
                move || work.run()
            })
            .map_err(|e| Error::resource_exhausted("start the reaper's thread").with_source(e))?;
        Ok(Reaper { work, thread: Mutex::new(Some(thread)) })
    }

    /// Says that rows turned dead.
    pub(crate) fn kick(&self) {
        lock(&self.work.wanted).pass = true;
        self.work.changed.notify_all();
    }

    /// Tries every dead row once, now, on this thread.
    pub(crate) fn pass(&self) -> Result<Reaped> {
        self.work.pass()
    }

    /// Keeps everything from being removed until the guard is dropped; waits for a pass to end.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        lock(&self.work.passing)
    }

    /// Ends the thread after the pass it is in.
    pub(crate) fn stop(&self) {
        lock(&self.work.wanted).stop = true;
        self.work.changed.notify_all();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!(snapshotter = %self.work.snapshotter, "the reaper panicked");
        }
    }
}

impl Work {
    fn run(&self) {
        let mut retry: Option<Duration> = None;
        while self.wait(retry) {
            let (busy, progress) = match self.pass() {
                Ok(reaped) => (!reaped.busy.is_empty(), reaped.gone > 0),
                Err(error) => {
                    tracing::warn!(snapshotter = %self.snapshotter, error = %error.chain(),
                        "removing dead snapshots failed; it is tried again");
                    (true, false)
                }
            };
            // Where something went, what was below it is new, and is not made to wait for long.
            let next = retry.filter(|_| !progress).map_or(FIRST_RETRY, |last| last * 2);
            retry = busy.then(|| next.min(LAST_RETRY));
        }
    }

    /// Sleeps until there is work or a retry is due; false when it is time to stop.
    fn wait(&self, retry: Option<Duration>) -> bool {
        let mut wanted = lock(&self.wanted);
        while !wanted.stop && !wanted.pass {
            match retry {
                None => {
                    wanted = self.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
                }
                Some(pause) => {
                    wanted = self
                        .changed
                        .wait_timeout(wanted, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                    break;
                }
            }
        }
        wanted.pass = false;
        !wanted.stop
    }

    /// Steps: `reap.files` before and `reap.row` after the files of a page are gone.
    fn pass(&self) -> Result<Reaped> {
        let _one = lock(&self.passing);
        let mut reaped = Reaped::default();
        let mut tried = BTreeSet::new();
        // A parent becomes removable when its last dead child is gone, so go on while that happens.
        loop {
            let before = reaped.gone;
            self.sweep(&mut tried, &mut reaped)?;
            if reaped.gone == before {
                break;
            }
        }
        self.driver.empty_trash()?;
        Ok(reaped)
    }

    fn sweep(&self, tried: &mut BTreeSet<SnapshotId>, reaped: &mut Reaped) -> Result<()> {
        let mut after = SnapshotId(0);
        let mut away: Option<String> = None;
        loop {
            let page = self.db.read(|r| r.removable(&self.snapshotter, after, PAGE))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            self.steps.reach("reap.files")?;
            let mut gone = Vec::new();
            for id in page.into_iter().filter(|id| tried.insert(*id)) {
                if self.is_made(id)? {
                    reaped.busy.push((id, "it is being made".to_owned()));
                    continue;
                }
                if let Some(why) = &away {
                    reaped.busy.push((id, why.clone()));
                    continue;
                }
                match self.driver.remove(id) {
                    Ok(Removed::Gone) => gone.push(id),
                    Ok(Removed::Busy) => reaped.busy.push((id, "in use".to_owned())),
                    Err(error) => {
                        tracing::warn!(snapshotter = %self.snapshotter, %id, error = %error.chain(),
                            "cannot remove the files of a snapshot; it is tried again");
                        // A proxy that does not answer is not asked again for each snapshot.
                        let unavailable = error.kind() == Kind::Unavailable;
                        away = unavailable.then(|| error.chain());
                        reaped.busy.push((id, error.chain()));
                    }
                }
            }
            if gone.is_empty() {
                continue;
            }
            reaped.gone += gone.len();
            let name = self.snapshotter.clone();
            self.db
                .write(move |tx| gone.iter().try_for_each(|id| tx.forget_snapshot(&name, *id)))?;
            self.steps.reach("reap.row")?;
        }
    }

    /// Whether a dead row is one that a call is about to bring to life, or has just now.
    fn is_made(&self, id: SnapshotId) -> Result<bool> {
        let Some(making) = &self.making else { return Ok(false) };
        if making.is_pinned(id) {
            return Ok(true);
        }
        // Looked at once it is not pinned any more: now the row says what came of it.
        let row = self.db.read(|r| r.snapshot(&self.snapshotter, id))?;
        Ok(row.is_none_or(|row| row.live))
    }
}
