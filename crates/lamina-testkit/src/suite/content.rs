//! The contract of [`ContentStore`], for every implementor.
//!
//! [`every_case`] runs what holds under any policy; [`sharing`] and [`isolation`] what holds under one
//! of the two policies. A case uses namespaces of its own, named after it, so that cases do not
//! disturb each other and can share a host.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use lamina_core::content::{CommitOptions, Info, WriteOptions};
use lamina_core::{
    ContentStore, ContentWriter, Digest, Error, Filters, Kind, Labels, Namespace, Result,
};

/// Opens the store of a namespace.
pub type Open<'a> = &'a (dyn Fn(&Namespace) -> Arc<dyn ContentStore> + Sync);

/// What differs between implementors that are all right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// An ingest can be shortened to any size; otherwise to 0 only, and the rest is Unimplemented.
    pub truncates_anywhere: bool,
    /// A writer knows to the nanosecond when the store was last written to.
    pub writers_know_times: bool,
    /// An open blob stays readable when it is deleted; otherwise the next read is NotFound.
    pub readers_hold_blobs: bool,
}

impl Facts {
    /// A store in this process.
    pub const LOCAL: Facts =
        Facts { truncates_anywhere: true, writers_know_times: true, readers_hold_blobs: true };
    /// A store behind containerd's API, which can say none of it.
    pub const REMOTE: Facts =
        Facts { truncates_anywhere: false, writers_know_times: false, readers_hold_blobs: false };
}

/// The cases that hold under any policy.
///
/// # Panics
/// When one does not hold.
pub async fn every_case(open: Open<'_>, facts: Facts) {
    a_blob_is_what_was_written(open).await;
    reads_end_with_the_blob(open).await;
    the_smallest_blobs(open).await;
    another_algorithm(open).await;
    absent_things_are_not_found(open).await;
    statuses_follow_the_writer(open, facts).await;
    what_is_here_is_not_written_again(open).await;
    a_writer_goes_on_where_the_last_ended(open).await;
    a_large_ingest_goes_on(open).await;
    truncation(open, facts).await;
    an_ingest_that_becomes_another_blob_starts_again(open).await;
    bytes_it_was_not_opened_for_end_the_ingest(open).await;
    a_wrong_commit_keeps_the_ingest(open).await;
    an_empty_body_says_so(open).await;
    totals_are_checked(open).await;
    labels_are_kept_and_changed(open).await;
    one_writer_at_a_time(open).await;
    aborted_ingests_are_gone(open).await;
    listings_are_complete_and_in_order(open).await;
    deletion(open, facts).await;
    many_writers_at_once(open).await;
    many_writers_of_one_blob(open).await;
    namespaces_are_apart(open).await;
    references_have_bounds(open).await;
}

