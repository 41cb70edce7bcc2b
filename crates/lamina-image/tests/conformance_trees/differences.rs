//! What may differ between two trees, each with its reason; and nothing else may.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lamina_testkit::tree::{Node, NodeKind, Tree};

/// Somebody whose tree ours is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Containerd,
    Umoci,
}

/// What of an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// One has it, the other does not.
    Presence,
    Kind,
    Mode,
    Owner,
    Mtime,
    /// The time of a directory, and theirs is the time of day.
    Today,
    Xattrs,
    Links,
}

/// Differences with a reason.
pub struct Known {
    pub peer: Peer,
    /// The image, or every one for `*`.
    pub image: &'static str,
    /// Where: a path, `…/*` for everything below one, or `*` for everything.
    pub path: &'static str,
    pub field: Field,
    pub why: &'static str,
}

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        peer: Peer::Containerd,
        image: "*",
        path: "",
        field: Field::Today,
        why: "the root is the snapshot's; an image says nothing of it",
    },
    Known {
        peer: Peer::Containerd,
        image: "*",
        path: "*",
        field: Field::Today,
        why: "a directory whose content a layer changes without an entry for it: ours keeps its time, \
              or has that of 1970, so that an image is the same tree every time",
    },
    Known {
        peer: Peer::Containerd,
        image: "times-negative",
        path: "*",
        field: Field::Mtime,
        why: "times before 1970 become 1970 there; ours are what the layer says, as with umoci",
    },
    Known {
        peer: Peer::Containerd,
        image: "whiteout-new-dir",
        path: "new/nothing",
        field: Field::Presence,
        why: "overlayfs lists a whiteout in a directory of one layer alone, as a name that is not there; \
              ours is removed",
    },
    Known {
        peer: Peer::Umoci,
        image: "*",
        path: "",
        field: Field::Today,
        why: "the root is the snapshot's; an image says nothing of it",
    },
    Known {
        peer: Peer::Umoci,
        image: "*",
        path: "",
        field: Field::Mtime,
        why: "the root is the snapshot's; there it has the time of 1970, or of an entry for it",
    },
    Known {
        peer: Peer::Umoci,
        image: "empty",
        path: "",
        field: Field::Mode,
        why: "an entry for the root counts there; containerd and ours leave the snapshot's alone",
    },
    Known {
        peer: Peer::Umoci,
        image: "*",
        path: "*",
        field: Field::Today,
        why: "a directory whose content a layer changes without an entry for it, as with containerd",
    },
    Known {
        peer: Peer::Umoci,
        image: "xattrs",
        path: "user",
        field: Field::Xattrs,
        why: "attributes without a value are left out there; containerd and ours set them",
    },
];

/// Images that a peer refuses and we take, with the reason.
pub const REFUSED: &[(Peer, &str, &str)] = &[
    (Peer::Containerd, "sparse-gnu-old", "its extractor has no entries of type `S`"),
    (Peer::Containerd, "hard-link-itself", "the file is removed to make room for a link to it"),
    (Peer::Umoci, "hard-link-itself", "the file is removed to make room for a link to it"),
    (Peer::Umoci, "sparse-gnu-old", "its extractor has no entries of type `S`"),
    (Peer::Umoci, "global-header", "its extractor has no entries of type `g`"),
    (Peer::Umoci, "file-to-dir", "it looks for users in /etc/passwd, which is a directory"),
    (Peer::Umoci, "xattrs-ignored", "it sets user attributes of links, which have none"),
];

/// Compares trees with those of one peer; remembers which of the known differences there were.
#[derive(Debug)]
pub struct Comparison {
    peer: Peer,
    begun: i64,
    needed: BTreeSet<usize>,
    refused: BTreeSet<&'static str>,
    unexplained: Vec<String>,
    entries: usize,
}

