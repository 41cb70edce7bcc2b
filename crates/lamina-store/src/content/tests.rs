//! What the contract suite cannot see: leases, the disk, what a start finds, races.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::labels::NAMESPACE_SHAREABLE;
use lamina_core::lease::Resource;
use lamina_core::{Digest, Envelope, Error, Event, EventSink, Filters, Kind, Labels};
use lamina_core::{Namespace, Result, Scope};
use lamina_testkit::disk;

use super::{Handle, Options, Sharing, Store, Writer};
use crate::Durability;
use crate::db::{self, Db};
use crate::fault::Steps;

struct Host {
    root: PathBuf,
    db: Db,
    store: Store,
}

fn options(sharing: Sharing) -> Options {
    Options { durability: Durability::None, sharing, reserve: 0, steps: Steps::none() }
}

impl Host {
    fn with(root: &Path, options: Options) -> Result<Host> {
        let db = Db::open(&root.join("db"), db::Options::new(options.durability))?;
        let store = Store::open(&root.join("content"), db.clone(), options)?;
        Ok(Host { root: root.to_owned(), db, store })
    }

    fn open(root: &Path) -> Host {
        Host::with(root, options(Sharing::Shared)).unwrap()
    }

    fn of(&self, namespace: &str) -> Handle {
        self.store.scoped(Scope::new(Namespace::new(namespace).unwrap()))
    }

    fn leased(&self, namespace: &str, lease: &str) -> Handle {
        self.store.scoped(Scope::new(Namespace::new(namespace).unwrap()).with_lease(lease))
    }

    fn make_lease(&self, namespace: &str, lease: &str) {
        let (namespace, lease) = (Namespace::new(namespace).unwrap(), lease.to_owned());
        let write = move |tx: &mut db::Tx<'_>| tx.insert_lease(&namespace, &lease, &Labels::new());
        self.db.write(write).unwrap();
    }

    fn held(&self, namespace: &str, lease: &str) -> Vec<String> {
        let namespace = Namespace::new(namespace).unwrap();
        let all = self.db.read(|read| read.lease_resources(&namespace, lease)).unwrap();
        all.into_iter().map(|Resource { kind, id }| format!("{kind} {id}")).collect()
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("content/blobs/sha256").join(digest.hex())
    }

    fn ingests(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join("content/ingest")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn begin(handle: &Handle, reference: &str, bytes: &[u8]) -> Writer {
    let mut writer = handle.writer_now(reference, WriteOptions::default()).unwrap();
    writer.write(bytes).unwrap();
    writer
}

fn put(handle: &Handle, bytes: &[u8]) -> Digest {
    let reference = format!("put {}", Digest::sha256(bytes));
    begin(handle, &reference, bytes).commit(CommitOptions::default()).unwrap()
}

fn expecting(digest: &Digest) -> WriteOptions {
    WriteOptions { expected: Some(digest.clone()), ..WriteOptions::default() }
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T>, kind: Kind) {
    assert_eq!(result.as_ref().map_err(Error::kind).err(), Some(kind), "{result:?}");
}

#[test]
fn the_scopes_lease_holds_what_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::open(dir.path());
    host.make_lease("a", "lease");
    let leased = host.leased("a", "lease");
    let writer = begin(&leased, "ref", b"held");
    assert_eq!(host.held("a", "lease"), ["ingests ref"]);
    let digest = writer.commit(CommitOptions::default()).unwrap();
    assert_eq!(host.held("a", "lease"), [format!("content {digest}")]);

    // What is here already, or comes from another namespace, is held too.
    let (here, there) = (put(&host.of("a"), b"here"), put(&host.of("b"), b"there"));
    kind(leased.writer_now("ref", expecting(&here)), Kind::AlreadyExists);
    assert!(leased.adopt_now(&there, Labels::new()).unwrap());
    let mut want = [&digest, &here, &there].map(|digest| format!("content {digest}"));
    want.sort();
    assert_eq!(host.held("a", "lease"), want);

    begin(&leased, "aborted", b"").close().unwrap();
    leased.abort_now("aborted").unwrap();
    assert_eq!(host.held("a", "lease"), want);
}

#[test]
fn a_lease_that_is_gone_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::open(dir.path());
    let leased = host.leased("a", "none");
    kind(leased.writer_now("ref", WriteOptions::default()), Kind::NotFound);
    kind(host.of("a").status_now("ref"), Kind::NotFound);
    let there = put(&host.of("b"), b"there");
    kind(leased.adopt_now(&there, Labels::new()), Kind::NotFound);
    kind(host.of("a").info_now(&there), Kind::NotFound);
}

