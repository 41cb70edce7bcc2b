//! Awkward images: stacks of layers that each try one thing unpackers get wrong.
//!
//! Every image is small, made by code, and valid. What each should look
//! like in the end is for the tests to say, or for another unpacker on the same machine to show.

use crate::tar::{Entry, SparseFormat, TarBuilder};

/// An image that is awkward in one way.
#[derive(Clone, Debug)]
pub struct Awkward {
    /// A short name.
    pub name: &'static str,
    /// What is awkward.
    pub about: &'static str,
    /// Its layers as uncompressed tar archives, the bottom one first.
    pub layers: Vec<Vec<u8>>,
}

/// All of them.
pub fn all() -> Vec<Awkward> {
    [deletions(), replacements(), links(), metadata(), forms(), big()].concat()
}

fn image<const N: usize>(
    name: &'static str,
    about: &'static str,
    layers: [Vec<Entry>; N],
) -> Awkward {
    Awkward { name, about, layers: layers.into_iter().map(TarBuilder::archive).collect() }
}

/// A tree that upper layers change.
fn base() -> Vec<Entry> {
    vec![
        Entry::dir("etc").owner(0, 10),
        Entry::file("etc/passwd", b"root:x:0:0\n"),
        Entry::file("etc/hosts", b"127.0.0.1 localhost\n"),
        Entry::dir("var").mtime(1_500_000_000, 0),
        Entry::dir("var/lib").mode(0o750).owner(100, 100).mtime(1_500_000_001, 0),
        Entry::file("var/lib/state", b"old"),
        Entry::dir("var/lib/deep"),
        Entry::dir("var/lib/deep/er"),
        Entry::file("var/lib/deep/er/file", b"deep"),
        Entry::dir("usr"),
        Entry::dir("usr/lib"),
        Entry::file("usr/lib/libc.so", b"library"),
        Entry::symlink("lib", "usr/lib"),
    ]
}

fn deletions() -> Vec<Awkward> {
    vec![
        image("whiteout-file", "a file is deleted", [base(), vec![Entry::whiteout("etc/passwd")]]),
        image(
            "whiteout-dir",
            "a directory with content is deleted",
            [base(), vec![Entry::whiteout("var/lib")]],
        ),
        image(
            "whiteout-symlink",
            "a link is deleted, not what it points to",
            [base(), vec![Entry::whiteout("lib")]],
        ),
        image(
            "whiteout-missing",
            "what is not there is deleted",
            [base(), vec![Entry::whiteout("etc/nothing")]],
        ),
        image(
            "whiteout-new-dir",
            "deleted in a directory that only the layer itself has",
            [
                base(),
                vec![
                    Entry::dir("new").mtime(1_500_000_002, 0),
                    Entry::whiteout("new/nothing"),
                    Entry::file("new/file", b"new"),
                ],
            ],
        ),
        image(
            "whiteout-then-again",
            "deleted, then there again in the next layer",
            [
                base(),
                vec![Entry::whiteout("etc/passwd"), Entry::whiteout("var/lib")],
                vec![Entry::file("etc/passwd", b"new\n"), Entry::dir("var/lib").mode(0o700)],
            ],
        ),
        image(
            "opaque-first",
            "the marker comes before the new content",
            [
                base(),
                vec![
                    Entry::dir("var/lib"),
                    Entry::opaque("var/lib"),
                    Entry::file("var/lib/new", b"new"),
                ],
            ],
        ),
        image(
            "opaque-late",
            "the marker comes after the new content",
            [
                base(),
                vec![
                    Entry::dir("var/lib"),
                    Entry::file("var/lib/new", b"new"),
                    Entry::dir("var/lib/deep"),
                    Entry::file("var/lib/deep/new", b"new"),
                    Entry::opaque("var/lib"),
                ],
            ],
        ),
        image(
            "opaque-twice",
            "markers in two layers",
            [
                base(),
                vec![
                    Entry::dir("var/lib"),
                    Entry::opaque("var/lib"),
                    Entry::file("var/lib/a", b"a"),
                ],
                vec![
                    Entry::dir("var/lib"),
                    Entry::opaque("var/lib"),
                    Entry::file("var/lib/b", b"b"),
                ],
            ],
        ),
        image(
            "whiteout-lookalike",
            "only a base name deletes",
            [
                base(),
                vec![Entry::file(".wh.etc/file", b"ordinary"), Entry::file("etc/.wh", b"ordinary")],
            ],
        ),
        image(
            "implied-parents",
            "no entry for the directories on the way",
            [
                base(),
                vec![
                    Entry::file("var/lib/implied/only/file", b"x"),
                    Entry::file("var/lib/state", b"newer"),
                ],
            ],
        ),
    ]
}

