//! The forms of archives: formats, sparse files, ends, and what tar readers disagree about.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use lamina_core::{Digest, Kind};
use lamina_store::diff::apply::{apply, apply_layer};
use lamina_store::diff::compression::Compression;
use lamina_store::snapshot::driver::Whiteouts;
use lamina_testkit::layers;
use lamina_testkit::tar::{Entry, SparseFormat, TarBuilder, pax_record};

use crate::support::{World, is_root, options};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_awkward_layer_is_laid_and_hashed_alike_in_every_compression() {
    for image in layers::all() {
        if !is_root() && image.name == "devices" {
            continue;
        }
        let (plain, threads) = (World::new(), World::new());
        for (at, layer) in image.layers.iter().enumerate() {
            let what = format!("{} ({}), layer {at}", image.name, image.about);
            let applied =
                plain.lay(layer).unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
            assert_eq!(applied.diff_id, Digest::sha256(layer), "{what}");
            assert_eq!(applied.size, layer.len() as u64, "{what}");
            let half = layer.len() / 2;
            let packed = match at % 3 {
                0 => (Compression::Gzip, [gzip(&layer[..half]), gzip(&layer[half..])].concat()),
                1 => (Compression::Zstd, zstd::encode_all(&layer[..], 1).unwrap()),
                _ => (Compression::None, layer.clone()),
            };
            let target = threads.target(Whiteouts::Delete);
            let found = apply_layer(&packed.1[..], &target, &options())
                .unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
            assert_eq!((found.compression, &found.diff_id), (packed.0, &applied.diff_id), "{what}");
            assert_eq!((found.size, found.entries), (applied.size, applied.entries), "{what}");
            assert_eq!(found.implied, applied.implied, "{what}");
        }
        plain.tree().assert_same(&threads.tree(), image.name);
    }
}

#[test]
fn sparse_files_are_whole_and_stay_sparse() {
    for format in SparseFormat::ALL {
        for count in [0, 1, 4, 5, 25, 26, 300] {
            let mut whole = vec![0u8; 8 << 20];
            let regions: Vec<(u64, Vec<u8>)> = (0..count)
                .map(|at| {
                    let data: Vec<u8> = (0..700).map(|byte| (at + byte) as u8).collect();
                    ((1 << 16) + at as u64 * 8192, data)
                })
                .collect();
            // What tar writes for a file that is one hole, or ends in one.
            let regions = match count {
                0 | 25 => [regions, vec![(whole.len() as u64, vec![])]].concat(),
                _ => regions,
            };
            for (offset, data) in &regions {
                whole[*offset as usize..][..data.len()].copy_from_slice(data);
            }
            let world = World::new();
            world.laid([
                Entry::sparse("sparse", whole.len() as u64, regions, format),
                Entry::file("after", b"behind the map, the data and the padding"),
            ]);
            let what = format!("{format:?}, {count} regions");
            let found = std::fs::read(world.root().join("sparse")).unwrap();
            assert!(found == whole, "{what}");
            let stat = std::fs::metadata(world.root().join("sparse")).unwrap();
            assert!(stat.blocks() * 512 < 4 << 20, "{what}: {} blocks", stat.blocks());
            assert_eq!(std::fs::read(world.root().join("after")).unwrap().len(), 40, "{what}");
        }
    }
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let region = |offset: u64, len: usize| (offset, vec![b'x'; len]);
    for format in SparseFormat::ALL {
        for (name, size, regions) in [
            ("beyond the end", 100, vec![region(50, 51)]),
            ("overlapping", 1000, vec![region(0, 100), region(50, 100)]),
            ("backwards", 1000, vec![region(500, 10), region(0, 10)]),
        ] {
            let tar = TarBuilder::archive([Entry::sparse("s", size, regions, format)]);
            let error = World::new().lay(&tar).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{format:?} {name}: {}", error.chain());
        }
        // More or less content than the map speaks of.
        let entry = Entry::sparse("s", 4096, vec![region(0, 600)], format);
        let real = if format == SparseFormat::Pax10 { 512 + 600 } else { 600 };
        for size in [real - 1, real + 1] {
            let tar = TarBuilder::archive([entry.clone().size_field(size)]);
            let error = World::new().lay(&tar).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{format:?} {size}: {}", error.chain());
        }
    }
    // A map with no end must not be read for ever.
    let endless = Entry::file("s", vec![b'1'; 20 << 20])
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.realsize", "1");
    let error = World::new().lay(&TarBuilder::archive([endless])).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
}

/// A size in PAX records that the header's does not repeat: the record counts, for sparse files too.
#[test]
fn cve_2025_62518_the_size_in_pax_records_counts() {
    let inner = TarBuilder::archive([Entry::file("smuggled", b"x")]);
    let world = World::new();
    let tree = world.laid([
        Entry::file("outer", &inner).pax("size", inner.len().to_string()).size_field(0),
        Entry::file("after", b""),
    ]);
    assert_eq!(tree.paths(), ["after", "outer"]);
    assert_eq!(std::fs::read(world.root().join("outer")).unwrap(), inner);

    let sparse = Entry::sparse("sparse", 8192, vec![(4096, vec![b'x'; 600])], SparseFormat::Pax10);
    let tree = World::new().laid([sparse.pax("size", "1112"), Entry::file("after", b"")]);
    assert_eq!(tree.paths(), ["after", "sparse"]);
}