#[test]
fn adoption_is_as_the_policy_says() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::with(dir.path(), options(Sharing::Isolated)).unwrap();
    let digest = put(&host.of("owner"), b"blob");
    assert!(!host.of("other").adopt_now(&digest, Labels::new()).unwrap());
    assert!(host.of("owner").adopt_now(&digest, Labels::new()).unwrap(), "its own");
    assert_eq!(host.of("other").writer_now("r", expecting(&digest)).unwrap().offset(), 0);

    let shareable = Labels::from([(NAMESPACE_SHAREABLE.to_owned(), "true".to_owned())]);
    let owner = Namespace::new("owner").unwrap();
    host.db.write(move |tx| tx.put_namespace(&owner, &shareable)).unwrap();
    assert_eq!(host.of("other").writer_now("r", expecting(&digest)).unwrap().offset(), 4);
    let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
    assert!(host.of("other").adopt_now(&digest, labels.clone()).unwrap());
    assert_eq!(host.of("other").info_now(&digest).unwrap().labels, labels);
    assert!(!host.of("other").adopt_now(&Digest::sha256(b"none"), Labels::new()).unwrap());
}

/// Keeps what it is sent.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<(String, &'static str)>>);

impl EventSink for Heard {
    fn send(&self, envelope: Envelope) {
        let what = match envelope.event {
            Event::ContentCreate { .. } => "create",
            Event::ContentDelete { .. } => "delete",
            _ => return,
        };
        self.0.lock().unwrap().push((envelope.namespace.to_string(), what));
    }
}

#[test]
fn events_tell_what_each_namespace_got_and_lost() {
    let dir = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let events = Arc::clone(&heard) as Arc<dyn EventSink>;
    let db_options = db::Options { events, ..db::Options::new(Durability::None) };
    let db = Db::open(&dir.path().join("db"), db_options).unwrap();
    let root = dir.path().join("content");
    let store = Store::open(&root, db.clone(), options(Sharing::Shared)).unwrap();
    let host = Host { root: dir.path().to_owned(), db, store };
    let digest = put(&host.of("a"), b"told");
    host.of("b").adopt_now(&digest, Labels::new()).unwrap();
    host.of("b").adopt_now(&digest, Labels::new()).unwrap();
    host.of("a").delete_now(&digest).unwrap();
    let want = [("a", "create"), ("b", "create"), ("a", "delete")].map(|(n, e)| (n.to_owned(), e));
    assert_eq!(*heard.0.lock().unwrap(), want);
}

#[test]
fn modes_and_files_are_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::open(dir.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let writer = begin(&host.of("ns"), "my/ref", b"bytes");
    let [ingest] = &host.ingests()[..] else { panic!("one ingest") };
    assert_eq!(ingest.file_name().unwrap().to_str().unwrap(), Digest::sha256(b"ns/my/ref").hex());
    assert_eq!(fs::read_to_string(ingest.join("ref")).unwrap(), "ns/my/ref");
    assert_eq!((mode(ingest), mode(&ingest.join("data"))), (0o700, 0o600));
    let digest = writer.commit(CommitOptions::default()).unwrap();
    assert_eq!(mode(&host.blob(&digest)), 0o444);
    for part in ["content", "content/blobs", "content/blobs/sha256", "content/ingest"] {
        assert_eq!(mode(&dir.path().join(part)), 0o700, "{part}");
    }
    assert!(host.ingests().is_empty());
    host.of("ns").delete_now(&digest).unwrap();
    assert!(!host.blob(&digest).exists());
}

#[test]
fn a_start_drops_what_no_row_owns() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::open(dir.path());
    let kept = put(&host.of("a"), b"kept");
    begin(&host.of("a"), "kept", b"half").close().unwrap();
    drop(host);
    let blobs = dir.path().join("content/blobs/sha256");
    for n in 0..450_u32 {
        fs::write(blobs.join(Digest::sha256(&n.to_le_bytes()).hex()), "never listed").unwrap();
    }
    fs::write(blobs.join("notes.txt"), "somebody's own").unwrap();
    fs::create_dir_all(dir.path().join("content/ingest/0123/deeper")).unwrap();
    let host = Host::open(dir.path());
    assert!(host.of("a").reader_now(&kept).is_ok());
    assert_eq!(host.of("a").status_now("kept").unwrap().offset, 4);
    assert_eq!(host.ingests().len(), 1);
    let mut left: Vec<_> = fs::read_dir(&blobs).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [kept.hex(), "notes.txt"]);
}

