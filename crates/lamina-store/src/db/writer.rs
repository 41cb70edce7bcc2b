//! The one thread that writes: group commit.
//!
//! Requests that queue up while a COMMIT is under way form the next batch: one transaction, a
//! savepoint each, one COMMIT, then the actions and answers of all. A request that fails is undone
//! alone. SQLite itself undoes the whole transaction for some errors (a full disk, an I/O error, no
//! memory); then the request at fault is answered with it, and the others run again, each in a
//! transaction of its own.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::{SignedDuration, Timestamp};
use lamina_core::{Error, Kind, Result};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::checkpoint::Bell;
use super::error::{failed, is_full};
use super::handle::Shared;
use super::tx::{After, Tx};

/// The most requests in a transaction: bounds how long the first waits for the last.
const BATCH: usize = 256;

thread_local! {
    /// Whether this is a writer thread; a request that waited for one would wait for ever.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// The thread and its queue.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Mutex<Option<Sender<Box<dyn Request>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        mut conn: Connection,
        bell: Arc<Bell>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            bell.ring(pages);
            Ok(())
        }))
        .map_err(failed("watch the WAL"))?;
        let (queue, requests) = mpsc::channel();
        // joined: by `stop`, which Drop of the database calls.
        let thread = std::thread::Builder::new()
            .name("db-writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || Thread { conn, shared, last: Timestamp::MIN }.serve(&requests)
            })
            .map_err(|e| Error::resource_exhausted("start a thread").with_source(e))?;
        Ok(Writer { shared, queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// See [`Db::write`](super::Db::write).
    pub(super) fn write<T: Send + 'static>(
        &self,
        op: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if WRITES.get() {
            return Err(Error::internal("a database write inside another, which would never end"));
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let request = Box::new(Closure { op, value: None, answer });
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or_else(|| self.shared.closed())?;
        queue.send(request).map_err(|_| self.shared.closed())?;
        let waiting = &self.shared.counters.waiting;
        waiting.fetch_add(1, Ordering::Relaxed);
        let outcome = answered.recv().unwrap_or_else(|_| Err(self.shared.closed()));
        waiting.fetch_sub(1, Ordering::Relaxed);
        outcome
    }

    /// Answers what is queued and ends the thread. Called on the thread itself (the last handle was
    /// dropped by an action after COMMIT), it lets it end by itself.
    pub(super) fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the database writer panicked");
        }
    }
}

/// A request of any type.
trait Request: Send {
    /// Runs it, keeping its value for [`Request::answer`].
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()>;
    /// Sends its value, or the error.
    fn answer(self: Box<Self>, outcome: Result<()>);
}

struct Closure<T, F> {
    op: F,
    value: Option<T>,
    answer: SyncSender<Result<T>>,
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T> + Send> Request for Closure<T, F> {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        self.value = Some((self.op)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        let Closure { value, answer, .. } = *self;
        let value = outcome
            .and_then(|()| value.ok_or_else(|| Error::internal("a request without a value")));
        // Nobody waits only if the caller's thread has died.
        let _ = answer.send(value);
    }
}

/// A request that was run in the open transaction, and how it went.
struct Member {
    request: Box<dyn Request>,
    outcome: Result<Vec<After>>,
}

/// How running one request left the transaction.
enum Left {
    /// Open; the request is in it, or was undone with this error.
    Open(Result<Vec<After>>),
    /// Gone, with everything in it.
    Gone(Error),
}

struct Thread {
    conn: Connection,
    shared: Arc<Shared>,
    last: Timestamp,
}

impl Thread {
    fn serve(mut self, requests: &Receiver<Box<dyn Request>>) {
        WRITES.set(true);
        while let Ok(first) = requests.recv() {
            let mut rest = requests.try_iter().take(BATCH - 1);
            for innocent in self.transact(first, &mut rest) {
                self.shared.counters.replays.fetch_add(1, Ordering::Relaxed);
                // Alone, a request has no innocent company.
                self.transact(innocent, &mut std::iter::empty());
            }
        }
    }

    /// One transaction over `first` and what `rest` yields. Answers them, save those it returns:
    /// they have to run again, because another one's error undid them.
    fn transact(
        &mut self,
        first: Box<dyn Request>,
        rest: &mut dyn Iterator<Item = Box<dyn Request>>,
    ) -> Vec<Box<dyn Request>> {
        if let Some(error) = self.shared.failure() {
            first.answer(Err(error));
            return Vec::new();
        }
        if let Err(error) = self.begin() {
            first.answer(Err(error));
            return Vec::new();
        }
        let mut members = Vec::new();
        let mut next = Some(first);
        while let Some(mut request) = next {
            match self.attempt(request.as_mut()) {
                Left::Open(outcome) => members.push(Member { request, outcome }),
                Left::Gone(error) => {
                    request.answer(Err(error));
                    return members.into_iter().map(|member| member.request).collect();
                }
            }
            next = rest.next();
        }
        self.end(members)
    }

    fn begin(&mut self) -> Result<()> {
        self.shared.steps.reach("db.begin")?;
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(failed("begin a transaction"))
    }