/// The cases that hold when namespaces share blobs.
///
/// # Panics
/// When one does not hold.
pub async fn sharing(open: Open<'_>, facts: Facts) {
    let (mine, theirs) = pair(open, "sharing");
    let bytes = sample("shared", 100_000);
    let digest = put(&*theirs, &bytes).await;

    // Whole at once, without a byte.
    let writer = expecting(&*mine, "share", &digest).await.unwrap();
    assert_eq!(writer.status().offset, bytes.len() as u64);
    assert_eq!(mine.status("share").await.unwrap().offset, bytes.len() as u64);
    let labels = Labels::from([("mine".into(), "1".into())]);
    let committed = writer.commit(CommitOptions { labels, ..CommitOptions::default() }).await;
    assert_eq!(committed.unwrap(), digest);
    assert_eq!(read(&*mine, &digest).await, bytes);
    assert_eq!(mine.info(&digest).await.unwrap().labels.len(), 1);
    assert_eq!(theirs.info(&digest).await.unwrap().labels.len(), 0);
    kind(mine.status("share").await, Kind::NotFound);

    // Who wants other bytes than the blob's gets a file of its own.
    let base = put(&*theirs, &sample("base", 70_000)).await;
    let mut writer = expecting(&*mine, "append", &base).await.unwrap();
    writer.write(Bytes::from_static(b" and more")).await.unwrap();
    let whole = [&sample("base", 70_000)[..], b" and more"].concat();
    assert_eq!(writer.status().offset, whole.len() as u64);
    let appended = Digest::sha256(&whole);
    let options = CommitOptions {
        expected: Some(appended.clone()),
        size: Some(whole.len() as u64),
        ..CommitOptions::default()
    };
    assert_eq!(writer.commit(options).await.unwrap(), appended);
    assert_eq!(read(&*mine, &appended).await, whole);
    kind(mine.info(&base).await, Kind::NotFound);

    let mut writer = expecting(&*mine, "restart", &base).await.unwrap();
    let kept = if facts.truncates_anywhere { 10 } else { 0 };
    writer.truncate(kept).await.unwrap();
    assert_eq!(writer.status().offset, kept);
    let rest = sample("base", 70_000).split_off(usize::try_from(kept).unwrap());
    writer.write(Bytes::from(rest)).await.unwrap();
    assert_eq!(writer.commit(CommitOptions::default()).await.unwrap(), base);

    // A wrong expectation is a mismatch here too, and not the blob's fault.
    let third = put(&*theirs, &sample("third", 5)).await;
    let writer = expecting(&*mine, "wrong", &third).await.unwrap();
    let options = CommitOptions { size: Some(4), ..CommitOptions::default() };
    kind(writer.commit(options).await, Kind::FailedPrecondition);
    let writer = expecting(&*mine, "wrong", &third).await.unwrap();
    assert_eq!(writer.commit(CommitOptions::default()).await.unwrap(), third);

    // Each keeps what it has.
    theirs.delete(&digest).await.unwrap();
    assert_eq!(read(&*mine, &digest).await, bytes);
    mine.delete(&digest).await.unwrap();
    let writer = expecting(&*mine, "gone", &digest).await.unwrap();
    assert_eq!(writer.status().offset, 0, "nobody has it any more");
}

/// The cases that hold when namespaces are isolated.
///
/// # Panics
/// When one does not hold.
pub async fn isolation(open: Open<'_>) {
    let (mine, theirs) = pair(open, "isolation");
    let bytes = sample("isolated", 100_000);
    let digest = put(&*theirs, &bytes).await;
    let mut writer = expecting(&*mine, "isolate", &digest).await.unwrap();
    assert_eq!(writer.status().offset, 0, "the bytes must be sent");
    kind(mine.info(&digest).await, Kind::NotFound);
    writer.write(Bytes::from(bytes.clone())).await.unwrap();
    assert_eq!(writer.commit(CommitOptions::default()).await.unwrap(), digest);
    theirs.delete(&digest).await.unwrap();
    assert_eq!(read(&*mine, &digest).await, bytes);

    // Knowing a digest proves nothing.
    let other = put(&*theirs, &sample("isolated too", 10)).await;
    let writer = expecting(&*mine, "nothing", &other).await.unwrap();
    kind(writer.commit(CommitOptions::default()).await, Kind::FailedPrecondition);
    kind(mine.info(&other).await, Kind::NotFound);
}

async fn a_blob_is_what_was_written(open: Open<'_>) {
    let store = one(open, "written");
    let bytes = sample("written", 300_000);
    let mut writer = store.writer("w", WriteOptions::default()).await.unwrap();
    for (n, chunk) in bytes.chunks(70_001).enumerate() {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        let offset = ((n + 1) * 70_001).min(bytes.len()) as u64;
        assert_eq!(writer.status().offset, offset);
    }
    kind(store.info(&Digest::sha256(&bytes)).await, Kind::NotFound);
    let digest = writer.commit(CommitOptions::default()).await.unwrap();
    assert_eq!(digest, Digest::sha256(&bytes));
    let info = store.info(&digest).await.unwrap();
    assert_eq!((&info.digest, info.size), (&digest, bytes.len() as u64));
    assert_eq!(info.created, info.updated);
    assert_eq!(read(&*store, &digest).await, bytes);
    kind(store.status("w").await, Kind::NotFound);
}