fn replacements() -> Vec<Awkward> {
    vec![
        image(
            "dir-to-file",
            "a file where a directory was",
            [base(), vec![Entry::file("var/lib", b"now a file")]],
        ),
        image(
            "file-to-dir",
            "a directory where a file was",
            [base(), vec![Entry::dir("etc/passwd"), Entry::file("etc/passwd/file", b"x")]],
        ),
        image(
            "dir-to-symlink",
            "a link where a directory was, and entries beside it",
            [
                base(),
                vec![Entry::symlink("var/lib", "../usr/lib"), Entry::file("var/beside", b"x")],
            ],
        ),
        image(
            "symlink-to-dir",
            "a directory where a link was",
            [base(), vec![Entry::dir("lib").mode(0o711), Entry::file("lib/own", b"x")]],
        ),
        image(
            "duplicates",
            "the last of several entries of a name counts",
            [vec![
                Entry::file("twice", b"first").mode(0o600),
                Entry::file("twice", b"second").mode(0o640),
                Entry::dir("kind"),
                Entry::file("kind/file", b"x"),
                Entry::file("kind", b"a file in the end"),
                Entry::symlink("link", "twice"),
                Entry::file("link", b"no link"),
                Entry::dir("merged").mode(0o700),
                Entry::file("merged/kept", b"x"),
                Entry::dir("merged").mode(0o755).mtime(1_000, 0),
            ]],
        ),
        image(
            "metadata-only",
            "a directory is named only for its new mode and time",
            [base(), vec![Entry::dir("var/lib").mode(0o1777).owner(7, 8).mtime(1_234_567_890, 0)]],
        ),
    ]
}

fn links() -> Vec<Awkward> {
    vec![
        image(
            "hard-links",
            "three names in two directories, and one of a link",
            [vec![
                Entry::dir("a"),
                Entry::dir("b"),
                Entry::file("a/one", b"shared").mode(0o4755).owner(1, 1),
                Entry::hard_link("a/two", "a/one").mode(0o4755).owner(1, 1),
                Entry::hard_link("b/three", "a/one").mode(0o4755).owner(1, 1),
                Entry::symlink("a/link", "one"),
                Entry::hard_link("b/link", "a/link").mode(0o777),
            ]],
        ),
        image(
            "hard-links-absolute",
            "the target is written with a slash, or with dots",
            [vec![
                Entry::dir("a"),
                Entry::file("a/one", b"shared"),
                Entry::hard_link("two", "/a/one"),
                Entry::hard_link("three", "./a/../a/one"),
            ]],
        ),
        image(
            "hard-link-itself",
            "a link to itself, which GNU tar writes for a path that it is given twice",
            [vec![Entry::file("one", b"one"), Entry::hard_link("one", "one")]],
        ),
        image(
            "hard-link-broken",
            "a name of two is written anew in the next layer",
            [
                vec![Entry::file("one", b"shared"), Entry::hard_link("two", "one")],
                vec![Entry::file("two", b"of its own")],
            ],
        ),
        image(
            "through-symlink",
            "an entry lies behind a link of its own layer",
            [vec![
                Entry::dir("usr"),
                Entry::dir("usr/bin"),
                Entry::symlink("bin", "usr/bin"),
                Entry::file("bin/sh", b"shell").mode(0o755),
                Entry::symlink("up", "../../../../usr"),
                Entry::file("up/bin/ls", b"list").mode(0o755),
                Entry::symlink("root", "/"),
                Entry::file("root/usr/bin/cat", b"cat").mode(0o755),
            ]],
        ),
        image(
            "dangling",
            "links to nothing, to themselves, and out of the root",
            [vec![
                Entry::symlink("nothing", "no/such/thing"),
                Entry::symlink("self", "self"),
                Entry::symlink("out", "../../../../../../etc/passwd"),
                Entry::symlink("absolute", "/etc/passwd"),
                Entry::symlink("odd", "a//b/./c/../"),
            ]],
        ),
    ]
}

