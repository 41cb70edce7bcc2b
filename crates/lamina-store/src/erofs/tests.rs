//! Images as `fsck.erofs` and `dump.erofs`, which are not ours, read them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use super::{Meta, Node, Writer};

fn meta(mode: u32) -> Meta {
    Meta { mode, mtime: (1_700_000_000, 123_456_789), ..Meta::default() }
}

fn writer(path: &Path) -> Writer {
    Writer::new(File::create(path).unwrap(), meta(0o755)).unwrap()
}

/// Has `fsck.erofs` check the image and lay its tree in a directory; none without the tool.
fn extracted(image: &Path, into: &Path) -> Option<()> {
    let mut fsck = Command::new("fsck.erofs");
    let fsck = fsck.arg(format!("--extract={}", into.display())).arg(image);
    let told = match fsck.output() {
        Ok(told) => told,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIP erofs images: no fsck.erofs");
            return None;
        }
        Err(e) => panic!("{e}"),
    };
    assert!(
        told.status.success(),
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
    Some(())
}

#[test]
fn every_kind_of_entry_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut w = writer(&image);
    let root = w.root();
    let sub = w.make(root, b"sub", Node::Dir, meta(0o2750)).unwrap();
    let owner = Meta { uid: 100_000, gid: 70_000, ..meta(0o4755) };
    let file = w.file(sub, b"file", owner).unwrap();
    for part in 0..3_u8 {
        w.append(&[part; 5000]).unwrap();
    }
    w.link(root, b"second", file).unwrap();
    w.make(root, b"link", Node::Symlink(b"sub/file".to_vec()), meta(0o777)).unwrap();
    w.make(root, b"long", Node::Symlink(vec![b'x'; 4090]), meta(0o777)).unwrap();
    w.make(root, b"pipe", Node::Fifo, meta(0o600)).unwrap();
    w.file(root, b"empty", meta(0o600)).unwrap();
    w.file(root, b"gone", meta(0o600)).unwrap();
    w.append(b"of no use").unwrap();
    w.remove(root, b"gone");
    let sparse = w.file(root, b"sparse", meta(0o600)).unwrap();
    w.skip(1 << 20).unwrap();
    w.append(b"end").unwrap();
    assert_eq!(w.find(root, b"sparse"), Some(sparse));
    w.make(root, b"-before-the-dot", Node::Dir, meta(0o700)).unwrap();
    w.finish([0; 16]).unwrap();

    let out = dir.path().join("out");
    let Some(()) = extracted(&image, &out) else { return };
    let of = |name: &str| fs::symlink_metadata(out.join(name)).unwrap();
    let mut names: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["-before-the-dot", "empty", "link", "long", "pipe", "second", "sparse", "sub"]
    );
    let data = fs::read(out.join("sub/file")).unwrap();
    assert_eq!(data, [[0; 5000], [1; 5000], [2; 5000]].concat());
    assert_eq!(fs::read(out.join("second")).unwrap(), data);
    assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("sub/file"));
    assert_eq!(fs::read_link(out.join("long")).unwrap().as_os_str().len(), 4090);
    assert_eq!((of("empty").len(), of("sparse").len()), (0, (1 << 20) + 3));
    assert!(fs::read(out.join("sparse")).unwrap().ends_with(b"\0end"));
    assert!(of("pipe").file_type().is_fifo());
    assert_eq!(of("sub/file").mtime(), 1_700_000_000);
}