impl Comparison {
    /// Nothing compared yet.
    pub fn new(peer: Peer) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Comparison {
            peer,
            begun: now.as_secs().try_into().unwrap(),
            needed: BTreeSet::new(),
            refused: BTreeSet::new(),
            unexplained: Vec::new(),
            entries: 0,
        }
    }

    /// Compares the tree of ours with what the peer made of the same image.
    pub fn compare(&mut self, image: &str, ours: &Tree, theirs: Result<Tree, String>) {
        let refused = REFUSED.iter().find(|known| (known.0, known.1) == (self.peer, image));
        let theirs = match (theirs, refused) {
            (Ok(theirs), _) => theirs,
            (Err(_), Some(known)) => {
                self.refused.insert(known.1);
                return;
            }
            (Err(why), None) => return self.unexplained.push(format!("{image} refused: {why}")),
        };
        self.entries += ours.0.len();
        for ((path, field), shown) in self.differences(ours, &theirs) {
            let covers = |known: &Known| known.covers(self.peer, image, &path, field);
            match KNOWN.iter().position(covers) {
                Some(row) => _ = self.needed.insert(row),
                None => self.unexplained.push(format!("{image}: {shown}")),
            }
        }
    }

    /// Fails if anything differed without a reason, if what is known to differ did not, and if no more
    /// than `least` entries were compared.
    pub fn finish(mut self, least: usize) {
        for (at, known) in KNOWN.iter().enumerate() {
            if known.peer == self.peer && !self.needed.contains(&at) {
                let Known { image, path, field, why, .. } = known;
                self.unexplained
                    .push(format!("{image}: {field:?} of {path:?} is the same by now, not: {why}"));
            }
        }
        for (_, image, why) in REFUSED.iter().filter(|known| known.0 == self.peer) {
            if !self.refused.contains(image) {
                self.unexplained.push(format!("{image} is not refused any more: {why}"));
            }
        }
        assert!(self.unexplained.is_empty(), "\n{}", self.unexplained.join("\n"));
        assert!(self.entries > least, "only {} entries compared", self.entries);
    }

    /// Every field that differs, with a line for the reader.
    fn differences(&self, ours: &Tree, theirs: &Tree) -> BTreeMap<(PathBuf, Field), String> {
        let mut found = BTreeMap::new();
        for path in ours.0.keys().chain(theirs.0.keys()) {
            let [ours, theirs] = [ours, theirs].map(|tree| tree.0.get(path));
            let fields = match (ours, theirs) {
                (Some(ours), Some(theirs)) => self.fields(path, ours, theirs),
                _ => vec![Field::Presence],
            };
            for field in fields {
                let line = format!("{field:?} of {path:?}: ours {ours:?}, theirs {theirs:?}");
                found.insert((path.clone(), field), line);
            }
        }
        found
    }

    fn fields(&self, path: &Path, ours: &Node, theirs: &Node) -> Vec<Field> {
        let today = |node: &Node| node.mtime.0 >= self.begun;
        // Ours is never of today, but that of the root, which belongs to the snapshot.
        let is_root = path.as_os_str().is_empty();
        let time = match ours.kind == NodeKind::Dir && today(theirs) && today(ours) == is_root {
            true => Field::Today,
            false => Field::Mtime,
        };
        [
            (Field::Kind, ours.kind == theirs.kind),
            (Field::Mode, ours.mode == theirs.mode),
            (Field::Owner, ours.owner == theirs.owner),
            (time, ours.mtime == theirs.mtime),
            (Field::Xattrs, ours.xattrs == theirs.xattrs),
            (Field::Links, ours.same_as == theirs.same_as),
        ]
        .into_iter()
        .filter_map(|(field, same)| (!same).then_some(field))
        .collect()
    }
}

impl Known {
    fn covers(&self, peer: Peer, image: &str, path: &Path, field: Field) -> bool {
        let here = match self.path.strip_suffix('*') {
            Some(dir) => path.starts_with(dir) && path != Path::new(dir),
            None => path == Path::new(self.path),
        };
        let image = self.image == "*" || self.image == image;
        self.peer == peer && self.field == field && image && here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(mode: u32, mtime: i64) -> Tree {
        let dir = NodeKind::Dir;
        let mtime = (mtime, 0);
        let node =
            Node { kind: dir, mode, owner: (0, 0), mtime, xattrs: BTreeMap::new(), same_as: None };
        Tree(BTreeMap::from([(PathBuf::from("dir"), node)]))
    }

    #[test]
    fn only_what_is_listed_is_explained() {
        let left = |ours: Tree, theirs: Tree| {
            let mut comparison = Comparison::new(Peer::Containerd);
            comparison.compare("any", &ours, Ok(theirs));
            comparison.unexplained.len()
        };
        let today = i64::MAX;
        assert_eq!(left(tree(0o755, 1), tree(0o755, 1)), 0);
        assert_eq!(left(tree(0o755, 1), tree(0o755, today)), 0, "listed");
        assert_eq!(left(tree(0o755, today), tree(0o755, today - 1)), 1, "ours is of today too");
        assert_eq!(left(tree(0o755, 1), tree(0o755, 2)), 1);
        assert_eq!(left(tree(0o755, 1), tree(0o700, 1)), 1);
        assert_eq!(left(tree(0o755, 1), Tree::default()), 1);
        let mut comparison = Comparison::new(Peer::Containerd);
        comparison.compare("any", &Tree::default(), Err("refused".into()));
        assert_eq!(comparison.unexplained.len(), 1);
    }
}
