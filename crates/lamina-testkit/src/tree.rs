//! A directory tree as data: listed entry by entry, and two of them compared.
//!
//! What is compared is what an image determines: type, mode, owner, time of modification, extended
//! attributes, content, text of links, device numbers, and which names are one file. What it does
//! not determine (inode numbers, sizes of directories, times of access and change) is left out.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lamina_core::digest::Hasher;

/// A tree: its entries by path relative to it, and itself as the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Node>);

/// One entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is, with what only that kind has.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky; 0777 for a link, whatever the system says.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Last modification: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// If it has further names in the tree, the first of all of them.
    pub same_as: Option<PathBuf>,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Dir,
    /// A file of this size and content.
    File {
        /// Bytes.
        size: u64,
        /// Digest of the content.
        digest: String,
    },
    /// A symbolic link with this text.
    Symlink(PathBuf),
    /// A character device.
    Char(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A name that is listed, and then is not there: overlayfs has these for whiteouts in a directory
    /// of one layer alone.
    Absent,
}

impl Tree {
    /// Lists what lies at `root`. Follows no link and crosses into mounted file systems.
    ///
    /// # Panics
    /// When the tree cannot be read.
    pub fn read(root: impl AsRef<Path>) -> Tree {
        let root = root.as_ref();
        let mut tree = Tree::default();
        let mut first_names = BTreeMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let full = match path.as_os_str().is_empty() {
                true => root.to_path_buf(),
                false => root.join(&path),
            };
            let node = match Node::read(&full) {
                Ok(node) => node,
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && !path.as_os_str().is_empty() =>
                {
                    tree.0.insert(path, Node::absent());
                    continue;
                }
                Err(error) => panic!("read {}: {error}", full.display()),
            };
            if node.kind == NodeKind::Dir {
                let entries = fs::read_dir(&full)
                    .unwrap_or_else(|error| panic!("read {}: {error}", full.display()));
                for entry in entries {
                    let entry = entry.expect("read a directory");
                    todo.push(path.join(entry.file_name()));
                }
            }
            let found = fs::symlink_metadata(&full).expect("an entry that was just read");
            if found.nlink() > 1 && !found.is_dir() {
                let names: &mut Vec<PathBuf> =
                    first_names.entry((found.dev(), found.ino())).or_default();
                names.push(path.clone());
            }
            tree.0.insert(path, node);
        }
        for mut names in first_names.into_values().filter(|names| names.len() > 1) {
            names.sort();
            for name in &names {
                if let Some(node) = tree.0.get_mut(name) {
                    node.same_as = Some(names[0].clone());
                }
            }
        }
        tree
    }

    /// The entry at a path.
    ///
    /// # Panics
    /// When there is none.
    pub fn at(&self, path: &str) -> &Node {
        self.0.get(Path::new(path)).unwrap_or_else(|| panic!("no entry {path:?} in\n{self}"))
    }

    /// Whether there is an entry at a path.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(Path::new(path))
    }

    /// All paths but the root's, as text.
    pub fn paths(&self) -> Vec<String> {
        let paths = self.0.keys().filter(|path| !path.as_os_str().is_empty());
        paths.map(|path| path.display().to_string()).collect()
    }

    /// The tree without what its root directory itself says, which belongs to whoever made it.
    #[must_use]
    pub fn without_root(mut self) -> Tree {
        self.0.remove(Path::new(""));
        self
    }

    /// The tree without the extended attributes that a host adds on its own (`security.selinux`).
    #[must_use]
    pub fn without_xattr(mut self, name: &str) -> Tree {
        for node in self.0.values_mut() {
            node.xattrs.remove(name);
        }
        self
    }

    /// What is different in `other`, one line a difference; empty if nothing is.
    pub fn differences(&self, other: &Tree) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, node) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("- {path:?} {node:?}")),
                Some(found) if found != node => {
                    lines.push(format!("! {path:?} {}", node.difference(found)));
                }
                Some(_) => {}
            }
        }
        for (path, node) in other.0.iter().filter(|(path, _)| !self.0.contains_key(*path)) {
            lines.push(format!("+ {path:?} {node:?}"));
        }
        lines
    }

    /// Fails the test with all differences if there are any.
    ///
    /// # Panics
    /// When `found` is not this tree.
    #[track_caller]
    pub fn assert_same(&self, found: &Tree, what: &str) {
        let differences = self.differences(found);
        assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
    }
}

