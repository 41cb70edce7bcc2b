//! What the suite needs to know of an implementor, and cannot ask by the trait.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamina_core::Mount;
use lamina_core::snapshot::{Kind, Snapshotter};

/// One fresh snapshotter, with nothing in it.
pub trait Harness {
    /// The snapshotter.
    fn snapshotter(&self) -> Arc<dyn Snapshotter>;

    /// What is to be expected of it.
    fn facts(&self) -> Facts;

    /// Makes the tree that a mount list stands for reachable, and says where. Panics when it cannot.
    fn attach(&self, mounts: &[Mount]) -> PathBuf;

    /// Undoes [`attach`](Self::attach). Panics when it cannot: somebody still uses the tree.
    fn detach(&self, at: &Path);

    /// The mount list that a snapshot in this state must have; `None` where it is not specified.
    fn mount_list(&self, _state: &State) -> Option<Vec<Mount>> {
        None
    }
}

/// What differs between implementors that are all right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// A parent can be given at commit.
    pub rebase: bool,
    /// Attached trees are mounts: a view cannot be written to.
    pub mounts: bool,
    /// A directory of a lower layer can be renamed (not on overlayfs, by default).
    pub renames_directories: bool,
    /// Usage of a snapshot counts what it shares with its parent too.
    pub usage_includes_parent: bool,
    /// Snapshots are images: each counts as one inode, and room that files gave back stays theirs.
    pub images: bool,
    /// A commit packs a snapshot into an image, which counts as one inode.
    pub packs: bool,
    /// How many layers `many_layers` stacks.
    pub layers: usize,
}

/// A snapshot by number. Numbers count up from 1 in the order of creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Active or view.
    pub kind: Kind,
    /// Its number.
    pub id: u64,
    /// The numbers below it, nearest first.
    pub parents: Vec<u64>,
}
