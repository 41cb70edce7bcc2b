//! What the database promises, tested with the faults that SQLite and disks have.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use lamina_core::{Envelope, Error, Event, EventSink, Kind, Namespace, Result};

use super::{Db, Options, SCHEMA_VERSION};
use crate::Durability;
use crate::fault::{Faults, Steps};

fn open(dir: &Path) -> Db {
    Db::open(dir, Options::new(Durability::Full)).unwrap()
}

/// All facts, in order of keys.
fn facts(db: &Db) -> Vec<String> {
    db.read(|read| read.all("SELECT key FROM meta ORDER BY key", [], |row| row.get(0))).unwrap()
}

fn put(db: &Db, key: &str) -> Result<()> {
    let key = key.to_owned();
    db.write(move |tx| tx.set_meta(&key, "x"))
}

/// Fails at the named step as many times as it is told.
#[derive(Debug)]
struct Failing {
    step: &'static str,
    times: AtomicU32,
    kind: Kind,
}

impl Failing {
    fn at(step: &'static str, kind: Kind) -> Arc<Self> {
        Arc::new(Failing { step, times: AtomicU32::new(0), kind })
    }

    fn next(&self, times: u32) {
        self.times.store(times, Ordering::SeqCst);
    }
}

impl Faults for Failing {
    fn reach(&self, step: &'static str) -> Result<()> {
        let hit = step == self.step
            && self
                .times
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1))
                .is_ok();
        if hit { Err(Error::new(self.kind, format!("injected at {step}"))) } else { Ok(()) }
    }
}

fn open_failing(dir: &Path, failing: &Arc<Failing>) -> Db {
    let steps = Steps::watched(Arc::clone(failing) as Arc<dyn Faults>);
    Db::open(dir, Options { steps, ..Options::new(Durability::Full) }).unwrap()
}

/// Holds the writer thread in a request until it is let go, so that what is written meanwhile forms
/// one batch.
struct Stall {
    thread: std::thread::JoinHandle<()>,
    go: std::sync::mpsc::Sender<()>,
}

impl Stall {
    fn new(db: &Db) -> Stall {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (started, running) = std::sync::mpsc::channel();
        let db = db.clone();
        let thread = std::thread::spawn(move || {
            db.write(move |_| {
                let _ = started.send(());
                let _ = wait.recv();
                Err::<(), _>(Error::aborted("only to hold the writer up"))
            })
            .unwrap_err();
        });
        running.recv().unwrap();
        Stall { thread, go }
    }

    fn end(self) {
        // Hung up, so that a replay of the request does not wait.
        drop(self.go);
        self.thread.join().unwrap();
    }
}

type Request<T> = Box<dyn FnMut(&mut super::Tx<'_>) -> Result<T> + Send>;

/// Runs `requests` in one batch, in their order, and returns their answers.
fn batch<T: Send + 'static>(db: &Db, requests: Vec<Request<T>>) -> Vec<Result<T>> {
    let stall = Stall::new(db);
    let mut threads = Vec::new();
    for (n, request) in requests.into_iter().enumerate() {
        let thread = std::thread::spawn({
            let db = db.clone();
            move || db.write(request)
        });
        threads.push(thread);
        // The request that holds the writer up counts too.
        while db.stats().waiting < n as u64 + 2 {
            std::thread::yield_now();
        }
    }
    stall.end();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn what_is_written_is_read_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    db.write(|tx| tx.set_meta("uuid", "1")).unwrap();
    assert_eq!(db.read(|read| read.meta("uuid")).unwrap().as_deref(), Some("1"));
    assert_eq!(db.read(|read| read.meta("none")).unwrap(), None);
    assert_eq!(db.check().unwrap(), Vec::<String>::new());
    db.close().unwrap();
    assert_eq!(put(&db, "late").unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(db.read(|_| Ok(())).unwrap_err().kind(), Kind::Unavailable);
    assert!(!dir.path().join("meta.db-wal").exists(), "the WAL was not moved at close");
    assert_eq!(facts(&open(dir.path())), ["uuid"]);
}

#[test]
fn the_identity_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let uuid = db.uuid().unwrap();
    assert_eq!((uuid.len(), db.uuid().unwrap() == uuid), (36, true));
    drop(db);
    assert_eq!(open(dir.path()).uuid().unwrap(), uuid);
}

