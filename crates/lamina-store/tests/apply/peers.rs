//! GNU tar as peer: what it writes is read, and what both read is the same; and archives that
//! nobody wrote.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use lamina_testkit::layers;
use lamina_testkit::tree::{NodeKind, Tree};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::support::{World, cases, is_root, need_root};

#[derive(Clone, Debug)]
struct Node {
    /// Directory it goes into, counted among those there are.
    dir: usize,
    name: Vec<u8>,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    xattr: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Dir,
    File(Vec<u8>),
    Sparse(u64, Vec<(u64, u16)>),
    Symlink(String),
    HardLink(usize),
    Fifo,
    Char(u32, u32),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[a-z]{1,4}".prop_map(String::into_bytes),
        1 => "[a-z]{90,180}".prop_map(String::into_bytes),
        1 => prop::collection::vec(1u8..=255, 1..8)
            .prop_filter("a name", |name| !name.contains(&b'/') && name != b"." && name != b".."),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Dir),
        5 => prop::collection::vec(any::<u8>(), 0..2000).prop_map(Kind::File),
        2 => (1u64..4 << 20, prop::collection::vec((0u64..4 << 20, 1u16..9000), 0..5))
            .prop_map(|(size, regions)| Kind::Sparse(size, regions)),
        2 => prop_oneof!["[a-z./]{1,20}", "[a-z/]{100,200}"].prop_map(Kind::Symlink),
        2 => any::<usize>().prop_map(Kind::HardLink),
        1 => Just(Kind::Fifo),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Kind::Char(major, minor)),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    (
        any::<usize>(),
        name(),
        kind(),
        0u32..0o10000,
        prop_oneof![Just((0, 0)), (0u32..100_000, 0u32..100_000), Just((4_000_000_000, 70_000))],
        (
            prop_oneof![0i64..2_000_000_000, Just(5_000_000_000), -1_000_000..0i64],
            0u32..1_000_000_000,
        ),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
    )
        .prop_map(|(dir, name, kind, mode, owner, mtime, xattr)| Node {
            dir,
            name,
            kind,
            mode,
            owner,
            mtime,
            xattr,
        })
}

/// Makes the tree with the standard library and small programs' calls, not with ours.
fn grow(root: &Path, nodes: &[Node]) {
    let mut dirs = vec![root.to_path_buf()];
    let mut files = Vec::new();
    let mut made = Vec::new();
    for node in nodes {
        let path = dirs[node.dir % dirs.len()].join(OsStr::from_bytes(&node.name));
        if path.symlink_metadata().is_ok() || path.as_os_str().len() > 3000 {
            continue;
        }
        match &node.kind {
            Kind::Dir => {
                std::fs::create_dir(&path).unwrap();
                dirs.push(path.clone());
            }
            Kind::File(content) => {
                std::fs::write(&path, content).unwrap();
                files.push(path.clone());
            }
            Kind::Sparse(size, regions) => {
                let file = std::fs::File::create(&path).unwrap();
                file.set_len(*size).unwrap();
                for (offset, len) in regions {
                    let len = u64::from(*len).min(size.saturating_sub(*offset));
                    file.write_all_at(&vec![b's'; len as usize], *offset).unwrap();
                }
                files.push(path.clone());
            }
            Kind::Symlink(text) => symlink(text, &path).unwrap(),
            Kind::HardLink(which) if !files.is_empty() => {
                std::fs::hard_link(&files[which % files.len()], &path).unwrap();
                continue;
            }
            Kind::HardLink(_) => continue,
            Kind::Fifo => make_node(&path, rustix::fs::FileType::Fifo, 0),
            Kind::Char(major, minor) => make_node(
                &path,
                rustix::fs::FileType::CharacterDevice,
                rustix::fs::makedev(*major, *minor),
            ),
        }
        made.push((path, node));
    }
    // Deepest last in the list: times of directories after what lies in them.
    for (path, node) in made.iter().rev() {
        std::os::unix::fs::lchown(path, Some(node.owner.0), Some(node.owner.1)).unwrap();
        if let (Some(value), Kind::File(_) | Kind::Dir) = (&node.xattr, &node.kind) {
            let none = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(path, "user.test", value, none).unwrap();
        }
        if !matches!(node.kind, Kind::Symlink(_)) {
            let mode = std::fs::Permissions::from_mode(node.mode);
            std::fs::set_permissions(path, mode).unwrap();
        }
        let time = rustix::fs::Timespec { tv_sec: node.mtime.0, tv_nsec: node.mtime.1.into() };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
    }
}

fn make_node(path: &Path, kind: rustix::fs::FileType, device: u64) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device).unwrap();
}

/// The archive GNU tar makes of a tree; `None` where the format cannot hold it.
fn packed(root: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("tar")
        .args(["--create", "--numeric-owner", "--file", "-", "--directory"])
        .arg(root)
        .args(arguments)
        .arg(".")
        .stderr(Stdio::null())
        .output()
        .unwrap();
    output.status.success().then_some(output.stdout)
}

fn has_tar(test: &str) -> bool {
    let found = Command::new("tar").arg("--version").output();
    let gnu = found.is_ok_and(|output| output.stdout.starts_with(b"tar (GNU tar)"));
    if !gnu {
        eprintln!("SKIP {test}: no GNU tar");
    }
    gnu
}

/// What a format can say of a tree: whole seconds only, no attributes.
fn cut(mut tree: Tree, nanoseconds: bool, xattrs: bool) -> Tree {
    for node in tree.0.values_mut() {
        if !nanoseconds {
            node.mtime.1 = 0;
        }
        if !xattrs {
            node.xattrs.clear();
        }
    }
    tree.without_root()
}