async fn reads_end_with_the_blob(open: Open<'_>) {
    let store = one(open, "reads");
    let bytes = sample("reads", 1000);
    let digest = put(&*store, &bytes).await;
    let reader = store.reader(&digest).await.unwrap();
    assert_eq!(reader.size(), 1000);
    for (offset, len, want) in [
        (0, 10, &bytes[..10]),
        (990, 100, &bytes[990..]),
        (1000, 1, &[]),
        (5000, 1, &[]),
        (3, 0, &[]),
    ] {
        assert_eq!(reader.read_at(offset, len).await.unwrap(), want, "{offset} {len}");
    }
    assert_eq!(reader.read_at(0, usize::MAX).await.unwrap(), bytes);
}

async fn the_smallest_blobs(open: Open<'_>) {
    let store = one(open, "small");
    for bytes in [&b"x"[..], b""] {
        let digest = Digest::sha256(bytes);
        let mut writer = expecting(&*store, "small", &digest).await.unwrap();
        if !bytes.is_empty() {
            writer.write(Bytes::from_static(bytes)).await.unwrap();
        }
        let options = CommitOptions { size: Some(bytes.len() as u64), ..CommitOptions::default() };
        assert_eq!(writer.commit(options).await.unwrap(), digest);
        assert_eq!(read(&*store, &digest).await, bytes);
    }
}

async fn another_algorithm(open: Open<'_>) {
    let store = one(open, "sha512");
    let bytes = sample("sha512", 1000);
    for (reference, told) in [("told at once", true), ("told at commit", false)] {
        let bytes = [&bytes[..], reference.as_bytes()].concat();
        let mut hasher = lamina_core::digest::Hasher::new(lamina_core::digest::Algorithm::Sha512);
        hasher.update(&bytes);
        let digest = hasher.finish();
        let expected = told.then(|| digest.clone());
        let options = WriteOptions { expected, ..WriteOptions::default() };
        let mut writer = store.writer(reference, options).await.unwrap();
        writer.write(Bytes::from(bytes.clone())).await.unwrap();
        drop(writer);
        let writer = store.writer(reference, WriteOptions::default()).await.unwrap();
        assert_eq!(writer.status().offset, bytes.len() as u64);
        let options = CommitOptions { expected: Some(digest.clone()), ..CommitOptions::default() };
        assert_eq!(writer.commit(options).await.unwrap(), digest);
        assert_eq!(read(&*store, &digest).await, bytes);
    }
}

async fn absent_things_are_not_found(open: Open<'_>) {
    let store = one(open, "absent");
    let digest = Digest::sha256(b"absent");
    kind(store.info(&digest).await, Kind::NotFound);
    kind(store.reader(&digest).await, Kind::NotFound);
    kind(store.delete(&digest).await, Kind::NotFound);
    kind(store.status("absent").await, Kind::NotFound);
    kind(store.abort("absent").await, Kind::NotFound);
    let other = put(&*store, b"other").await;
    let info = Info { digest, ..store.info(&other).await.unwrap() };
    kind(store.update(info, &[]).await, Kind::NotFound);
}