#[test]
fn modes_do_not_depend_on_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    drop(open(&root));
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("meta.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let db = open(&root);
    put(&db, "a").unwrap();
    db.backup_if_due().unwrap();
    assert_eq!(mode(root.clone()), 0o700);
    for name in ["meta.db", "meta.db-wal", "meta.db-shm", "meta.db.backup"] {
        assert_eq!(mode(root.join(name)), 0o600, "{name}");
    }
}

#[test]
fn many_writers_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let start = Arc::new(Barrier::new(64));
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let (db, start) = (db.clone(), Arc::clone(&start));
            scope.spawn(move || {
                start.wait();
                for n in 0..5 {
                    put(&db, &format!("{thread}-{n}")).unwrap();
                }
            });
        }
    });
    let stats = db.stats();
    assert_eq!(stats.requests, 64 * 5);
    assert!(stats.commits < stats.requests / 2, "{stats:?}");
    assert_eq!(facts(&db).len(), 64 * 5);
}

#[test]
fn a_failing_request_is_undone_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let before = db.stats().commits;
    let answers = batch(
        &db,
        vec![
            Box::new(|tx| tx.set_meta("a", "")),
            Box::new(|tx| {
                tx.set_meta("b", "")?;
                Err(Error::failed_precondition("changed my mind"))
            }),
            Box::new(|tx| {
                tx.set_meta("c", "")?;
                panic!("a bug")
            }),
            Box::new(|tx| {
                assert!(tx.meta("a")?.is_some(), "earlier ones of the batch are seen");
                assert!(tx.meta("b")?.is_none(), "what was undone is not");
                tx.set_meta("d", "")
            }),
        ],
    );
    let kinds: Vec<Option<Kind>> =
        answers.iter().map(|a| a.as_ref().err().map(Error::kind)).collect();
    assert_eq!(kinds, [None, Some(Kind::FailedPrecondition), Some(Kind::Internal), None]);
    assert!(answers[2].as_ref().unwrap_err().message().contains("a bug"));
    assert_eq!(facts(&db), ["a", "d"]);
    let stats = db.stats();
    assert_eq!((stats.commits - before, stats.requests, stats.replays), (1, 2, 0));
}

#[test]
fn innocent_requests_survive_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    // As many pages as are there now and a few: large rows do not fit, small ones do.
    db.write(|tx| {
        let pages = tx.one("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?.unwrap();
        tx.one(&format!("PRAGMA max_page_count = {}", pages + 2), [], |_| Ok(()))?;
        Ok(())
    })
    .unwrap();
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    let answers = batch(
        &db,
        vec![
            Box::new(move |tx| {
                count.fetch_add(1, Ordering::SeqCst);
                tx.set_meta("a", "small")
            }),
            Box::new(|tx| tx.set_meta("b", &"large".repeat(10_000))),
            Box::new(|tx| tx.set_meta("c", "small")),
        ],
    );
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), Kind::ResourceExhausted);
    assert_eq!(facts(&db), ["a", "c"]);
    assert_eq!(ran.load(Ordering::SeqCst), 2, "the innocent one was not run again");
    assert!(db.stats().replays >= 1);
    assert_eq!(db.check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_request_that_hides_a_lost_transaction_fails() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let answers = batch::<()>(
        &db,
        vec![
            Box::new(|tx| tx.set_meta("a", "")),
            Box::new(|tx| {
                // What SQLite itself does for some errors.
                tx.run("ROLLBACK", []).unwrap();
                Ok(())
            }),
        ],
    );
    assert!(answers[0].is_ok());
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), Kind::Internal);
    assert_eq!(facts(&db), ["a"]);
}

/// Keeps the names of what it is sent.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl EventSink for Heard {
    fn send(&self, envelope: Envelope) {
        if let Event::NamespaceDelete { name } = envelope.event {
            self.0.lock().unwrap().push(name);
        }
    }
}

