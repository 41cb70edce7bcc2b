//! Changes to a file tree as data, and trees as values that can be compared.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lamina_sys::fs::{self as sys, FileKind};

/// One change. Paths are relative to the root of the tree.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A directory with this mode; one that exists gets the mode.
    Dir(&'static str, u32),
    /// A file with this content and mode; one that exists is written over in place.
    File(&'static str, &'static str, u32),
    /// As [`Op::File`], with a content made at run time.
    Written(String, String),
    /// Another mode.
    Mode(&'static str, u32),
    /// Another owner and group, of a link itself.
    Owner(&'static str, u32, u32),
    /// A rename.
    Rename(&'static str, &'static str),
    /// A hard link: existing, new.
    Link(&'static str, &'static str),
    /// A symbolic link: target, new.
    Symlink(&'static str, &'static str),
    /// A fifo.
    Fifo(&'static str),
    /// A character device.
    Device(&'static str, u32, u32),
    /// Gone with all below it.
    Remove(&'static str),
}

/// Applies changes in order; they do not depend on the umask. What only root can do is left out by
/// everybody else.
pub(super) fn apply(root: &Path, ops: &[Op]) {
    let root_only = |op: &&Op| matches!(op, Op::Owner(..) | Op::Device(..));
    let is_root = lamina_sys::kernel::is_root();
    for op in ops.iter().filter(|op| is_root || !root_only(op)) {
        if let Err(error) = apply_one(root, op) {
            panic!("{op:?}: {error}");
        }
    }
}

fn apply_one(root: &Path, op: &Op) -> std::io::Result<()> {
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    match op {
        Op::Dir(path, bits) => {
            let path = root.join(path);
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            mode(&path, *bits)
        }
        Op::File(path, content, bits) => {
            let path = root.join(path);
            std::fs::write(&path, content)?;
            mode(&path, *bits)
        }
        Op::Written(path, content) => std::fs::write(root.join(path), content),
        Op::Mode(path, bits) => mode(&root.join(path), *bits),
        Op::Owner(path, uid, gid) => {
            std::os::unix::fs::lchown(root.join(path), Some(*uid), Some(*gid))
        }
        Op::Rename(from, to) => std::fs::rename(root.join(from), root.join(to)),
        Op::Link(existing, new) => std::fs::hard_link(root.join(existing), root.join(new)),
        Op::Symlink(target, new) => std::os::unix::fs::symlink(target, root.join(new)),
        Op::Fifo(path) => Ok(sys::make_node(dir(root)?, path, FileKind::Fifo, 0o600, (0, 0))?),
        Op::Device(path, major, minor) => {
            Ok(sys::make_node(dir(root)?, path, FileKind::CharDevice, 0o600, (*major, *minor))?)
        }
        Op::Remove(path) => {
            let path = root.join(path);
            if path.symlink_metadata()?.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            }
        }
    }
}

fn dir(root: &Path) -> lamina_sys::Result<std::os::fd::OwnedFd> {
    sys::open_dir(root)
}

/// A tree: what a reader of it can tell, but times and extended attributes.
pub(super) type Tree = BTreeMap<PathBuf, Entry>;

/// One name in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    mode: u32,
    uid: u32,
    gid: u32,
    what: What,
    /// The first name of the same inode, where it has several.
    linked: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
enum What {
    Dir,
    File(Vec<u8>),
    Symlink(PathBuf),
    Char(u64),
    Block(u64),
    Fifo,
    Socket,
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            What::Dir => f.write_str("dir"),
            What::File(content) => match std::str::from_utf8(content) {
                Ok(text) if text.len() < 60 => write!(f, "file {text:?}"),
                _ => write!(f, "file of {} bytes", content.len()),
            },
            What::Symlink(target) => write!(f, "link to {target:?}"),
            What::Char(number) => write!(f, "char {number:#x}"),
            What::Block(number) => write!(f, "block {number:#x}"),
            What::Fifo => f.write_str("fifo"),
            What::Socket => f.write_str("socket"),
        }
    }
}

/// Reads the tree at `root`, the root itself under the empty path.
pub(super) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut inodes = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        let meta = full.symlink_metadata().unwrap_or_else(|e| panic!("{}: {e}", full.display()));
        if meta.is_dir() {
            for child in std::fs::read_dir(&full).unwrap() {
                todo.push(path.join(child.unwrap().file_name()));
            }
        } else if meta.nlink() > 1 {
            inodes.entry(meta.ino()).or_insert_with(Vec::new).push(path.clone());
        }
        let entry = Entry {
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            what: what(&full, &meta),
            linked: None,
        };
        tree.insert(path, entry);
    }
    for mut group in inodes.into_values() {
        group.sort();
        let first = group.first().cloned().filter(|_| group.len() > 1);
        for path in group {
            if let Some(entry) = tree.get_mut(&path) {
                entry.linked.clone_from(&first);
            }
        }
    }
    tree
}

fn what(path: &Path, meta: &std::fs::Metadata) -> What {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => What::Dir,
        () if kind.is_file() => What::File(std::fs::read(path).unwrap()),
        () if kind.is_symlink() => What::Symlink(std::fs::read_link(path).unwrap()),
        () if kind.is_char_device() => What::Char(meta.rdev()),
        () if kind.is_block_device() => What::Block(meta.rdev()),
        () if kind.is_fifo() => What::Fifo,
        () => What::Socket,
    }
}

/// Fails with the entries that differ.
pub(super) fn assert_same(found: &Tree, wanted: &Tree, what: &str) {
    if found == wanted {
        return;
    }
    let mut text = format!("{what} shows another tree:\n");
    let paths: std::collections::BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    for path in paths {
        let (found, wanted) = (found.get(path), wanted.get(path));
        if found != wanted {
            text.push_str(&format!("  {path:?}: found {found:?}, wanted {wanted:?}\n"));
        }
    }
    panic!("{text}");
}
