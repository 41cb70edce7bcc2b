//! Which attributes a new entry has right from the call that makes it, so that none need be set.
//!
//! That is known where nothing but the process has a say: in a directory that this layer made, without
//! extended attributes (an ACL would change modes), of the process's own group and not setgid (its group
//! and that bit would be given on). Directories are told apart by inode, as a path may lead through links.

use std::collections::HashSet;

use lamina_sys::thread::{Maker, maker};

use super::header::Record;
use super::options::Owners;
use super::tree::Identity;

/// What is right from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Born {
    pub(super) owner: bool,
    pub(super) mode: bool,
}

/// The plain directories of a tree, and who makes entries in them.
#[derive(Debug)]
pub(super) struct Plain {
    dirs: HashSet<Identity>,
    /// `None` when it is not known, so that everything is set.
    maker: Option<Maker>,
}

impl Plain {
    pub(super) fn new() -> Plain {
        Plain { dirs: HashSet::new(), maker: maker() }
    }

    pub(super) fn gid(&self) -> u32 {
        self.maker.map_or(0, |maker| maker.gid)
    }

    pub(super) fn has(&self, dir: Identity) -> bool {
        self.dirs.contains(&dir)
    }

    /// Notes what a directory became: whether it has no extended attributes, its mode and its group.
    pub(super) fn set(&mut self, dir: Identity, bare: bool, mode: u32, gid: u32) {
        if bare && mode & SETGID == 0 && self.maker.is_some_and(|maker| gid == maker.gid) {
            self.dirs.insert(dir);
        } else {
            self.dirs.remove(&dir);
        }
    }

    /// What an entry of `record`, made in `dir` with its own mode, has from the start.
    pub(super) fn born(&self, dir: Identity, record: &Record, owners: Owners) -> Born {
        let Some(maker) = self.maker.filter(|_| self.has(dir)) else { return Born::default() };
        let owner = owners == Owners::Caller || (record.uid, record.gid) == (maker.uid, maker.gid);
        // Setuid, setgid and sticky are not everybody's to give when something is made.
        Born { owner, mode: record.mode & (maker.umask | 0o7000) == 0 }
    }
}

/// On a directory: what is made in it gets its group, and directories this bit, too.
const SETGID: u32 = 0o2000;