fn metadata() -> Vec<Awkward> {
    vec![
        image(
            "modes",
            "setuid, setgid, sticky, and modes that lock out",
            [vec![
                Entry::file("setuid", b"x").mode(0o4755).owner(1000, 1000),
                Entry::file("setgid", b"x").mode(0o2755).owner(0, 42),
                Entry::dir("sticky").mode(0o1777),
                Entry::dir("setgid-dir").mode(0o2775).owner(0, 42),
                Entry::file("setgid-dir/file", b"x").owner(5, 6),
                Entry::file("none", b"x").mode(0),
                Entry::dir("closed").mode(0),
                Entry::file("closed/file", b"x"),
                Entry::file("odd", b"x").mode(0o7777),
            ]],
        ),
        image(
            "owners",
            "large ids, as PAX and as GNU write them",
            [vec![
                Entry::file("pax", b"x").owner(4_000_000_000, 3_000_000_000),
                Entry::file("gnu", b"x").owner(2_097_152, 4_294_967_294).gnu(),
                Entry::dir("dir").owner(100_000, 100_001),
                Entry::symlink("link", "pax").owner(1234, 5678),
            ]],
        ),
        image(
            "times",
            "nanoseconds, 1970, the far future; directories keep theirs",
            [vec![
                Entry::dir("dir").mtime(1_000_000_000, 123_456_789),
                Entry::file("dir/file", b"x").mtime(1_000_000_001, 999_999_999),
                Entry::symlink("dir/link", "file").mtime(1_000_000_002, 1),
                Entry::dir("dir/sub").mtime(1_000_000_003, 0),
                Entry::file("dir/sub/file", b"x").mtime(0, 0),
                Entry::fifo("dir/fifo").mtime(4_000_000_000, 0),
            ]],
        ),
        image(
            "times-negative",
            "before 1970, which containerd sets to 1970",
            [vec![
                Entry::file("pax", b"x").mtime(-1, 0),
                Entry::file("fraction", b"x").mtime(-86_400, 250_000_000),
                Entry::file("gnu", b"x").mtime(-1_000_000, 0).gnu(),
                Entry::dir("dir").mtime(-2, 0),
            ]],
        ),
        image(
            "xattrs",
            "of users and of the kernel, binary, empty, of directories",
            [vec![
                Entry::file("user", b"x").xattr("user.text", b"value").xattr("user.empty", b""),
                Entry::file("binary", b"x").xattr("user.binary", b"\x00\xff\n=\x00"),
                Entry::dir("dir").xattr("user.dir", b"d"),
                Entry::file("ping", b"x").mode(0o755).xattr("security.capability", CAP_NET_RAW),
                Entry::file("owned", b"x")
                    .owner(9, 9)
                    .mode(0o4755)
                    .xattr("security.capability", CAP_NET_RAW),
            ]],
        ),
        image(
            "xattrs-ignored",
            "trusted ones, and user ones where there can be none",
            [vec![
                Entry::file("file", b"x").xattr("trusted.overlay.opaque", b"y"),
                Entry::dir("dir").xattr("trusted.overlay.opaque", b"y"),
                Entry::symlink("link", "file").xattr("user.link", b"l"),
            ]],
        ),
        image(
            "devices",
            "devices and pipes",
            [vec![
                Entry::dir("dev"),
                Entry::char_device("dev/null", 1, 3).mode(0o666),
                Entry::char_device("dev/large", 300, 70_000).mode(0o600),
                Entry::block_device("dev/loop0", 7, 0).mode(0o660).owner(0, 6),
                Entry::fifo("dev/initctl").mode(0o600),
            ]],
        ),
    ]
}

