//! Each kind of damage, made by hand, is found; and what repair leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lamina_core::content::{CommitOptions as Commit, WriteOptions};
use lamina_core::snapshot::CommitOptions;
use lamina_core::{Digest, Labels};

use super::*;
use crate::snapshot::Layer;
use crate::testing::{Rig, scope};
use crate::{Options, Store};

const BYTES: &[u8] = b"what the blob is";

fn options(root: &Path) -> Options {
    Options { reserve: 0, ..Options::new(root.join("root"), root.join("state")) }
}

fn open(root: &Path) -> Store {
    Store::open(options(root)).unwrap()
}

/// A blob, a half-written ingest, two verified layers one on the other, an active on top.
fn filled(root: &Path) -> Store {
    let store = open(root);
    let content = store.content_now(&scope());
    let mut writer = content.writer_now("whole", WriteOptions::default()).unwrap();
    writer.write(BYTES).unwrap();
    let blob = writer.commit(Commit::default()).unwrap();
    let mut writer = content.writer_now("half", WriteOptions::default()).unwrap();
    writer.write(&[1; 1000]).unwrap();
    writer.close().unwrap();
    let snapshots = store.snapshots(&scope(), "native").unwrap();
    let (mut parent, mut chain) = (String::new(), None);
    for name in ["one", "two"] {
        let diff_id = Digest::sha256(name.as_bytes());
        snapshots.prepare_now("k", &parent, Labels::new()).unwrap();
        let layer = Layer { diff_id: diff_id.clone(), blob: Some(blob.clone()) };
        snapshots.commit_layer_now(name, "k", CommitOptions::default(), layer).unwrap();
        parent = name.to_owned();
        chain = Some(lamina_core::digest::chain_id(chain.as_ref(), &diff_id));
    }
    snapshots.prepare_now("active", "two", Labels::new()).unwrap();
    store
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}

const LOOK: FsckOptions = FsckOptions { verify_blobs: true, repair: false };
const MEND: FsckOptions = FsckOptions { verify_blobs: true, repair: true };

#[test]
fn a_healthy_store_has_nothing_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let report = filled(dir.path()).fsck(LOOK).unwrap();
    assert_eq!(codes(&report), [""; 0], "{report:?}");
    assert_eq!((report.blobs, report.ingests, report.snapshots, report.names), (1, 1, 3, 3));
}

/// Damages rows, looks, and mends.
fn rows(damage: &str, want: &[&str], after_repair: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.db().damage(damage);
    let report = store.fsck(LOOK).unwrap();
    assert_eq!(codes(&report), want, "{damage}: {report:?}");
    assert!(!report.is_clean());
    store.fsck(MEND).unwrap();
    assert_eq!(codes(&store.fsck(LOOK).unwrap()), after_repair, "{damage}");
}

#[test]
fn damaged_rows_are_found() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("blob rows unowned", &["blob-unowned"], &["blob-unowned"]),
        ("blob size", &["blob-lost"], &[]),
        ("ingest offset", &["ingest-short"], &["ingest-short"]),
        ("reserved ids", &["snapshot-id"], &["snapshot-id"]),
        ("chain ID", &["snapshot-chain"], &["snapshot-chain"]),
        ("settled", &["snapshot-unsettled"], &["snapshot-unsettled"]),
        ("parent of a name", &["name-parent"], &["name-parent"]),
        ("name gone", &["snapshot-unnamed"], &["snapshot-unnamed"]),
        (
            "dead below live",
            &["snapshot-parent", "snapshot-dead", "name-dead"],
            &["snapshot-parent", "snapshot-dead", "name-dead"],
        ),
        ("active below", &["snapshot-parent"], &["snapshot-parent"]),
        (
            "unknown snapshotter",
            &["snapshot-id", "snapshot-unnamed", "snapshotter-away"],
            &["snapshot-id", "snapshot-unnamed", "snapshotter-away"],
        ),
    ];
    for (damage, want, after) in cases {
        rows(damage, want, after);
    }
}

#[test]
fn damaged_files_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let content = dir.path().join("root/io.containerd.content.v1.content");
    let digest = Digest::sha256(BYTES);
    let blob = content.join("blobs/sha256").join(digest.hex());
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, b"what the blob IS").unwrap();
    let stray = Digest::sha256(b"nobody's");
    fs::write(content.join("blobs/sha256").join(stray.hex()), b"nobody's").unwrap();
    fs::create_dir(content.join("ingest/nobody")).unwrap();
    let snapshots = dir.path().join("root/io.containerd.snapshotter.v1.native/snapshots");
    fs::remove_dir_all(snapshots.join("1")).unwrap();
    fs::create_dir(snapshots.join("77")).unwrap();

    // Without reading blobs through, wrong bytes of the right number are not seen.
    let quick = store.fsck(FsckOptions::default()).unwrap();
    assert_eq!(codes(&quick), ["blob-stray", "ingest-stray", "snapshot-lost", "snapshot-stray"]);
    let report = store.fsck(LOOK).unwrap();
    let all = ["blob-corrupt", "blob-stray", "ingest-stray", "snapshot-lost", "snapshot-stray"];
    assert_eq!(codes(&report), all);

    let report = store.fsck(MEND).unwrap();
    let left: Vec<_> = report.findings.iter().filter(|f| !f.repaired).map(|f| f.code).collect();
    assert_eq!(left, [Code::SnapshotLost], "damage is told, not dropped");
    assert!(!blob.exists() && !snapshots.join("77").exists());
    let again = store.content_now(&scope()).info_now(&digest).unwrap_err();
    assert!(again.is_not_found(), "it can be fetched again");
    assert_eq!(codes(&store.fsck(LOOK).unwrap()), ["snapshot-lost"]);
}