#[test]
fn a_blob_whose_file_is_lost_can_be_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::open(dir.path());
    let (gone, short) = (put(&host.of("a"), b"gone"), put(&host.of("a"), b"short"));
    host.of("b").adopt_now(&gone, Labels::new()).unwrap();
    let whole = put(&host.of("a"), b"whole");
    fs::remove_file(host.blob(&gone)).unwrap();
    fs::set_permissions(host.blob(&short), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(host.blob(&short), b"sho").unwrap();
    // While it is open, this is damage, and told as such.
    kind(host.of("a").reader_now(&gone), Kind::DataLoss);
    let reader = host.of("a").reader_now(&short).unwrap();
    kind(reader.read_into(0, &mut [0; 5]), Kind::DataLoss);
    drop(host);
    let host = Host::open(dir.path());
    for (namespace, digest) in [("a", &gone), ("b", &gone), ("a", &short)] {
        kind(host.of(namespace).info_now(digest), Kind::NotFound);
    }
    assert!(!host.blob(&short).exists());
    assert!(host.of("a").info_now(&whole).is_ok());
    assert_eq!(put(&host.of("a"), b"gone"), gone);
}

#[test]
fn a_missing_directory_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let digest = put(&Host::open(dir.path()).of("a"), b"on another file system");
    let (content, away) = (dir.path().join("content"), dir.path().join("not mounted"));
    fs::rename(&content, &away).unwrap();
    let error = Host::with(dir.path(), options(Sharing::Shared)).err().unwrap();
    assert_eq!(error.kind(), Kind::DataLoss);
    assert!(error.message().contains("not mounted"), "{error}");
    fs::rename(&away, &content).unwrap();
    assert!(Host::open(dir.path()).of("a").reader_now(&digest).is_ok());
}

#[test]
fn an_ingest_goes_on_without_its_hash_state_and_starts_again_without_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::open(dir.path());
    begin(&host.of("a"), "ref", b"first half, ").close().unwrap();
    let space = Namespace::new("a").unwrap();
    let mut row = host.db.read(|read| read.ingest(&space, "ref")).unwrap().unwrap();
    row.hash_state = Some(b"of a version to come".to_vec());
    let scope = Scope::new(space);
    host.db.write(move |tx| tx.put_ingest(&scope, &row)).unwrap();
    // More bytes than are known to be durable: a crash came between write and fsync.
    let data = host.ingests()[0].join("data");
    fs::write(&data, b"first half, torn write").unwrap();
    let mut writer = host.of("a").writer_now("ref", WriteOptions::default()).unwrap();
    assert_eq!(writer.offset(), 12);
    writer.write(b"second half").unwrap();
    let options = CommitOptions {
        expected: Some(Digest::sha256(b"first half, second half")),
        ..CommitOptions::default()
    };
    writer.commit(options).unwrap();

    begin(&host.of("a"), "short", b"ten bytes!").close().unwrap();
    fs::write(host.ingests()[0].join("data"), b"nine byte").unwrap();
    let writer = host.of("a").writer_now("short", WriteOptions::default()).unwrap();
    assert_eq!(writer.offset(), 0);
}

#[test]
fn a_failing_removal_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let failing = Arc::new(Mutex::new(true));
    let steps = Steps::watched({
        let failing = Arc::clone(&failing);
        Arc::new(move |step: &'static str| match step {
            "blob.dead" if *failing.lock().unwrap() => Err(Error::internal("the disk is busy")),
            _ => Ok(()),
        })
    });
    let host = Host::with(dir.path(), Options { steps, ..options(Sharing::Shared) }).unwrap();
    let digest = put(&host.of("a"), b"stays for a while");
    host.of("a").delete_now(&digest).unwrap();
    kind(host.of("a").info_now(&digest), Kind::NotFound);
    assert!(host.blob(&digest).exists());
    kind(host.store.reap(), Kind::Internal);
    // A dead blob is nobody's to adopt, but its bytes may come again.
    assert!(!host.of("b").adopt_now(&digest, Labels::new()).unwrap());
    assert_eq!(host.of("b").writer_now("r", expecting(&digest)).unwrap().offset(), 0);
    put(&host.of("c"), b"stays for a while");
    *failing.lock().unwrap() = false;
    assert_eq!(host.store.reap().unwrap(), 0, "it is alive again");
    assert!(host.of("c").reader_now(&digest).is_ok());
    host.of("c").delete_now(&digest).unwrap();
    assert!(!host.blob(&digest).exists());
}