    /// Runs one request in a savepoint.
    fn attempt(&mut self, request: &mut dyn Request) -> Left {
        if let Err(cause) = self.statement("SAVEPOINT request") {
            return self.lose(failed("begin a request")(cause));
        }
        let now = self.tick();
        let mut tx = Tx::new(&self.conn, now);
        let result = catch_unwind(AssertUnwindSafe(|| request.run(&mut tx)))
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        let after = tx.into_after();
        if self.conn.is_autocommit() {
            let unnoticed = || Error::internal("a request went on after the database undid it");
            return Left::Gone(result.err().unwrap_or_else(unnoticed));
        }
        let (end, outcome) = match result {
            Ok(()) => ("RELEASE request", Ok(after)),
            Err(error) => ("ROLLBACK TO request; RELEASE request", Err(error)),
        };
        match self.statement(end) {
            Ok(()) => Left::Open(outcome),
            Err(cause) => {
                self.lose(outcome.err().unwrap_or_else(|| failed("end a request")(cause)))
            }
        }
    }

    /// Commits and answers. Returns the requests of a transaction that did not fit on the disk, to
    /// be tried one by one: small ones, and those that delete, may fit.
    fn end(&mut self, mut members: Vec<Member>) -> Vec<Box<dyn Request>> {
        if let Err(error) = self.shared.steps.reach("db.before-commit") {
            return self.give_up(members, error);
        }
        let committed = self.shared.steps.reach("db.commit").and_then(|()| {
            match self.conn.execute_batch("COMMIT") {
                // The record that makes the transaction valid is the last thing written before the
                // fsync. A disk too full for it has not got it: nothing happened.
                Err(cause) if is_full(&cause) => Ok(Err(failed("commit")(cause))),
                Err(cause) => Err(failed("commit")(cause)),
                Ok(()) => self.shared.steps.reach("db.after-commit").map(Ok),
            }
        });
        match committed {
            Ok(Ok(())) => {}
            Ok(Err(full)) => return self.give_up(members, full),
            Err(cause) => {
                self.poison(&cause);
                for Member { request, .. } in members {
                    let failure = self.shared.failure().unwrap_or_else(|| self.shared.closed());
                    request.answer(Err(failure));
                }
                return Vec::new();
            }
        }
        let requests = members.iter().filter(|member| member.outcome.is_ok()).count();
        self.shared.counters.requests.fetch_add(requests as u64, Ordering::Relaxed);
        self.shared.counters.commits.fetch_add(1, Ordering::Relaxed);
        for member in &mut members {
            if let Ok(after) = &mut member.outcome {
                self.follow(std::mem::take(after));
            }
        }
        for Member { request, outcome } in members {
            request.answer(outcome.map(drop));
        }
        Vec::new()
    }

    /// Undoes the transaction. A single member is answered with `error`, several are to run again.
    fn give_up(&mut self, mut members: Vec<Member>, error: Error) -> Vec<Box<dyn Request>> {
        let Left::Gone(error) = self.lose(error) else { return Vec::new() };
        if members.len() == 1
            && let Some(Member { request, .. }) = members.pop()
        {
            request.answer(Err(error));
        }
        members.into_iter().map(|member| member.request).collect()
    }

    /// Makes sure that no transaction is open; one that cannot be ended is a failed one.
    fn lose(&mut self, error: Error) -> Left {
        if !self.conn.is_autocommit()
            && let Err(cause) = self.conn.execute_batch("ROLLBACK")
        {
            self.poison(&failed("roll back")(cause));
        }
        Left::Gone(error)
    }

    /// Ends all writing. What the WAL holds is for the next opener to judge.
    fn poison(&mut self, cause: &Error) {
        let why = cause.chain();
        tracing::error!(file = %self.shared.file.display(), why, "the database failed");
        // A second reason adds nothing to the first.
        let _ = self.shared.poison.set(why);
        if !self.conn.is_autocommit() {
            // Its outcome changes nothing: nobody will write here again.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        let kept = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        if let Err(e) = kept {
            tracing::warn!(error = %e, "keep the WAL of a failed database");
        }
    }

    fn follow(&self, after: Vec<After>) {
        for step in after {
            let done = catch_unwind(AssertUnwindSafe(|| match step {
                After::Run(action) => action(),
                After::Tell(envelope) => self.shared.events.send(envelope),
                After::CountDeletion => {
                    self.shared.counters.deletions.fetch_add(1, Ordering::Relaxed);
                }
            }));
            if let Err(panic) = done {
                tracing::error!(error = %panicked(panic.as_ref()), "after a commit");
            }
        }
    }

    /// A time after all earlier ones.
    fn tick(&mut self) -> Timestamp {
        let next = self.last.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(self.last);
        self.last = Timestamp::now().max(next);
        self.last
    }

    /// One or two statements without parameters, prepared once.
    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        sql.split("; ").try_for_each(|sql| self.conn.prepare_cached(sql)?.execute([]).map(drop))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    Error::new(Kind::Internal, format!("a database request panicked: {text}"))
}