/// A link or directory has no content, whatever its size says, as for Go.
#[test]
fn rustsec_2026_0068_entries_without_content() {
    let size = |entry: Entry| entry.size_field(512);
    let tree = World::new().laid([
        size(Entry::dir("dir")),
        size(Entry::symlink("link", "dir")),
        Entry::file("file", b"x"),
        size(Entry::hard_link("hard", "file")),
        size(Entry::fifo("fifo")),
        Entry::dir("pax").pax("size", "1024"),
    ]);
    assert_eq!(tree.paths(), ["dir", "fifo", "file", "hard", "link", "pax"]);
}

#[test]
fn what_readers_disagree_about_is_refused() {
    let zeros = vec![0; 512];
    let file = || Entry::file("x", b"x");
    let with = |raw: &[u8]| TarBuilder::archive([file().raw_pax(raw)]);
    let mut between = TarBuilder::new();
    between.add(file()).raw(&zeros).add(Entry::file("y", b""));
    let extension = |kind: u8, content: &[u8]| Entry::of_type(kind, "ext").content(content);
    let mut zero_after_extension = TarBuilder::new();
    zero_after_extension.add(extension(b'x', &pax_record(b"path", b"z"))).raw(&zeros).add(file());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a zero block between entries", between.finish()),
        ("a zero block behind an extension", zero_after_extension.finish()),
        (
            "two PAX headers",
            TarBuilder::archive([
                extension(b'x', &pax_record(b"path", b"a")),
                extension(b'x', &pax_record(b"path", b"b")),
                file(),
            ]),
        ),
        (
            "two long names",
            TarBuilder::archive([extension(b'L', b"a\0"), extension(b'L', b"b\0"), file()]),
        ),
        (
            "a GNU name and a PAX one",
            TarBuilder::archive([
                extension(b'L', b"a\0").gnu(),
                extension(b'x', &pax_record(b"path", b"b")),
                file(),
            ]),
        ),
        (
            "an extension of nothing",
            TarBuilder::archive([extension(b'x', &pax_record(b"path", b"a"))]),
        ),
        ("a negative size", TarBuilder::archive([file().gnu().size_field(-1)])),
        ("a size beyond 64 bits", TarBuilder::archive([file().gnu().size_field((1 << 64) + 1)])),
        ("a PAX size that is no number", with(&pax_record(b"size", b"0x1"))),
        ("a negative PAX size", with(&pax_record(b"size", b"-1"))),
        ("an empty PAX path", with(&pax_record(b"path", b""))),
        ("a PAX time that is none", with(&pax_record(b"mtime", b"yesterday"))),
        ("a PAX record without an equals sign", with(b"9 path a\n")),
        ("a PAX record that is too long", with(b"99 path=a\n")),
        ("a PAX record that is too short", with(b"5 path=a\n")),
        ("a PAX record without a length", with(b"path=a\n")),
        ("a PAX record without a key", with(b"5 =a\n")),
        ("bytes behind the PAX records", with(&[&pax_record(b"path", b"a")[..], b"\0\0"].concat())),
    ];
    for (name, tar) in cases {
        let world = World::new();
        let error = world.lay(&tar).map(|_| world.tree()).expect_err(name);
        assert_eq!(error.kind(), Kind::InvalidArgument, "{name}: {}", error.chain());
    }
    // A plus sign is a digit to Rust's parser and to no tar.
    let mut tar = TarBuilder::archive([file()]);
    tar[124] = b'+';
    let sum: u32 = tar[..512].iter().enumerate().fold(0, |sum, (at, byte)| {
        sum + if (148..156).contains(&at) { 32 } else { u32::from(*byte) }
    });
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(World::new().lay(&tar).unwrap_err().kind(), Kind::InvalidArgument);
}

#[test]
fn every_end_of_an_archive() {
    let world = World::new();
    let mut builder = TarBuilder::new();
    builder.add(Entry::file("a", b"content")).add(Entry::file("b", vec![b'x'; 600]));
    let tar = builder.unfinished();
    let zero = [0; 512];
    for (name, ending) in [
        ("nothing", vec![]),
        ("one zero block", zero.to_vec()),
        ("two", zero.repeat(2)),
        ("many", zero.repeat(20)),
        ("garbage behind two", [&zero[..], &zero, b"garbage"].concat()),
    ] {
        let whole = [tar.clone(), ending].concat();
        let applied = world.lay(&whole).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        assert_eq!(applied.diff_id, Digest::sha256(&whole), "{name}");
        assert_eq!(applied.entries, 2, "{name}");
    }
    // Only the padding of the last file may be missing.
    for len in 1..tar.len() {
        let whole = matches!(len, 519..=1024 | 2136..);
        let result = world.lay(&tar[..len]);
        assert_eq!(result.is_ok(), whole, "cut at {len}");
        if let Err(error) = result {
            assert_eq!(error.kind(), Kind::DataLoss, "cut at {len}: {}", error.chain());
        }
    }
}

#[test]
fn what_is_no_archive_says_so() {
    let page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>".repeat(20);
    // There is no xz here, and none is run (CVE-2014-9357).
    let xz = [&b"\xfd7zXZ\0\0\x04"[..], &[7; 4096]].concat();
    for bytes in [page, vec![7; 4096], xz] {
        let error = World::new().lay(&bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains("does not begin like a tar archive"), "{error}");
    }
    assert_eq!(World::new().lay(b"short").unwrap_err().kind(), Kind::DataLoss);
    let nothing = apply(&b""[..], &World::new().target(Whiteouts::Delete), &options()).unwrap();
    assert_eq!((nothing.entries, nothing.diff_id), (0, Digest::sha256(b"")));
}