#[test]
fn actions_follow_the_commit_in_order_or_never() {
    let dir = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let events = Arc::clone(&heard) as Arc<dyn EventSink>;
    let db = Db::open(dir.path(), Options { events, ..Options::new(Durability::Full) }).unwrap();
    let request = |name: &'static str, fails: bool| {
        let heard = Arc::clone(&heard);
        Box::new(move |tx: &mut super::Tx<'_>| {
            let heard = Arc::clone(&heard);
            tx.set_meta(name, "")?;
            tx.after_commit(move || heard.0.lock().unwrap().push(format!("{name}: action")));
            let namespace = Namespace::new("default")?;
            tx.event(&namespace, Event::NamespaceDelete { name: format!("{name}: event") });
            tx.after_commit(|| panic!("an action that panics"));
            if fails { Err(Error::aborted("no")) } else { Ok(tx.now()) }
        }) as Box<dyn FnMut(&mut super::Tx<'_>) -> Result<jiff::Timestamp> + Send>
    };
    let answers = batch(&db, vec![request("a", false), request("b", true), request("c", false)]);
    assert_eq!(*heard.0.lock().unwrap(), ["a: action", "a: event", "c: action", "c: event"]);
    assert!(answers[0].as_ref().unwrap() < answers[2].as_ref().unwrap(), "times increase");
    put(&db, "the writer goes on").unwrap();
}

#[test]
fn a_write_inside_a_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let (inner, action) = (db.clone(), db.clone());
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let error = db.write(move |_| put(&inner, "inner")).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    db.write(move |tx| {
        let (action, keep) = (action.clone(), Arc::clone(&keep));
        tx.after_commit(move || *keep.lock().unwrap() = Some(put(&action, "after")));
        Ok(())
    })
    .unwrap();
    let error = seen.lock().unwrap().take().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
}

#[test]
fn a_commit_of_unknown_outcome_ends_writing_until_reopened() {
    for (step, there) in [("db.commit", false), ("db.after-commit", true)] {
        let dir = tempfile::tempdir().unwrap();
        let failing = Failing::at(step, Kind::Internal);
        let db = open_failing(dir.path(), &failing);
        put(&db, "before").unwrap();
        failing.next(1);
        let answers = batch(
            &db,
            vec![
                Box::new(|tx: &mut super::Tx<'_>| tx.set_meta("lost", "")),
                Box::new(|tx: &mut super::Tx<'_>| tx.set_meta("lost too", "")),
            ],
        );
        for answer in answers {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{step}");
            let text = error.to_string();
            assert!(text.contains("failed, reopen it") && text.contains("meta.db"), "{text}");
        }
        assert!(db.has_failed());
        assert_eq!(put(&db, "after").unwrap_err().kind(), Kind::Unavailable);
        assert!(db.read(|read| read.meta("before")).unwrap().is_some(), "readers go on");
        assert_eq!(db.close().unwrap_err().kind(), Kind::Unavailable);
        drop(db);
        let db = open(dir.path());
        assert!(!db.has_failed());
        put(&db, "again").unwrap();
        assert_eq!(facts(&db).contains(&"lost".into()), there, "{step}");
        assert_eq!(facts(&db).contains(&"lost too".into()), there, "{step}");
    }
}

#[test]
fn an_error_before_the_commit_costs_only_its_transaction() {
    for step in ["db.begin", "db.before-commit"] {
        let dir = tempfile::tempdir().unwrap();
        let failing = Failing::at(step, Kind::ResourceExhausted);
        let db = open_failing(dir.path(), &failing);
        failing.next(1);
        assert_eq!(put(&db, "a").unwrap_err().kind(), Kind::ResourceExhausted, "{step}");
        put(&db, "a").unwrap();
        assert_eq!(facts(&db), ["a"]);
    }
}

#[test]
fn readers_see_one_state_and_never_wait() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    put(&db, "a").unwrap();
    let stall = Stall::new(&db);
    assert_eq!(facts(&db), ["a"], "read while a write transaction is open");
    stall.end();
    db.read(|read| {
        let count =
            || read.all("SELECT key FROM meta", [], |r| r.get::<_, String>(0)).unwrap().len();
        assert_eq!(count(), 1);
        put(&db, "b").unwrap();
        assert_eq!(count(), 1, "a read transaction shows one state");
        Ok(())
    })
    .unwrap();
    assert_eq!(facts(&db), ["a", "b"], "and the next one is not held in it");
}

#[test]
fn a_panicking_reader_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let other = db.clone();
    std::thread::spawn(move || other.read::<()>(|_| panic!("a bug"))).join().unwrap_err();
    put(&db, "a").unwrap();
    assert_eq!(facts(&db), ["a"]);
}