async fn statuses_follow_the_writer(open: Open<'_>, facts: Facts) {
    let store = one(open, "statuses");
    assert!(store.statuses(Filters::default()).await.unwrap().is_empty());
    let expected = Digest::sha256(&sample("statuses", 20));
    let options = WriteOptions { expected: Some(expected.clone()), total: 20 };
    let mut writer = store.writer("b", options).await.unwrap();
    let _other = store.writer("a", WriteOptions::default()).await.unwrap();
    let begun = store.status("b").await.unwrap();
    assert_eq!((begun.offset, begun.total, begun.expected.as_ref()), (0, 20, Some(&expected)));
    writer.write(Bytes::from(sample("statuses", 20)[..12].to_vec())).await.unwrap();
    let now = store.status("b").await.unwrap();
    assert_eq!((now.offset, now.started), (12, begun.started));
    assert!(now.updated >= begun.updated);
    let mut known = writer.status();
    if !facts.writers_know_times {
        assert!(known.updated >= begun.updated);
        known.updated = now.updated;
    }
    assert_eq!(now, known);
    let all = store.statuses(Filters::default()).await.unwrap();
    let names: Vec<_> = all.iter().map(|status| status.reference.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let some = store.statuses(Filters::parse_all(&["ref==b"]).unwrap()).await.unwrap();
    assert_eq!(some.len(), 1);
    drop(writer);
    let kept = store.writer("b", WriteOptions::default()).await.unwrap().status();
    assert_eq!((kept.offset, kept.total, kept.expected), (12, 20, Some(expected)));
    assert_eq!(kept.started, begun.started);
}

async fn what_is_here_is_not_written_again(open: Open<'_>) {
    let store = one(open, "exists");
    let bytes = sample("exists", 100);
    // Begun before the blob was here, and kept: it goes when the blob is found.
    let mut early = store.writer("early", WriteOptions::default()).await.unwrap();
    early.write(Bytes::from(bytes.clone())).await.unwrap();
    drop(store.writer("kept", WriteOptions::default()).await.unwrap());
    let digest = put(&*store, &bytes).await;
    kind(early.commit(CommitOptions::default()).await, Kind::AlreadyExists);
    kind(store.status("early").await, Kind::NotFound);
    kind(expecting(&*store, "late", &digest).await, Kind::AlreadyExists);
    kind(store.status("late").await, Kind::NotFound);
    kind(expecting(&*store, "kept", &digest).await, Kind::AlreadyExists);
    kind(store.status("kept").await, Kind::NotFound);
    assert_eq!(read(&*store, &digest).await, bytes);
}

async fn a_writer_goes_on_where_the_last_ended(open: Open<'_>) {
    let store = one(open, "resume");
    let bytes = sample("resume", 200_000);
    let digest = Digest::sha256(&bytes);
    let mut at = 0;
    for end in [1, 64, 65, 99_999, 200_000] {
        let mut writer = expecting(&*store, "resume", &digest).await.unwrap();
        assert_eq!(writer.status().offset, at as u64);
        writer.write(Bytes::copy_from_slice(&bytes[at..end])).await.unwrap();
        drop(writer);
        at = end;
        let status = store.writer("resume", WriteOptions::default()).await.unwrap().status();
        assert_eq!(status.offset, end as u64);
    }
    let writer = store.writer("resume", WriteOptions::default()).await.unwrap();
    assert_eq!(writer.commit(CommitOptions::default()).await.unwrap(), digest);
    assert_eq!(read(&*store, &digest).await, bytes);
}

async fn a_large_ingest_goes_on(open: Open<'_>) {
    // More than is saved at once, in chunks that do not divide it.
    let store = one(open, "large");
    let chunk = sample("large", 7_000_003);
    let mut whole = lamina_core::digest::Hasher::default();
    let mut writer = store.writer("large", WriteOptions::default()).await.unwrap();
    for n in 1..=10_u64 {
        whole.update(&chunk);
        writer.write(Bytes::from(chunk.clone())).await.unwrap();
        if n % 4 == 0 {
            drop(writer);
            writer = store.writer("large", WriteOptions::default()).await.unwrap();
            assert_eq!(writer.status().offset, n * chunk.len() as u64);
        }
    }
    let digest = writer.commit(CommitOptions::default()).await.unwrap();
    assert_eq!(digest, whole.finish());
    let reader = store.reader(&digest).await.unwrap();
    let at = 9 * chunk.len() as u64;
    assert_eq!(reader.read_at(at, usize::MAX).await.unwrap(), chunk);
    store.delete(&digest).await.unwrap();
}

async fn truncation(open: Open<'_>, facts: Facts) {
    let store = one(open, "truncate");
    let (good, bad) = (sample("good", 50_000), sample("bad", 70_000));
    let digest = Digest::sha256(&good);
    let mut writer = expecting(&*store, "t", &digest).await.unwrap();
    kind(writer.truncate(1).await, Kind::OutOfRange);
    writer.write(Bytes::from(good[..1000].to_vec())).await.unwrap();
    writer.write(Bytes::from(bad.clone())).await.unwrap();
    let shorter = if facts.truncates_anywhere {
        1000
    } else {
        kind(writer.truncate(1000).await, Kind::Unimplemented);
        assert_eq!(writer.status().offset, 71_000, "nothing was changed");
        0
    };
    writer.truncate(shorter).await.unwrap();
    assert_eq!(writer.status().offset, shorter);
    // Shorter than what an earlier writer left durable, too.
    writer.write(Bytes::from(bad.clone())).await.unwrap();
    drop(writer);
    let mut writer = expecting(&*store, "t", &digest).await.unwrap();
    writer.truncate(shorter / 2).await.unwrap();
    drop(writer);
    let mut writer = expecting(&*store, "t", &digest).await.unwrap();
    let at = writer.status().offset;
    assert!(at == 500 || at == 0, "{at}: never more than was left");
    writer.truncate(0).await.unwrap();
    writer.write(Bytes::from(good.clone())).await.unwrap();
    assert_eq!(writer.commit(CommitOptions::default()).await.unwrap(), digest);
    assert_eq!(read(&*store, &digest).await, good);
}

async fn an_ingest_that_becomes_another_blob_starts_again(open: Open<'_>) {
    let store = one(open, "another");
    let (first, second) = (sample("first", 100), sample("second", 100));
    let mut writer = expecting(&*store, "ref", &Digest::sha256(&first)).await.unwrap();
    writer.write(Bytes::from(first)).await.unwrap();
    drop(writer);
    let digest = Digest::sha256(&second);
    let mut writer = expecting(&*store, "ref", &digest).await.unwrap();
    assert_eq!(writer.status().offset, 0);
    writer.write(Bytes::from(second)).await.unwrap();
    assert_eq!(writer.commit(CommitOptions::default()).await.unwrap(), digest);
}

async fn bytes_it_was_not_opened_for_end_the_ingest(open: Open<'_>) {
    let store = one(open, "mismatch");
    let bytes = sample("mismatch", 1000);
    let (digest, other) = (Digest::sha256(&bytes), Digest::sha256(b"other"));
    let sized = |total| WriteOptions { expected: None, total };
    let cases: [(&str, WriteOptions, CommitOptions); 4] = [
        ("digest", WriteOptions { expected: Some(other.clone()), total: 0 }, Default::default()),
        ("short", sized(1001), Default::default()),
        ("long", sized(999), Default::default()),
        ("both", sized(999), CommitOptions { expected: Some(other), ..Default::default() }),
    ];
    for (reference, begin, options) in cases {
        let mut writer = store.writer(reference, begin).await.unwrap();
        writer.write(Bytes::from(bytes.clone())).await.unwrap();
        kind(writer.commit(options).await, Kind::FailedPrecondition);
        kind(store.status(reference).await, Kind::NotFound);
        kind(store.info(&digest).await, Kind::NotFound);
        let again = store.writer(reference, WriteOptions::default()).await.unwrap();
        assert_eq!(again.status().offset, 0, "{reference}");
    }
}

/// As containerd's suite for content stores has it.
async fn a_wrong_commit_keeps_the_ingest(open: Open<'_>) {
    let store = one(open, "wrong-commit");
    let bytes = sample("wrong-commit", 1000);
    let (digest, other) = (Digest::sha256(&bytes), Digest::sha256(b"other"));
    let begin = |expected: Option<&Digest>| WriteOptions { expected: expected.cloned(), total: 0 };
    let cases: [(&str, Option<&Digest>, CommitOptions); 4] = [
        ("digest", None, CommitOptions { expected: Some(other.clone()), ..Default::default() }),
        ("short", None, CommitOptions { size: Some(1001), ..Default::default() }),
        ("long", Some(&digest), CommitOptions { size: Some(999), ..Default::default() }),
        ("other", Some(&digest), CommitOptions { expected: Some(other), ..Default::default() }),
    ];
    for (reference, expected, options) in cases {
        let mut writer = store.writer(reference, begin(expected)).await.unwrap();
        writer.write(Bytes::from(bytes.clone())).await.unwrap();
        kind(writer.commit(options).await, Kind::FailedPrecondition);
        kind(store.info(&digest).await, Kind::NotFound);
        let writer = store.writer(reference, begin(expected)).await.unwrap();
        assert_eq!(writer.status().offset, 1000, "{reference}");
        assert_eq!(writer.commit(CommitOptions::default()).await.unwrap(), digest);
        store.delete(&digest).await.unwrap();
    }
}

async fn an_empty_body_says_so(open: Open<'_>) {
    let store = one(open, "empty");
    let writer = expecting(&*store, "empty", &Digest::sha256(b"something")).await.unwrap();
    let error = writer.commit(CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.chain().contains("empty body"), "{}", error.chain());
}

async fn totals_are_checked(open: Open<'_>) {
    let store = one(open, "totals");
    let options = || WriteOptions { expected: None, total: 10 };
    let mut writer = store.writer("t", options()).await.unwrap();
    writer.write(Bytes::from_static(b"nine byte")).await.unwrap();
    drop(writer);
    let other = WriteOptions { expected: None, total: 11 };
    kind(store.writer("t", other).await, Kind::FailedPrecondition);
    let writer = store.writer("t", options()).await.unwrap();
    kind(writer.commit(CommitOptions::default()).await, Kind::FailedPrecondition);
    let mut writer = store.writer("t", options()).await.unwrap();
    writer.write(Bytes::from_static(b"ten bytes!")).await.unwrap();
    writer.commit(CommitOptions::default()).await.unwrap();
}

async fn labels_are_kept_and_changed(open: Open<'_>) {
    let store = one(open, "labels");
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    let mut writer = store.writer("l", WriteOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"labelled")).await.unwrap();
    let too_long = labels(&[("key", &"v".repeat(4096))]);
    let options = CommitOptions { labels: too_long.clone(), ..CommitOptions::default() };
    kind(writer.commit(options).await, Kind::InvalidArgument);
    // The bytes are not at fault: the ingest is still there.
    let writer = store.writer("l", WriteOptions::default()).await.unwrap();
    assert_eq!(writer.status().offset, 8);
    let start = labels(&[("a", "1"), ("containerd.io/x.y", "2")]);
    let options = CommitOptions { labels: start.clone(), ..CommitOptions::default() };
    let digest = writer.commit(options).await.unwrap();
    let info = store.info(&digest).await.unwrap();
    assert_eq!(info.labels, start);

    let change = |new: &[(&str, &str)], paths: &[&str]| {
        let info = Info { labels: labels(new), ..info.clone() };
        let paths: Vec<String> = paths.iter().map(|path| (*path).into()).collect();
        let store = Arc::clone(&store);
        async move { store.update(info, &paths).await }
    };
    let changed = change(&[("b", "3")], &["labels.b", "labels.containerd.io/x.y"]).await.unwrap();
    assert_eq!(changed.labels, labels(&[("a", "1"), ("b", "3")]));
    assert!(changed.updated > info.updated);
    assert_eq!((changed.created, changed.size), (info.created, info.size));
    assert_eq!(store.info(&digest).await.unwrap(), changed);
    assert_eq!(change(&[("c", "4")], &["labels"]).await.unwrap().labels, labels(&[("c", "4")]));
    assert_eq!(change(&[("d", "5")], &[]).await.unwrap().labels, labels(&[("d", "5")]));
    kind(change(&[("e", "6")], &["size"]).await, Kind::InvalidArgument);
    let info_too_long = Info { labels: too_long, ..info.clone() };
    kind(store.update(info_too_long, &[]).await, Kind::InvalidArgument);
    assert_eq!(store.info(&digest).await.unwrap().labels, labels(&[("d", "5")]));
    let found: Vec<Info> = list(&*store, &["labels.d==5"]).await;
    assert_eq!(found.len(), 1);
}

