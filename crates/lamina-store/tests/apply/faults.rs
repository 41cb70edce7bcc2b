//! What goes wrong on the way: sources, disks, limits, callers that leave.

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_core::{Error, Kind, Result};
use lamina_store::diff::apply::{Applied, ApplyOptions, Limits, Target, apply, apply_layer};
use lamina_store::diff::compression::carry;
use lamina_store::fault::{Faults, Steps};
use lamina_store::snapshot::driver::Whiteouts;
use lamina_testkit::tar::{Entry, SparseFormat, TarBuilder};

use crate::support::{World, need_root, options};

fn large() -> Vec<u8> {
    let noise: Vec<u8> =
        (0..6_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    TarBuilder::archive([Entry::file("one", &noise), Entry::file("two", &noise)])
}

fn lay(tar: &[u8], options: &ApplyOptions<'_>) -> Result<Applied> {
    apply_layer(tar, &World::new().target(Whiteouts::Delete), options)
}

#[test]
fn a_source_that_fails_is_heard_from_where_it_was() {
    struct Breaks<'a>(&'a [u8], Option<Error>);
    impl Read for Breaks<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(match self.1.take() {
                    Some(error) => carry(error),
                    None => io::ErrorKind::ConnectionReset.into(),
                }),
                len => Ok(len),
            }
        }
    }
    let tar = large();
    let packed = zstd::encode_all(&tar[..], 1).unwrap();
    for input in [&tar[..], &packed] {
        for cut in [0, 3, 1000, input.len() / 2, input.len()] {
            for (error, kind) in [
                (Some(Error::unauthenticated("the token expired")), Kind::Unauthenticated),
                (None, Kind::Unavailable),
            ] {
                let world = World::new();
                let source = Breaks(&input[..cut], error);
                let target = world.target(Whiteouts::Delete);
                let found = apply_layer(source, &target, &options()).unwrap_err();
                assert_eq!(found.kind(), kind, "cut at {cut}: {}", found.chain());
            }
        }
    }
}

#[test]
fn truncated_and_damaged_layers_are_data_loss() {
    let packed = zstd::encode_all(&large()[..], 1).unwrap();
    for cut in [5, 100, packed.len() / 2, packed.len() - 1] {
        let error = lay(&packed[..cut], &options()).unwrap_err();
        assert_eq!(error.kind(), Kind::DataLoss, "cut at {cut}: {}", error.chain());
    }
}

#[test]
fn a_decompression_error_behind_the_archive_is_still_an_error() {
    // The tar is whole before the stream breaks: without draining it nobody would notice.
    let tar = TarBuilder::archive([Entry::file("file", b"x")]);
    let mut packed = Vec::new();
    for part in [&tar[..], &vec![0; 1 << 20]] {
        packed.extend(zstd::encode_all(part, 1).unwrap());
    }
    packed.truncate(packed.len() - 3);
    assert_eq!(lay(&packed, &options()).unwrap_err().kind(), Kind::DataLoss);
}

#[test]
fn every_limit_is_kept() {
    let many = |count: usize| (0..count).map(|at| Entry::file(format!("{at}"), b"x"));
    let attributes =
        (0..9).fold(Entry::file("x", b""), |entry, at| entry.xattr(&format!("user.{at}"), b"v"));
    let regions = (0..9).map(|at| (at * 8192, vec![1; 512])).collect();
    let sparse = Entry::sparse("x", 1 << 20, regions, SparseFormat::Pax01);
    let zeros =
        zstd::encode_all(&TarBuilder::archive([Entry::file("z", vec![0; 80 << 20])])[..], 1);
    let (zeros, plain) = (zeros.unwrap(), Limits::default());
    let cases: Vec<(&str, Vec<u8>, Limits, Limits)> = vec![
        (
            "entries",
            TarBuilder::archive(many(9)),
            Limits { entries: 8, ..plain.clone() },
            Limits { entries: 9, ..plain.clone() },
        ),
        (
            "xattrs",
            TarBuilder::archive([attributes]),
            Limits { xattrs: 8, ..plain.clone() },
            Limits { xattrs: 9, ..plain.clone() },
        ),
        (
            "regions",
            TarBuilder::archive([sparse]),
            Limits { sparse_regions: 8, ..plain.clone() },
            Limits { sparse_regions: 9, ..plain.clone() },
        ),
        (
            "metadata",
            TarBuilder::archive([Entry::file("x", b"").pax("comment", vec![b'c'; 900])]),
            Limits { metadata_bytes: 800, ..plain.clone() },
            Limits { metadata_bytes: 1000, ..plain.clone() },
        ),
        (
            "stream",
            TarBuilder::archive(many(9)),
            Limits { stream_bytes: 9 * 1024, ..plain.clone() },
            Limits { stream_bytes: 10 * 1024, ..plain.clone() },
        ),
        (
            "ratio",
            zeros,
            Limits { ratio: Some(100), ..plain.clone() },
            Limits { ratio: Some(100_000), ..plain.clone() },
        ),
        (
            "free space",
            TarBuilder::archive(many(1)),
            Limits { free_bytes: u64::MAX, ..plain.clone() },
            Limits { free_bytes: 1, ..plain.clone() },
        ),
    ];
    for (name, tar, under, enough) in cases {
        let with = |limits| lay(&tar, &ApplyOptions { limits, ..options() });
        let error = with(under).expect_err(name);
        assert_eq!(error.kind(), Kind::ResourceExhausted, "{name}: {}", error.chain());
        with(enough).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
    }
    // A path is too long for any tree, not for our taste.
    let tar = TarBuilder::archive([Entry::file("a/b/c", b"")]);
    let error =
        lay(&tar, &ApplyOptions { limits: Limits { path_bytes: 4, ..plain.clone() }, ..options() });
    assert_eq!(error.unwrap_err().kind(), Kind::InvalidArgument);
    // PAX records without end, one entry after the other.
    let mut endless = TarBuilder::new();
    for _ in 0..40 {
        endless.add(Entry::of_type(b'L', "x").gnu().content(b"name\0"));
    }
    assert!(World::new().lay(&endless.finish()).is_err());
    let huge = Entry::file("x", b"").pax("comment", vec![b'c'; 2 << 20]);
    let error = World::new().lay(&TarBuilder::archive([huge])).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted);
}