/// `cap_net_raw+ep` as the kernel stores it (`struct vfs_cap_data`, revision 2).
const CAP_NET_RAW: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn forms() -> Vec<Awkward> {
    let long = |len: usize| "n".repeat(len);
    let deep = [long(100), long(100), long(100)].join("/");
    let mut global = TarBuilder::new();
    global.global([("comment", "for all"), ("mtime", "1")]);
    global.add(Entry::file("file", b"keeps its own time"));
    let mut old = TarBuilder::new();
    old.add(Entry::of_type(0, "old-dir/")).add(Entry::of_type(0, "old-file").content(b"x"));
    let sparse = |format| {
        let regions =
            vec![(65_536, vec![b'a'; 4096]), (262_144, vec![b'b'; 1000]), (1 << 20, vec![])];
        Entry::sparse(format!("sparse-{format:?}"), 1_048_576, regions, format)
    };
    let pax = SparseFormat::ALL.into_iter().filter(|format| *format != SparseFormat::GnuOld);
    let ends =
        Entry::sparse("data-last", 8192, vec![(4096, vec![b'z'; 4096])], SparseFormat::Pax10);
    let hole = Entry::sparse("only-hole", 1 << 20, vec![(1 << 20, vec![])], SparseFormat::GnuOld);
    vec![
        image(
            "long-names",
            "in PAX records, in GNU entries, in a prefix",
            [vec![
                Entry::file(&deep, b"pax"),
                Entry::file(format!("gnu/{deep}"), b"gnu").gnu(),
                Entry::file(long(255), b"longest"),
                Entry::symlink("pax-link", &deep),
                Entry::symlink("gnu-link", &deep).gnu(),
                Entry::hard_link("hard", &deep),
                Entry::hard_link("gnu-hard", &deep).gnu(),
            ]],
        ),
        image(
            "odd-names",
            "bytes that are no text, dots, spaces",
            [vec![
                Entry::file(b"\xff\xfe", b"no utf-8").gnu(),
                Entry::file("new\nline", b"x"),
                Entry::file("./dots/../back", b"x"),
                Entry::file("//slashes///inside", b"x"),
                Entry::file("...", b"x"),
                Entry::file(" ", b"x"),
                Entry::file("-rf", b"x"),
            ]],
        ),
        image(
            "sparse",
            "the three ways of GNU tar in PAX records",
            [pax.map(sparse).chain([ends]).collect()],
        ),
        image(
            "sparse-gnu-old",
            "the way of GNU tar without them, which containerd refuses",
            [vec![sparse(SparseFormat::GnuOld), hole]],
        ),
        Awkward {
            name: "global-header",
            about: "records for all entries count nothing",
            layers: vec![global.finish()],
        },
        Awkward {
            name: "old-types",
            about: "files and directories of 1979",
            layers: vec![old.finish()],
        },
        Awkward {
            name: "no-end",
            about: "the zero blocks are missing",
            layers: vec![TarBuilder::new().add(Entry::file("file", b"x")).unfinished()],
        },
        Awkward {
            name: "empty",
            about: "nothing at all, and an archive of nothing",
            layers: vec![
                Vec::new(),
                TarBuilder::new().finish(),
                TarBuilder::archive([Entry::dir(".").mode(0o700), Entry::file("file", b"x")]),
            ],
        },
        Awkward {
            name: "trailing",
            about: "bytes behind the end belong to the digest",
            layers: vec![
                [TarBuilder::archive([Entry::file("file", b"x")]), vec![b'!'; 10_000]].concat(),
            ],
        },
    ]
}

fn big() -> Vec<Awkward> {
    let content: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7 % 251) as u8).collect();
    let many = (0..2_000).map(|at| Entry::file(format!("many/{}/{at}", at % 50), at.to_string()));
    vec![
        image(
            "large-file",
            "more than a buffer, of no round size",
            [vec![Entry::file("large", &content), Entry::file("after", b"x")]],
        ),
        image("many", "files in many directories, in no order", [many.collect()]),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_layers_are_whole_blocks() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|image| image.name).collect();
        assert_eq!(names.len(), all.len());
        let honest = all.iter().filter(|image| image.name != "trailing");
        for image in honest {
            for layer in &image.layers {
                assert_eq!(layer.len() % 512, 0, "{}", image.name);
            }
        }
    }
}