async fn one_writer_at_a_time(open: Open<'_>) {
    let (mine, theirs) = pair(open, "locked");
    let writer = mine.writer("ref", WriteOptions::default()).await.unwrap();
    let error = mine.writer("ref", WriteOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("locked"), "clients look for it: {error}");
    mine.writer("other", WriteOptions::default()).await.unwrap();
    theirs.writer("ref", WriteOptions::default()).await.unwrap();
    kind(mine.abort("ref").await, Kind::Unavailable);
    drop(writer);
    mine.writer("ref", WriteOptions::default()).await.unwrap();
}

async fn aborted_ingests_are_gone(open: Open<'_>) {
    let store = one(open, "abort");
    let mut writer = store.writer("a", WriteOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"never mind")).await.unwrap();
    drop(writer);
    store.abort("a").await.unwrap();
    kind(store.status("a").await, Kind::NotFound);
    kind(store.abort("a").await, Kind::NotFound);
    assert!(store.statuses(Filters::default()).await.unwrap().is_empty());
    assert_eq!(store.writer("a", WriteOptions::default()).await.unwrap().status().offset, 0);
}

async fn listings_are_complete_and_in_order(open: Open<'_>) {
    let store = one(open, "list");
    assert!(list(&*store, &[]).await.is_empty());
    let mut all = Vec::new();
    for n in 0..230 {
        let mut writer = store.writer(&n.to_string(), WriteOptions::default()).await.unwrap();
        writer.write(Bytes::from(format!("list {n}"))).await.unwrap();
        let labels =
            if n % 100 == 7 { [("rare".into(), "yes".into())].into() } else { Labels::new() };
        let options = CommitOptions { labels, ..CommitOptions::default() };
        all.push(writer.commit(options).await.unwrap());
    }
    all.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let listed: Vec<Digest> = list(&*store, &[]).await.into_iter().map(|i| i.digest).collect();
    assert_eq!(listed, all);
    assert_eq!(list(&*store, &["labels.rare"]).await.len(), 3);
    let two = [format!("digest=={}", all[3]), format!("digest=={}", all[200])];
    assert_eq!(list(&*store, &[&two[0], &two[1]]).await.len(), 2);
}