#[test]
fn a_damaged_database_is_found() {
    rows("lease gone", &["database"], &["database"]);
}

fn content_dir(root: &Path) -> std::path::PathBuf {
    root.join("root/io.containerd.content.v1.content")
}

#[test]
fn looking_leaves_the_file_of_an_ingest_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let ingest = Digest::sha256(b"a/half");
    let data = content_dir(dir.path()).join("ingest").join(ingest.hex()).join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o440)).unwrap();
    let before = fs::metadata(&data).unwrap();
    assert_eq!(store.fsck(LOOK).unwrap().findings, []);
    let after = fs::metadata(&data).unwrap();
    assert_eq!(after.permissions().mode() & 0o7777, 0o440);
    let changed = |meta: &fs::Metadata| {
        use std::os::unix::fs::MetadataExt;
        (meta.ctime(), meta.ctime_nsec())
    };
    assert_eq!(changed(&before), changed(&after));
}

/// Repairs while an ingest is at that step, and lets it go on.
fn repaired_at(step: &'static str) {
    let rig = Rig::new();
    let store = rig.store.clone();
    rig.at(step, move || {
        let found = store.fsck(MEND).unwrap().findings;
        assert_eq!(found, [], "an ingest at {step}");
        // As when the directory had been found just before the ingest was begun.
        let ingest = Digest::sha256(b"a/busy");
        assert!(!store.blobs().drop_stray_ingest(ingest.hex()).unwrap());
    });
    let content = rig.store.content_now(&scope());
    let mut writer = content.writer_now("busy", WriteOptions::default()).unwrap();
    writer.write(BYTES).unwrap();
    let blob = writer.commit(Commit::default()).unwrap();
    rig.has_acted();
    assert_eq!(blob, Digest::sha256(BYTES));
    assert_eq!(rig.store.fsck(LOOK).unwrap().findings, []);
}

#[test]
fn repair_leaves_an_ingest_that_is_being_begun_or_committed() {
    for step in ["ingest.made", "ingest.row", "ingest.write", "blob.checked", "blob.row"] {
        repaired_at(step);
    }
}

#[test]
fn a_stray_directory_goes_only_while_it_has_no_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ingest = Digest::sha256(b"a/busy");
    let stray = content_dir(dir.path()).join("ingest").join(ingest.hex());
    fs::create_dir(&stray).unwrap();
    assert_eq!(codes(&store.fsck(LOOK).unwrap()), ["ingest-stray"]);
    let content = store.content_now(&scope());
    let mut writer = content.writer_now("busy", WriteOptions::default()).unwrap();
    writer.write(BYTES).unwrap();
    assert_eq!(store.fsck(MEND).unwrap().findings, []);
    writer.commit(Commit::default()).unwrap();
    fs::create_dir(&stray).unwrap();
    assert!(store.fsck(MEND).unwrap().is_clean());
    assert!(!stray.exists());
}

#[test]
fn a_blob_that_came_back_is_not_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let digest = Digest::sha256(BYTES);
    let state = store.blobs().recheck_blob(&digest, true, true).unwrap();
    assert_eq!(state, crate::content::BlobState::Good);
    assert!(store.content_now(&scope()).info_now(&digest).is_ok());
}

#[test]
fn what_was_lost_before_the_start_is_told_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.close().unwrap();
    drop(store);
    let content = content_dir(dir.path());
    let digest = Digest::sha256(BYTES);
    fs::remove_file(content.join("blobs/sha256").join(digest.hex())).unwrap();
    let stray = content.join("ingest/nobody");
    fs::create_dir(&stray).unwrap();
    let snapshots = dir.path().join("root/io.containerd.snapshotter.v1.native/snapshots");
    fs::remove_dir_all(snapshots.join("1")).unwrap();

    let all = ["blob-lost", "ingest-stray", "snapshot-lost"];
    for _ in 0..2 {
        let report = Store::examine(options(dir.path()), LOOK).unwrap();
        assert_eq!(codes(&report), all, "looking changes nothing");
        assert_eq!(report.findings[0].subject, digest.as_str());
        assert!(report.findings.iter().all(|finding| !finding.repaired));
    }
    assert!(stray.exists());
    let report = Store::examine(options(dir.path()), MEND).unwrap();
    assert_eq!(codes(&report), all);
    let mended: Vec<_> = report.findings.iter().map(|finding| finding.repaired).collect();
    assert_eq!(mended, [true, true, false]);
    assert!(!stray.exists());
    let report = Store::examine(options(dir.path()), LOOK).unwrap();
    assert_eq!(codes(&report), ["snapshot-lost"]);
    let again = open(dir.path()).content_now(&scope()).info_now(&digest).unwrap_err();
    assert!(again.is_not_found(), "it can be fetched again");
}

#[test]
fn a_store_that_is_open_is_not_examined() {
    let dir = tempfile::tempdir().unwrap();
    let _store = filled(dir.path());
    let error = Store::examine(options(dir.path()), LOOK).unwrap_err();
    assert_eq!(error.kind(), lamina_core::Kind::Unavailable);
}