#[test]
fn errors_name_the_entry() {
    let tar = TarBuilder::archive([Entry::file("a", b""), Entry::file("a/below", b"")]);
    let error = World::new().lay(&tar).unwrap_err();
    assert_eq!(error.message(), "layer entry \"a/below\"");
    assert!(error.chain().contains("Not a directory"), "{}", error.chain());
    // What it is called may hold anything; a terminal must not believe it.
    let tar = TarBuilder::archive([Entry::hard_link("\x1b[2J", "none")]);
    let error = World::new().lay(&tar).unwrap_err();
    assert!(!error.chain().contains('\x1b'), "{:?}", error.chain());
}

#[test]
fn cancelled_between_and_inside_entries() {
    let tar = large();
    let packed = zstd::encode_all(&tar[..], 1).unwrap();
    for asked_times in [0, 1, 10] {
        let asked = AtomicU64::new(0);
        let cancelled = || asked.fetch_add(1, Ordering::SeqCst) >= asked_times;
        let options = ApplyOptions { cancelled: &cancelled, ..options() };
        for input in [&tar, &packed] {
            assert_eq!(lay(input, &options).unwrap_err().kind(), Kind::Cancelled);
        }
    }
}

#[test]
fn progress_begins_with_nothing_and_ends_with_everything() {
    let tar = large();
    let packed = zstd::encode_all(&tar[..], 1).unwrap();
    let told = Mutex::new(Vec::new());
    let progress = |bytes| told.lock().unwrap().push(bytes);
    let options = ApplyOptions { progress: &progress, ..options() };
    lay(&packed, &options).unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.first(), Some(&0));
    assert_eq!(told.last(), Some(&(packed.len() as u64)));
    assert!(told.is_sorted(), "{told:?}");
}

#[test]
fn a_failed_step_ends_it() {
    struct Fails(&'static str);
    impl Faults for Fails {
        fn reach(&self, step: &'static str) -> Result<()> {
            match step == self.0 {
                true => Err(Error::aborted("cut here")),
                false => Ok(()),
            }
        }
    }
    for step in ["diff.apply.entry", "diff.apply.end"] {
        let steps = Steps::watched(std::sync::Arc::new(Fails(step)));
        let error = lay(&large(), &ApplyOptions { steps, ..options() }).unwrap_err();
        assert_eq!(error.kind(), Kind::Aborted, "{step}");
    }
}

/// A filesystem of a few megabytes, gone when the test ends.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        // Best effort: the test has its answer.
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn privileged_a_full_disk_is_told_as_such() {
    need_root!("privileged_a_full_disk_is_told_as_such");
    let world = World::new();
    let done = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m,nr_inodes=100", "tmpfs"])
        .arg(world.root())
        .output()
        .unwrap();
    if !done.status.success() {
        return eprintln!("SKIP privileged_a_full_disk_is_told_as_such: no tmpfs");
    }
    let _mounted = Small(world.root());
    let target = Target::open::<&std::path::Path>(&world.root(), Whiteouts::Delete, &[]).unwrap();
    let error = apply_layer(&large()[..], &target, &options()).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
    assert_eq!(error.message(), "layer entry \"two\"");
    let many = TarBuilder::archive((0..200).map(|at| Entry::dir(format!("{at}"))));
    let error = apply(&many[..], &target, &options()).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "no inodes: {}", error.chain());
}