async fn deletion(open: Open<'_>, facts: Facts) {
    let store = one(open, "delete");
    let bytes = sample("delete", 10_000);
    for _ in 0..3 {
        let digest = put(&*store, &bytes).await;
        let reader = store.reader(&digest).await.unwrap();
        store.delete(&digest).await.unwrap();
        kind(store.delete(&digest).await, Kind::NotFound);
        kind(store.info(&digest).await, Kind::NotFound);
        kind(store.reader(&digest).await, Kind::NotFound);
        assert!(list(&*store, &[]).await.is_empty());
        let read = reader.read_at(0, usize::MAX).await;
        if facts.readers_hold_blobs {
            assert_eq!(read.unwrap(), bytes, "an open one stays");
        } else {
            kind(read, Kind::NotFound);
        }
    }
}

async fn many_writers_at_once(open: Open<'_>) {
    let store = one(open, "many");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..32 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let bytes = sample(&format!("many {n}"), 20_000 + n);
            let mut writer =
                store.writer(&format!("many-{n}"), WriteOptions::default()).await.unwrap();
            for chunk in bytes.chunks(3000) {
                writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            let digest = writer.commit(CommitOptions::default()).await.unwrap();
            assert_eq!(digest, Digest::sha256(&bytes));
            digest
        });
    }
    let made: BTreeSet<Digest> = tasks.join_all().await.into_iter().collect();
    let listed: BTreeSet<Digest> = list(&*store, &[]).await.into_iter().map(|i| i.digest).collect();
    assert_eq!((made.len(), made), (32, listed));
    assert!(store.statuses(Filters::default()).await.unwrap().is_empty());
}

