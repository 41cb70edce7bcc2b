//! A thread that moves the WAL into the file, so that the writer never does.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lamina_core::{Error, Result};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::connect;
use super::handle::Shared;

/// Pages of 4 KiB in the WAL after which it is moved: 16 MiB. Fewer means more fsyncs of the file,
/// more means longer look-ups in the WAL.
const PAGES: i32 = 4096;

/// Pages after which writers wait while the WAL is emptied: it only got there because they or long
/// reads never let it restart. 128 MiB.
const TOO_MANY: i32 = 8 * PAGES;

/// The longest that writers wait for readers then.
const PATIENCE: Duration = Duration::from_millis(200);

/// The thread and how to reach it.
#[derive(Debug)]
pub(super) struct Checkpointer {
    bell: Arc<Bell>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Tells the thread how long the WAL is.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug)]
struct State {
    pages: i32,
    /// The length at which there is enough to do.
    due: i32,
    stop: bool,
}

impl Checkpointer {
    pub(super) fn start(file: &Path, shared: Arc<Shared>) -> Result<Self> {
        let conn = connect::checkpointer(file)?;
        let bell = Arc::new(Bell::default());
        // joined: by `stop`, which Drop of the database calls.
        let thread = std::thread::Builder::new()
            .name("db-checkpoint".into())
            .spawn({
                let bell = Arc::clone(&bell);
                move || work(&conn, &bell, &shared)
            })
            .map_err(|e| Error::resource_exhausted("start a thread").with_source(e))?;
        Ok(Checkpointer { bell, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Empties the WAL and ends the thread. The writer must have ended.
    pub(super) fn stop(&self) {
        self.bell.lock().stop = true;
        self.bell.rung.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

impl Bell {
    /// Called after each COMMIT with the pages that are in the WAL.
    pub(super) fn ring(&self, pages: i32) {
        let mut state = self.lock();
        if pages < state.pages {
            // The WAL began anew.
            state.due = PAGES;
        }
        state.pages = pages;
        if pages >= state.due {
            self.rung.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Three numbers that are whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        State { pages: 0, due: PAGES, stop: false }
    }
}

fn work(conn: &Connection, bell: &Bell, shared: &Shared) {
    loop {
        let mut state = bell.lock();
        while !state.stop && state.pages < state.due {
            state = bell.rung.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (stop, pages) = (state.stop, state.pages);
        // Not again before there is as much to do again, however far this one gets.
        state.due = pages.saturating_add(PAGES);
        drop(state);
        if shared.poison.get().is_some() {
            // What the WAL holds is for whoever opens the file next to judge.
            if let Err(e) = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
                tracing::warn!(error = %e, "keep the WAL of a failed database");
            }
        } else {
            checkpoint(conn, shared, if stop { i32::MAX } else { pages }, stop);
        }
        if stop {
            return;
        }
    }
}

fn checkpoint(conn: &Connection, shared: &Shared, pages: i32, last: bool) {
    let mode = match () {
        () if last => "PRAGMA wal_checkpoint(TRUNCATE)",
        () if pages >= TOO_MANY => "PRAGMA wal_checkpoint(RESTART)",
        () => "PRAGMA wal_checkpoint(PASSIVE)",
    };
    let result = conn.busy_timeout(PATIENCE).and_then(|()| {
        conn.query_row(mode, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
    });
    shared.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
    match result {
        Ok((in_wal, moved)) => tracing::debug!(in_wal, moved, "checkpoint"),
        // Nothing is lost: what is not moved stays in the WAL.
        Err(e) => tracing::warn!(file = %shared.file.display(), error = %e, "checkpoint"),
    }
}
