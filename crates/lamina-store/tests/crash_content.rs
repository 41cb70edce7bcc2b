//! The content store, killed or failing at every step of every operation: afterwards what is listed
//! is whole, nothing else is on disk, and the same call succeeds.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::{Digest, Error, Filters, Kind, Namespace, Result, Scope};
use lamina_store::Durability;
use lamina_store::content::{Handle, Options, Sharing, Store};
use lamina_store::db::{self, Db};
use lamina_store::fault::Steps;
use lamina_testkit::crash::{self, Cut, Listener, Scenario};

const BYTES: &[u8] = &[7; 100_000];

/// An open host, and two namespaces on it.
struct Host {
    db: Db,
    one: Handle,
    two: Handle,
}

impl Host {
    fn open(dir: &Path, steps: Steps) -> Result<Host> {
        let durability = Durability::Full;
        let options = db::Options { steps: steps.clone(), ..db::Options::new(durability) };
        let db = Db::open(&dir.join("db"), options)?;
        let options = Options { durability, sharing: Sharing::Shared, reserve: 0, steps };
        let store = Store::open(&dir.join("content"), db.clone(), options)?;
        let scoped = |name| Ok(store.scoped(Scope::new(Namespace::new(name)?)));
        Ok(Host { db, one: scoped("one")?, two: scoped("two")? })
    }

    fn quiet(dir: &Path) -> Host {
        Host::open(dir, Steps::none()).unwrap()
    }