async fn many_writers_of_one_blob(open: Open<'_>) {
    let store = one(open, "race");
    let bytes = Bytes::from(sample("race", 50_000));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (store, bytes) = (Arc::clone(&store), bytes.clone());
        tasks.spawn(async move {
            let mut writer =
                store.writer(&format!("race-{n}"), WriteOptions::default()).await.unwrap();
            writer.write(bytes).await.unwrap();
            writer.commit(CommitOptions::default()).await.map_err(|error| error.kind())
        });
    }
    let answers = tasks.join_all().await;
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(made, 1, "{answers:?}");
    let others = answers.iter().filter(|answer| **answer == Err(Kind::AlreadyExists)).count();
    assert_eq!(others, 11, "{answers:?}");
    assert_eq!(read(&*store, &Digest::sha256(&bytes)).await, bytes);
    assert!(store.statuses(Filters::default()).await.unwrap().is_empty());
}

async fn namespaces_are_apart(open: Open<'_>) {
    let (mine, theirs) = pair(open, "apart");
    let bytes = sample("apart", 5000);
    let digest = put(&*mine, &bytes).await;
    kind(theirs.info(&digest).await, Kind::NotFound);
    kind(theirs.reader(&digest).await, Kind::NotFound);
    kind(theirs.delete(&digest).await, Kind::NotFound);
    assert!(list(&*theirs, &[]).await.is_empty());
    assert_eq!(put(&*theirs, &bytes).await, digest, "both may have it");
    mine.delete(&digest).await.unwrap();
    assert_eq!(read(&*theirs, &digest).await, bytes);
    drop(theirs.writer("ingest", WriteOptions::default()).await.unwrap());
    kind(mine.status("ingest").await, Kind::NotFound);
}