impl Node {
    fn read(path: &Path) -> io::Result<Node> {
        let found = fs::symlink_metadata(path)?;
        let kind = NodeKind::read(path, &found)?;
        let mode = match kind {
            NodeKind::Symlink(_) => 0o777,
            _ => found.mode() & 0o7777,
        };
        Ok(Node {
            kind,
            mode,
            owner: (found.uid(), found.gid()),
            mtime: (found.mtime(), found.mtime_nsec()),
            xattrs: xattrs(path)?,
            same_as: None,
        })
    }

    fn absent() -> Node {
        let (mode, owner, mtime) = (0, (0, 0), (0, 0));
        Node { kind: NodeKind::Absent, mode, owner, mtime, xattrs: BTreeMap::new(), same_as: None }
    }

    /// Only the fields that differ.
    fn difference(&self, other: &Node) -> String {
        let mut parts = Vec::new();
        let mut field = |name: &str, here: String, there: String| {
            if here != there {
                parts.push(format!("{name}: {here} -> {there}"));
            }
        };
        field("kind", format!("{:?}", self.kind), format!("{:?}", other.kind));
        field("mode", format!("{:04o}", self.mode), format!("{:04o}", other.mode));
        field("owner", format!("{:?}", self.owner), format!("{:?}", other.owner));
        field("mtime", format!("{:?}", self.mtime), format!("{:?}", other.mtime));
        field("xattrs", shown(&self.xattrs), shown(&other.xattrs));
        field("same as", format!("{:?}", self.same_as), format!("{:?}", other.same_as));
        parts.join(", ")
    }
}

impl NodeKind {
    fn read(path: &Path, found: &Metadata) -> io::Result<NodeKind> {
        let kind = found.file_type();
        let device = || (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
        Ok(if kind.is_dir() {
            NodeKind::Dir
        } else if kind.is_file() {
            NodeKind::File { size: found.len(), digest: digest(path)? }
        } else if kind.is_symlink() {
            NodeKind::Symlink(fs::read_link(path)?)
        } else if kind.is_char_device() {
            NodeKind::Char(device().0, device().1)
        } else if kind.is_block_device() {
            NodeKind::Block(device().0, device().1)
        } else if kind.is_fifo() {
            NodeKind::Fifo
        } else {
            NodeKind::Socket
        })
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hasher.finish().as_str()[..19].to_string()),
            len => hasher.update(&buffer[..len]),
        }
    }
}

fn xattrs(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut buffer = vec![0u8; 64 * 1024];
    let len = match rustix::fs::llistxattr(path, &mut buffer[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        result => result?,
    };
    let names: Vec<Vec<u8>> = buffer[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let mut found = BTreeMap::new();
    for name in names {
        let len = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(&name), &mut buffer[..])?;
        found.insert(String::from_utf8_lossy(&name).into_owned(), buffer[..len].to_vec());
    }
    Ok(found)
}

fn shown(xattrs: &BTreeMap<String, Vec<u8>>) -> String {
    let all: Vec<String> =
        xattrs.iter().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
    format!("[{}]", all.join(" "))
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, node) in &self.0 {
            writeln!(f, "{path:?} {node:?}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sec, nsec) = self.mtime;
        write!(f, "{:?} {:04o} {}:{}", self.kind, self.mode, self.owner.0, self.owner.1)?;
        write!(f, " @{sec}.{nsec:09}")?;
        if !self.xattrs.is_empty() {
            write!(f, " {}", shown(&self.xattrs))?;
        }
        match &self.same_as {
            Some(path) => write!(f, " = {path:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeKind::Dir => write!(f, "dir"),
            NodeKind::File { size, digest } => write!(f, "file {size} {digest}"),
            NodeKind::Symlink(text) => write!(f, "-> {text:?}"),
            NodeKind::Char(major, minor) => write!(f, "char {major}:{minor}"),
            NodeKind::Block(major, minor) => write!(f, "block {major}:{minor}"),
            NodeKind::Fifo => write!(f, "fifo"),
            NodeKind::Socket => write!(f, "socket"),
            NodeKind::Absent => write!(f, "absent"),
        }
    }
}

#[cfg(test)]
mod tests;