    fn watched(dir: &Path, listener: Listener) -> Result<Host> {
        Host::open(dir, Steps::watched(Arc::new(move |step: &'static str| listener.reach(step))))
    }

    /// Runs an operation, and again on the same open store if it failed: an error that is gone
    /// leaves no mark. Only a database that does not know whether it committed must be reopened.
    fn insist(&self, op: fn(&Host) -> Result<()>) -> Result<()> {
        let first = op(self);
        if first.is_err() && !self.db.has_failed() {
            op(self).expect("the same call, after an error");
        }
        first
    }
}

/// What every cut leaves behind after a start.
fn nothing_half(dir: &Path, host: &Host) {
    assert_eq!(host.db.check().unwrap(), Vec::<String>::new());
    let mut listed = BTreeSet::new();
    let mut ingests = 0;
    for handle in [&host.one, &host.two] {
        for info in handle.page_now(&mut String::new(), &Filters::default(), 1000).unwrap() {
            let bytes = fs::read(dir.join("content/blobs/sha256").join(info.digest.hex()));
            let bytes = bytes.unwrap_or_else(|e| panic!("{} is listed: {e}", info.digest));
            assert_eq!(
                (Digest::sha256(&bytes), bytes.len() as u64),
                (info.digest.clone(), info.size)
            );
            listed.insert(info.digest.hex().to_owned());
        }
        ingests += handle.statuses_now(&Filters::default()).unwrap().len();
    }
    assert_eq!(names(&dir.join("content/blobs/sha256")), listed, "files without rows");
    assert_eq!(names(&dir.join("content/ingest")).len(), ingests, "ingests without rows");
    let others = names(&dir.join("content"));
    assert_eq!(others, BTreeSet::from(["blobs".to_owned(), "ingest".to_owned()]));
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Cuts `op` everywhere. Afterwards, and after `op` once more, `done` must hold.
fn cut(
    test: &str,
    wanted: &[&str],
    prepare: fn(&Path),
    op: fn(&Host) -> Result<()>,
    done: fn(&Host),
) {
    let steps = crash::at_every_step(&Scenario {
        test,
        prepare: &prepare,
        act: &|dir, listener| Host::watched(dir, listener)?.insist(op),
        check: &|dir, cut: &Cut| {
            let host = Host::quiet(dir);
            nothing_half(dir, &host);
            op(&host).unwrap_or_else(|e| panic!("the same call after {cut}: {}", e.chain()));
            done(&host);
            drop(host);
            nothing_half(dir, &Host::quiet(dir));
        },
    });
    for step in wanted {
        assert!(steps.iter().any(|(name, _)| name == step), "{step} was not reached: {steps:?}");
    }
}

fn digest() -> Digest {
    Digest::sha256(BYTES)
}

fn options() -> WriteOptions {
    WriteOptions { expected: Some(digest()), total: BYTES.len() as u64 }
}

/// Writes what is missing of the blob.
fn write(handle: &Handle, upto: usize) -> Result<lamina_store::content::Writer> {
    let mut writer = handle.writer_now("ref", options())?;
    let at = writer.offset() as usize;
    for chunk in BYTES[at..upto.max(at)].chunks(40_000) {
        writer.write(chunk)?;
    }
    Ok(writer)
}

/// AlreadyExists is a success: the call before the cut had done it.
fn or_exists(result: Result<Digest>) -> Result<()> {
    match result {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

fn or_absent(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn is_whole(handle: &Handle) {
    let reader = handle.reader_now(&digest()).unwrap();
    let mut bytes = vec![0; BYTES.len()];
    assert_eq!(reader.read_into(0, &mut bytes).unwrap(), BYTES.len());
    assert_eq!(bytes, BYTES);
}

fn is_gone<T>(result: Result<T>) {
    assert_eq!(result.err().as_ref().map(Error::kind), Some(Kind::NotFound));
}

fn commit(handle: &Handle) -> Result<()> {
    match write(handle, BYTES.len()) {
        Ok(writer) => or_exists(writer.commit(CommitOptions::default())),
        Err(error) => or_exists(Err(error)),
    }
}

#[test]
fn ingest() {
    cut(
        "ingest",
        &[
            "ingest.begin",
            "ingest.made",
            "ingest.row",
            "ingest.write",
            "ingest.synced",
            "ingest.saved",
        ],
        |dir| drop(Host::quiet(dir)),
        |host| {
            write(&host.one, 50_000)?.close()?;
            write(&host.one, 90_000)?.close()
        },
        |host| assert_eq!(host.one.status_now("ref").unwrap().offset, 90_000),
    );
}

#[test]
fn first_commit() {
    cut(
        "first_commit",
        &[
            "blob.checked",
            "blob.sealed",
            "blob.placed",
            "blob.listed",
            "blob.row",
            "ingest.removed",
        ],
        |dir| drop(Host::quiet(dir)),
        |host| commit(&host.one),
        |host| is_whole(&host.one),
    );
}

#[test]
fn commit_of_what_another_namespace_has() {
    cut(
        "commit_of_what_another_namespace_has",
        &["blob.checked", "blob.row"],
        |dir| commit(&Host::quiet(dir).two).unwrap(),
        |host| commit(&host.one),
        |host| {
            is_whole(&host.one);
            is_whole(&host.two);
        },
    );
}

#[test]
fn commit_of_a_mismatch() {
    cut(
        "commit_of_a_mismatch",
        &["db.commit"],
        |dir| drop(Host::quiet(dir)),
        |host| {
            let mut writer = host.one.writer_now("bad", options())?;
            writer.write(b"something else")?;
            match writer.commit(CommitOptions::default()) {
                Err(error) if error.kind() == Kind::FailedPrecondition => Ok(()),
                other => panic!("{other:?}"),
            }
        },
        |host| is_gone(host.one.info_now(&digest())),
    );
}

#[test]
fn delete_the_last() {
    cut(
        "delete_the_last",
        &["blob.dead", "blob.unlinked", "blob.forgotten"],
        |dir| commit(&Host::quiet(dir).one).unwrap(),
        |host| or_absent(host.one.delete_now(&digest())),
        |host| is_gone(host.one.info_now(&digest())),
    );
}

#[test]
fn delete_and_commit_again() {
    cut(
        "delete_and_commit_again",
        &["blob.dead", "blob.placed"],
        |dir| commit(&Host::quiet(dir).one).unwrap(),
        |host| {
            or_absent(host.one.delete_now(&digest()))?;
            commit(&host.two)
        },
        |host| {
            is_gone(host.one.info_now(&digest()));
            is_whole(&host.two);
        },
    );
}

#[test]
fn abort() {
    cut(
        "abort",
        &["ingest.aborted"],
        |dir| write(&Host::quiet(dir).one, 50_000).unwrap().close().unwrap(),
        |host| or_absent(host.one.abort_now("ref")),
        |host| is_gone(host.one.status_now("ref")),
    );
}

#[test]
fn adoption() {
    cut(
        "adoption",
        &["db.before-commit", "db.after-commit"],
        |dir| commit(&Host::quiet(dir).two).unwrap(),
        |host| {
            assert!(host.one.adopt_now(&digest(), Default::default())?);
            Ok(())
        },
        |host| is_whole(&host.one),
    );
}