async fn references_have_bounds(open: Open<'_>) {
    let store = one(open, "refs");
    kind(store.writer("", WriteOptions::default()).await, Kind::InvalidArgument);
    kind(store.writer(&"r".repeat(70_000), WriteOptions::default()).await, Kind::InvalidArgument);
    // Anything else is a name, not a path.
    for reference in ["../../etc/passwd", "/", ".", "a b\n", "layer-sha256:0123/ü"] {
        let mut writer = store.writer(reference, WriteOptions::default()).await.unwrap();
        writer.write(Bytes::from(reference.to_owned())).await.unwrap();
        let status = store.status(reference).await.unwrap();
        assert_eq!(status.reference, reference);
        writer.commit(CommitOptions::default()).await.unwrap();
    }
}

fn one(open: Open<'_>, case: &str) -> Arc<dyn ContentStore> {
    open(&Namespace::new(&format!("content-{case}")).unwrap())
}

fn pair(open: Open<'_>, case: &str) -> (Arc<dyn ContentStore>, Arc<dyn ContentStore>) {
    (one(open, case), one(open, &format!("{case}-2")))
}

/// Bytes that look random and are the same every time.
fn sample(seed: &str, len: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes a blob, through all bytes whatever the policy.
async fn put(store: &dyn ContentStore, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    let mut writer = store.writer(&format!("put-{digest}"), WriteOptions::default()).await.unwrap();
    writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    let options = CommitOptions { expected: Some(digest), ..CommitOptions::default() };
    writer.commit(options).await.unwrap()
}

async fn read(store: &dyn ContentStore, digest: &Digest) -> Bytes {
    let reader = store.reader(digest).await.unwrap();
    reader.read_at(0, usize::MAX).await.unwrap()
}

async fn expecting(
    store: &dyn ContentStore,
    reference: &str,
    digest: &Digest,
) -> Result<Box<dyn ContentWriter>> {
    let options = WriteOptions { expected: Some(digest.clone()), ..WriteOptions::default() };
    store.writer(reference, options).await
}

async fn list(store: &dyn ContentStore, filters: &[&str]) -> Vec<Info> {
    store.list(Filters::parse_all(filters).unwrap()).try_concat().await.unwrap()
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T>, kind: Kind) {
    let found = result.as_ref().map_err(Error::kind);
    assert_eq!(found.err(), Some(kind), "{result:?}");
}