#[test]
fn privileged_what_gnu_tar_writes_is_laid_as_it_was() {
    const NAME: &str = "privileged_what_gnu_tar_writes_is_laid_as_it_was";
    need_root!("privileged_what_gnu_tar_writes_is_laid_as_it_was");
    if !has_tar(NAME) {
        return;
    }
    let mut runner = proptest::test_runner::TestRunner::new(cases(30));
    let outcome = runner.run(&prop::collection::vec(node(), 0..25), |nodes| {
        let source = World::new();
        grow(&source.root(), &nodes);
        for (arguments, nanoseconds, xattrs) in [
            (&["--format=posix", "--xattrs"][..], true, true),
            (&["--format=posix", "--sparse", "--sparse-version=1.0"], true, false),
            (&["--format=posix", "--sparse", "--sparse-version=0.1"], true, false),
            (&["--format=posix", "--sparse", "--sparse-version=0.0"], true, false),
            (&["--format=gnu", "--sparse"], false, false),
            (&["--format=ustar"], false, false),
        ] {
            let Some(tar) = packed(&source.root(), arguments) else { continue };
            let world = World::new();
            world.lay(&tar).unwrap_or_else(|error| panic!("{arguments:?}: {}", error.chain()));
            let what = format!("{arguments:?}");
            cut(Tree::read(source.root()), nanoseconds, xattrs)
                .assert_same(&cut(world.tree(), nanoseconds, xattrs), &what);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// GNU tar reads other things out of some archives; each is listed here with its reason.
#[test]
fn privileged_gnu_tar_reads_the_same() {
    const NAME: &str = "privileged_gnu_tar_reads_the_same";
    need_root!("privileged_gnu_tar_reads_the_same");
    if !has_tar(NAME) {
        return;
    }
    let differs: &[(&str, &str)] = &[
        ("global-header", "GNU tar applies global records, containerd does not, nor do we"),
        ("whiteout", "deletions are ordinary files to tar"),
        ("opaque", "deletions are ordinary files to tar"),
        ("through-symlink", "GNU tar makes directories of links that it went through"),
        ("duplicates", "GNU tar does not put a file in the place of a directory with content"),
        ("dangling", "GNU tar puts links that lead out in place last"),
        ("xattrs-ignored", "GNU tar sets trusted attributes"),
        ("odd-names", "GNU tar takes no `..`"),
        ("symlink-to-dir", "GNU tar keeps a link to a directory"),
        ("empty", "GNU tar sets the root's attributes"),
    ];
    let mut compared = 0;
    for image in layers::all() {
        if differs.iter().any(|(name, _)| image.name.starts_with(name)) {
            continue;
        }
        let (ours, theirs) = (World::new(), World::new());
        for layer in &image.layers {
            ours.lay(layer).unwrap();
            let file = theirs.path("layer.tar");
            std::fs::write(&file, layer).unwrap();
            let output = Command::new("tar")
                .args(["--extract", "--numeric-owner", "--same-owner", "--preserve-permissions"])
                .args(["--xattrs", "--xattrs-include=*", "--overwrite-dir"])
                // It empties directories it merges as well, so only where it is needed.
                .args(image.name.starts_with("dir-to-").then_some("--recursive-unlink"))
                .arg("--directory")
                .arg(theirs.root())
                .arg("--file")
                .arg(&file)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}: {output:?}", image.name);
        }
        let mut trees = [ours.tree(), theirs.tree()];
        for tree in &mut trees {
            for node in tree.0.values_mut() {
                // To GNU tar, directories that no entry of the last layer speaks of get the time
                // of day; images about times have an entry for each.
                if node.kind == NodeKind::Dir && !image.name.starts_with("times") {
                    node.mtime = (0, 0);
                }
            }
        }
        let [ours, theirs] = trees;
        theirs.assert_same(&ours, image.name);
        compared += 1;
    }
    assert!(compared >= 12, "{compared} images compared");
}

/// Where headers of an archive could be, so that a changed one still has a checksum.
fn mend(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

proptest! {
    // The same in every run, so that one who changes the extractor is not told of another's mistake;
    // more cases are other ones.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(20), ..cases(400) })]

    #[test]
    fn changed_archives_stay_inside_and_do_no_harm(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
        mended in prop::bool::weighted(0.9),
    ) {
        let images: Vec<_> =
            layers::all().into_iter().filter(|image| image.name != "large-file" && image.name != "many").collect();
        let image = &images[which.index(images.len())];
        let world = World::new();
        let before = world.rest();
        for (at, layer) in image.layers.iter().enumerate() {
            let mut tar = layer.clone();
            if let Some(cut) = cut
                && !tar.is_empty()
            {
                tar.truncate(cut.index(tar.len()));
            }
            let changes = if tar.is_empty() { &[][..] } else { &changes };
            for (place, byte) in changes {
                let place = place.index(tar.len());
                tar[place] = *byte;
            }
            if mended {
                mend(&mut tar);
            }
            // Whatever it says, it says it, and leaves the world alone.
            let _ = if at % 2 == 0 || !is_root() { world.lay(&tar) } else { world.lay_overlay(&tar) };
        }
        let root = lamina_sys::fs::open_dir(world.root()).unwrap();
        let used = lamina_sys::tree::usage(root, &mut || false).unwrap();
        prop_assert!(used.size < 16 << 20, "{} bytes of a layer of few", used.size);
        let after = world.rest();
        prop_assert!(before.0.differences(&after.0).is_empty());
        prop_assert_eq!(before.1, after.1);
    }

    #[test]
    fn noise_is_no_archive(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let world = World::new();
        let before = world.rest();
        let empty = bytes.iter().all(|byte| *byte == 0);
        prop_assert!(world.lay(&bytes).is_err() || empty);
        prop_assert_eq!(before.1, world.rest().1);
        prop_assert!(world.tree().0.is_empty());
    }
}