#[test]
fn commits_deletions_and_sweeps_of_one_blob_race() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::open(dir.path());
    let bytes = vec![9; 10_000];
    let digest = Digest::sha256(&bytes);
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let (handle, bytes, digest) = (host.of(name), &bytes, &digest);
            scope.spawn(move || {
                for n in 0..60 {
                    let mut writer = match handle.writer_now(&format!("{n}"), expecting(digest)) {
                        Ok(writer) => writer,
                        // Another namespace's deletion came between; a client tries again.
                        Err(error) => panic!("{}", error.chain()),
                    };
                    let result = (|| {
                        if writer.offset() == 0 {
                            writer.write(bytes)?;
                        }
                        writer.commit(CommitOptions::default())
                    })();
                    match result {
                        Ok(_) => {
                            let reader = handle.reader_now(digest).unwrap();
                            let mut found = vec![0; bytes.len()];
                            reader.read_into(0, &mut found).unwrap();
                            assert_eq!(&found, bytes);
                            handle.delete_now(digest).unwrap();
                        }
                        Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error:?}"),
                    }
                }
            });
        }
        let store = &host.store;
        scope.spawn(move || (0..100).for_each(|_| assert!(store.reap().unwrap() <= 1)));
    });
    assert!(!host.blob(&digest).exists());
    drop(host);
    assert_eq!(Host::open(dir.path()).ingests().len(), 0);
}

#[test]
fn the_reserve_is_left_free() {
    let dir = tempfile::tempdir().unwrap();
    let full = Options { reserve: u64::MAX, ..options(Sharing::Shared) };
    let host = Host::with(dir.path(), full).unwrap();
    let error = host.of("a").writer_now("ref", WriteOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted);
    assert!(error.message().contains("reserve"), "{error}");
    assert!(host.of("a").statuses_now(&Filters::default()).unwrap().is_empty());
}

#[test]
fn privileged_a_full_disk_loses_nothing() {
    let test = "privileged_a_full_disk_loses_nothing";
    let disk = lamina_testkit::or_skip!(test, disk::Disk::new("ext4", 24 << 20, &[]));
    let full = Options { durability: Durability::Full, ..options(Sharing::Shared) };
    let host = Host::with(disk.path(), full.clone()).unwrap();
    let handle = host.of("a");
    let first = put(&handle, b"first");
    let mut writer = begin(&handle, "too large", b"");
    let chunk = vec![3; 1 << 20];
    let error = (0..64).find_map(|_| writer.write(&chunk).err()).expect("the disk is full");
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
    // The database has the last pages too: its writes fail, or fit, but never end it.
    let ballast = disk.path().join("ballast");
    let mut left = fs::File::create(&ballast).unwrap();
    while std::io::Write::write(&mut left, &[0; 4096]).is_ok_and(|n| n > 0) {}
    let mut refused = 0;
    for n in 0..200 {
        match host.db.write(move |tx| tx.set_meta(&format!("{n}"), &"x".repeat(2000))) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && !host.db.has_failed());
    assert!(handle.reader_now(&first).is_ok());
    drop(left);
    fs::remove_file(&ballast).unwrap();
    let reached = writer.offset();
    drop(writer);
    let offset = handle.status_now("too large").unwrap().offset;
    assert!(offset <= reached, "{offset} {reached}");
    handle.abort_now("too large").unwrap();
    host.db.write(|tx| tx.set_meta("again", "there is room")).unwrap();
    put(&handle, b"second");
    drop((handle, host));
    let host = Host::with(disk.path(), full).unwrap();
    assert_eq!(host.db.check().unwrap(), Vec::<String>::new());
    assert!(host.of("a").reader_now(&first).is_ok());
}