#[test]
fn large_directories_and_attributes_are_sound() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut w = writer(&image);
    let root = w.root();
    // Directories and xattrs of all lengths, so that what lies beside inodes meets every edge.
    for length in (1..200_usize).step_by(3) {
        let name = format!("d{length}");
        let xattrs: BTreeMap<_, _> = [
            (b"user.a".to_vec(), vec![b'v'; length * 23]),
            (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
        ]
        .into();
        let with = Meta { xattrs, ..meta(0o755) };
        let at = w.make(root, name.as_bytes(), Node::Dir, with).unwrap();
        for number in 0..length {
            w.make(at, format!("{number}").as_bytes(), Node::Fifo, meta(0o600)).unwrap();
        }
    }
    w.finish([7; 16]).unwrap();

    let out = dir.path().join("out");
    let Some(()) = extracted(&image, &out) else { return };
    for length in (1..200_usize).step_by(3) {
        assert_eq!(fs::read_dir(out.join(format!("d{length}"))).unwrap().count(), length);
    }
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let images = ["a", "b"].map(|name| {
        let path = dir.path().join(name);
        let mut w = writer(&path);
        let root = w.root();
        w.file(root, b"f", meta(0o644)).unwrap();
        w.append(name.repeat(0).as_bytes()).unwrap();
        w.append(&[3; 9000]).unwrap();
        w.make(root, b"whiteout", Node::Char(0, 0), meta(0)).unwrap();
        w.finish([1; 16]).unwrap();
        fs::read(path).unwrap()
    });
    assert!(images[0] == images[1]);
    assert_eq!(images[0].len() % 4096, 0);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = writer(&dir.path().join("image"));
    let root = w.root();
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'n'; 256]] {
        assert!(w.make(root, name, Node::Fifo, meta(0)).is_err(), "{name:?}");
    }
    w.file(root, b"f", meta(0)).unwrap();
    assert!(w.make(root, b"f", Node::Dir, meta(0)).is_err());
    assert!(w.link(root, b"l", root).is_err());
    assert!(w.skip(u64::MAX).is_err());
    assert!(w.skip(1 << 45).is_err());
    assert!(w.make(root, b"c", Node::Char(1 << 12, 0), meta(0)).is_err());
}

#[test]
fn a_directory_becomes_an_image_with_the_same_tree() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/file"), vec![5; 300_000]).unwrap();
    fs::hard_link(tree.join("a/b/file"), tree.join("linked")).unwrap();
    symlink("a/b", tree.join("s")).unwrap();
    let sparse = File::create(tree.join("sparse")).unwrap();
    sparse.set_len(9_000_001).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 4_000_000).unwrap();
    let mut deep = tree.clone();
    for _ in 0..20 {
        deep.push("deep");
        fs::create_dir(&deep).unwrap();
    }
    let image = |name| {
        let path = dir.path().join(name);
        let root = lamina_sys::fs::open_dir(&tree).unwrap();
        let places = super::Places::new();
        super::image_of(&root, writer(&path), &places, super::Deletions::Kept, [2; 16]).unwrap();
        path
    };
    let (first, again) = (image("first"), image("again"));
    assert!(fs::read(&first).unwrap() == fs::read(again).unwrap());

    let out = dir.path().join("out");
    let Some(()) = extracted(&first, &out) else { return };
    for name in ["a/b/file", "linked", "sparse"] {
        assert!(fs::read(out.join(name)).unwrap() == fs::read(tree.join(name)).unwrap(), "{name}");
    }
    assert_eq!(fs::read_link(out.join("s")).unwrap(), Path::new("a/b"));
    assert!(out.join(deep.strip_prefix(&tree).unwrap()).is_dir());
}

#[test]
fn data_that_came_before_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    let image = dir.path().join("image");
    let mut w = writer(&image);
    let mut places = super::Places::new();
    for (name, parts) in
        [("sub/one", &[5000, 3000][..]), ("empty", &[]), ("gone", &[9]), ("two", &[1])]
    {
        let file = File::create(tree.join(name)).unwrap();
        let identity = lamina_sys::fs::stat(&file).unwrap().identity();
        w.loose().unwrap();
        for size in parts {
            w.append(&vec![b'x'; *size]).unwrap();
            w.skip(1000).unwrap();
        }
        places.insert(identity, w.placed().unwrap());
    }
    fs::remove_file(tree.join("gone")).unwrap();
    fs::hard_link(tree.join("two"), tree.join("sub/again")).unwrap();
    let root = lamina_sys::fs::open_dir(&tree).unwrap();
    super::image_of(&root, w, &places, super::Deletions::Kept, [3; 16]).unwrap();

    let out = dir.path().join("out");
    let Some(()) = extracted(&image, &out) else { return };
    let (x, hole) = (|size| vec![b'x'; size], || vec![0; 1000]);
    let one = fs::read(out.join("sub/one")).unwrap();
    assert!(one == [x(5000), hole(), x(3000), hole()].concat());
    assert_eq!(fs::read(out.join("empty")).unwrap(), b"");
    for name in ["two", "sub/again"] {
        assert!(fs::read(out.join(name)).unwrap() == [x(1), hole()].concat(), "{name}");
    }
    assert!(!out.join("gone").exists());
}
