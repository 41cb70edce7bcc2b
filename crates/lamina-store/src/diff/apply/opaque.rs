//! Deletions: whiteouts and opaque directories, carried out or written for overlayfs.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use lamina_core::{Error, Result};
use lamina_sys::fs::{self, FileKind};
use lamina_sys::tree as sys_tree;

use super::error;
use super::header::Record;
use super::name::{Deletion, EntryPath};
use super::options::{ApplyOptions, Owners};
use super::tree::{Dir, Identity, Tree, stat};

/// Does what the entry at `path` asks for; false if it is no deletion but an ordinary entry.
pub(super) fn delete(
    tree: &mut Tree<'_>,
    path: &EntryPath,
    record: &Record,
    options: &ApplyOptions<'_>,
) -> Result<bool> {
    let deletion = Deletion::of(path.base())?;
    if deletion == Deletion::None {
        return Ok(false);
    }
    let dir = tree.dir(path.parent())?;
    match (deletion, tree.overlay()) {
        (Deletion::Name(name), false) => drop(tree.clear(&dir, name)?),
        (Deletion::Name(name), true) => write_whiteout(tree, path, &dir, name, record, options)?,
        (_, false) => empty(tree, path.parent(), &dir)?,
        (_, true) => tree.set_opaque(path.parent(), &dir)?,
    }
    Ok(true)
}

/// A character device 0:0, owned as the marker says.
fn write_whiteout(
    tree: &mut Tree<'_>,
    path: &EntryPath,
    dir: &Dir,
    name: &OsStr,
    record: &Record,
    options: &ApplyOptions<'_>,
) -> Result<()> {
    tree.clear(dir, name)?;
    if tree.is_hidden(path.parent()) {
        // Nothing shows from below here, and overlayfs lists whiteouts in such a directory.
        return Ok(());
    }
    fs::make_node(&dir.fd, name, FileKind::CharDevice, 0, (0, 0))
        .map_err(|cause| error::sys("write a whiteout", cause))?;
    tree.note_whiteout(dir)?;
    if options.owners == Owners::Layer {
        fs::set_owner_at(&dir.fd, name, record.uid, record.gid)
            .map_err(|cause| error::sys("set the owner of a whiteout", cause))?;
    }
    Ok(())
}

/// Removes from a directory what this layer did not lay there. The marker may come late, so what
/// this layer did lay, at any depth, is spared, with the directories it lies in. These keep their
/// times, as they do under overlayfs, where nothing is removed from them.
fn empty(tree: &mut Tree<'_>, path: &[u8], dir: &Dir) -> Result<()> {
    tree.forget_open();
    let start = fs::open_dir_at(&dir.fd, ".")
        .map_err(|cause| error::sys("empty an opaque directory", cause))?;
    let mut levels = vec![Level::read(tree, path.to_vec(), start, dir.id)?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.spared.pop() else {
            levels.pop();
            continue;
        };
        let fd = fs::open_dir_at(&level.fd, &name)
            .map_err(|cause| error::sys("empty an opaque directory", cause))?;
        let path = [&level.path[..], b"/", name.as_bytes()].concat();
        let found = stat(&fd)?;
        tree.keep_times(&path, &found);
        if levels.len() >= DEPTH_MOST {
            return Err(Error::resource_exhausted(
                "an opaque directory comes after entries too deep below it",
            ));
        }
        levels.push(Level::read(tree, path, fd, found.identity())?);
    }
    Ok(())
}

/// A directory that was emptied, and its subdirectories that hold something of this layer.
struct Level {
    path: Vec<u8>,
    fd: OwnedFd,
    spared: Vec<OsString>,
}

impl Level {
    fn read(tree: &Tree<'_>, path: Vec<u8>, fd: OwnedFd, id: Identity) -> Result<Level> {
        let failed = |cause| error::sys("empty an opaque directory", cause);
        let mut spared = Vec::new();
        // All names first: some filesystems skip entries while others are being removed.
        let entries: lamina_sys::Result<Vec<_>> = fs::read_dir(&fd).map_err(failed)?.collect();
        for fs::DirEntry { name, .. } in entries.map_err(failed)? {
            let found = fs::stat_at(&fd, &name).map_err(failed)?;
            if found.is_dir() && tree.laid_below.contains(&found.identity()) {
                spared.push(name);
            } else if !tree.is_marked(id, &name) {
                sys_tree::remove_tree(&fd, &name).map_err(failed)?;
            } else if found.is_dir() {
                // Laid here, but nothing of this layer is in it.
                spared.push(name);
            }
        }
        Ok(Level { path, fd, spared })
    }
}

/// Each level keeps a descriptor open. Trees of real images are a tenth as deep.
const DEPTH_MOST: usize = 256;