#[test]
fn a_reader_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let error = db
        .read(|read| read.one("DELETE FROM meta RETURNING 1", [], |_| Ok(())).map(drop))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
}

#[test]
fn a_newer_version_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = dir.path().join("meta.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(conn);
    let before = fs::read(&file).unwrap();
    let error = Db::open(dir.path(), Options::new(Durability::Full)).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    let text = error.to_string();
    let known = format!("up to {SCHEMA_VERSION}");
    for part in ["meta.db", "version 7", &known] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_damaged_file_is_data_loss_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("meta.db");
    fs::write(&file, "not a database, however long one looks at it".repeat(100)).unwrap();
    let refuse = |hint: &str| {
        let error = Db::open(dir.path(), Options::new(Durability::Full)).unwrap_err();
        assert_eq!(error.kind(), Kind::DataLoss, "{}", error.chain());
        let text = error.to_string();
        assert!(text.contains(file.to_str().unwrap()) && text.contains(hint), "{text}");
    };
    refuse("to start empty, move");
    fs::remove_file(&file).unwrap();
    let db = open(dir.path());
    put(&db, "a").unwrap();
    assert!(db.backup_if_due().unwrap());
    drop(db);
    // Emptied or deleted, a database that has a copy is not silently begun anew.
    fs::write(&file, "").unwrap();
    refuse("meta.db.backup to");
    fs::remove_file(&file).unwrap();
    refuse("meta.db.backup to");
    fs::copy(dir.path().join("meta.db.backup"), &file).unwrap();
    assert_eq!(facts(&open(dir.path())), ["a"]);
}

#[test]
fn damage_further_in_is_found_by_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for n in 0..200 {
        put(&db, &format!("{n}-{}", "k".repeat(200))).unwrap();
    }
    drop(db);
    let file = dir.path().join("meta.db");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 4096..].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let db = open(dir.path());
    let found = match db.check() {
        Ok(lines) => !lines.is_empty(),
        Err(error) => error.kind() == Kind::DataLoss,
    };
    assert!(found);
}

#[test]
fn a_copy_is_made_once_a_day_and_one_older_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let (copy, older) = (dir.path().join("meta.db.backup"), dir.path().join("meta.db.backup.1"));
    let age = |hours: u64| {
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
        fs::File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
    };
    put(&db, "a").unwrap();
    assert!(db.backup_if_due().unwrap());
    assert!(!db.backup_if_due().unwrap());
    put(&db, "b").unwrap();
    age(23);
    assert!(!db.backup_if_due().unwrap());
    age(25);
    assert!(db.backup_if_due().unwrap());
    let keys = |file: &Path| -> i64 {
        let conn = rusqlite::Connection::open(file).unwrap();
        conn.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((keys(&copy), keys(&older)), (2, 1));
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 5, "meta.db, its WAL and index, two copies");
}

#[test]
fn a_cut_copy_leaves_a_whole_one() {
    for step in ["backup.copied", "backup.aside"] {
        let dir = tempfile::tempdir().unwrap();
        let failing = Failing::at(step, Kind::Internal);
        let db = open_failing(dir.path(), &failing);
        assert!(db.backup_if_due().unwrap());
        let copy = dir.path().join("meta.db.backup");
        let old = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&copy).unwrap().set_modified(old).unwrap();
        failing.next(1);
        db.backup_if_due().unwrap_err();
        let whole = [copy, dir.path().join("meta.db.backup.1")].iter().any(|file| file.exists());
        assert!(whole, "{step}");
        assert!(db.backup_if_due().unwrap(), "{step}");
    }
}

#[test]
fn the_wal_is_moved_while_writers_write() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), Options::new(Durability::None)).unwrap();
    let large = "x".repeat(1 << 20);
    for n in 0..40 {
        let (key, large) = (n.to_string(), large.clone());
        db.write(move |tx| tx.set_meta(&key, &large)).unwrap();
    }
    let moved = || db.stats().checkpoints > 0;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !moved() && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(moved());
}

#[test]
fn two_handles_on_one_file_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    std::thread::scope(|scope| {
        for (name, db) in [("one", &one), ("two", &two)] {
            scope.spawn(move || (0..20).for_each(|n| put(db, &format!("{name}-{n}")).unwrap()));
        }
    });
    drop(one);
    assert_eq!(facts(&two).len(), 40);
    assert_eq!(two.check().unwrap(), Vec::<String>::new());
}
