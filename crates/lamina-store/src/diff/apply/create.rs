//! Making what an entry asks for, each kind in its own way.
//!
//! The entry's name is only ever used in its directory's descriptor, by calls that do not follow
//! it; attributes are set through a descriptor of what was made.

use std::ffi::OsStr;
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use lamina_core::{Error, Result};
use lamina_sys::fs::{self, FileKind};
use lamina_sys::{Outcome, SysError};

use super::content::Writer;
use super::error;
use super::header::{Kind, Record};
use super::meta;
use super::name::EntryPath;
use super::options::{ApplyOptions, Devices};
use super::plain::Born;
use super::reader::TarReader;
use super::tree::{Dir, Tree};

/// Makes the entry at `path`, in place of what is there.
pub(super) fn create<R: BufRead>(
    tree: &mut Tree<'_>,
    path: &EntryPath,
    record: &Record,
    options: &ApplyOptions<'_>,
    reader: &mut TarReader<'_, R>,
    writer: &mut Writer<'_>,
) -> Result<()> {
    let dir = tree.dir(path.parent())?;
    let name = path.base();
    match &record.kind {
        Kind::Dir => make_dir(tree, path, &dir, record, options)?,
        Kind::File | Kind::Sparse { .. } => {
            let born = tree.born(&dir, record);
            let mode = if born.mode { record.mode } else { 0o600 };
            let fd = replacing(tree, &dir, name, || fs::create_file(&dir.fd, name, mode))?;
            let fd = writer.fill(fd, record, reader)?;
            meta::set(&fd, record, options.owners, born)?;
        }
        Kind::Symlink(text) => {
            let text = OsStr::from_bytes(text);
            let born = tree.born(&dir, record);
            replacing(tree, &dir, name, || fs::make_symlink(text, &dir.fd, name))?;
            meta::set(handle(&dir, name)?, record, options.owners, born)?;
        }
        Kind::HardLink(text) => link(tree, path, &dir, text)?,
        Kind::Node(kind, major, minor) => {
            if *kind != FileKind::Fifo && options.devices == Devices::Skip {
                tracing::debug!(entry = ?path.as_path(), "a device is left out");
                return Ok(());
            }
            let device = (*major, *minor);
            replacing(tree, &dir, name, || fs::make_node(&dir.fd, name, *kind, 0o600, device))?;
            meta::set(handle(&dir, name)?, record, options.owners, Born::default())?;
        }
    }
    tree.mark(&dir, name);
    Ok(())
}

/// A directory is merged with one that is there, and replaces anything else.
fn make_dir(
    tree: &mut Tree<'_>,
    path: &EntryPath,
    dir: &Dir,
    record: &Record,
    options: &ApplyOptions<'_>,
) -> Result<()> {
    let name = path.base();
    let mut born = tree.born(dir, record);
    // It is opened next, by who may not be root.
    born.mode &= record.mode & 0o700 == 0o700;
    let mode = if born.mode { record.mode } else { 0o700 };
    let make = || fs::make_dir(&dir.fd, name, mode);
    let (mut replaced, mut fresh) = (None, true);
    match make() {
        Ok(()) => {}
        Err(cause) if cause.is_exists() => {
            let found = fs::stat_at(&dir.fd, name)
                .map_err(|cause| error::sys("look at what it replaces", cause))?;
            if !found.is_dir() {
                replaced = tree.clear(dir, name)?;
                make().map_err(made)?;
            } else {
                (born, fresh) = (Born::default(), false);
            }
        }
        Err(cause) => return Err(made(cause)),
    }
    let entered = tree.enter(path.as_bytes(), dir, name)?;
    meta::set(&entered.fd, record, options.owners, born)?;
    tree.note_dir(&entered, dir, record, fresh);
    if tree.overlay() && replaced.is_some() {
        // What it replaces, a whiteout or any other entry of this layer, hid what lies below.
        tree.set_opaque(path.as_bytes(), &entered)?;
    }
    tree.date(path.as_bytes(), entered.id, meta::times(record));
    Ok(())
}

/// A further name of what lies at a path of this tree, also if that is a symbolic link. Its
/// attributes stay as they are.
fn link(tree: &mut Tree<'_>, path: &EntryPath, dir: &Dir, text: &[u8]) -> Result<()> {
    let told = || format!("hard link to {:?}", OsStr::from_bytes(text));
    let refuse = |why: &str| Error::invalid_argument(format!("{}: {why}", told()));
    let Some(source) = EntryPath::parse(text)? else { return Err(refuse("the root")) };
    let root = &tree.target.root;
    let failed = |cause: SysError| match cause.is_not_found() {
        true => refuse("nothing of this layer, or of the tree it is laid in, is there"),
        false => error::sys(&told(), cause),
    };
    let entry = root.entry(OsStr::from_bytes(source.as_bytes())).map_err(failed)?;
    let entry = entry.ok_or_else(|| refuse("the root"))?;
    let stat = fs::stat_at(&entry.parent, &entry.name).map_err(failed)?;
    if tree.overlay() && stat.kind == FileKind::CharDevice && stat.rdev == (0, 0) {
        return Err(refuse("this layer deletes it"));
    }
    if stat.is_dir() {
        return Err(refuse("a directory"));
    }
    let name = path.base();
    // GNU tar writes a link to itself for a path it was given twice. The same place, in whatever
    // spelling, must not be removed to make room for itself.
    if let Ok(found) = fs::stat_at(&dir.fd, name)
        && found.identity() == stat.identity()
    {
        return Ok(());
    }
    replacing(tree, dir, name, || fs::link(&entry.parent, &entry.name, &dir.fd, name))
}

/// Makes something under a name; if that is taken, after removing what has it.
fn replacing<T>(
    tree: &mut Tree<'_>,
    dir: &Dir,
    name: &OsStr,
    make: impl Fn() -> lamina_sys::Result<T>,
) -> Result<T> {
    match make() {
        Err(cause) if cause.is_exists() => {
            tree.clear(dir, name)?;
            make().map_err(made)
        }
        result => result.map_err(made),
    }
}

fn handle(dir: &Dir, name: &OsStr) -> Result<OwnedFd> {
    fs::open_handle_at(&dir.fd, name).map_err(|cause| error::sys("open what was made", cause))
}

/// A link to an empty text is refused by the kernel as if something were missing.
fn made(cause: SysError) -> Error {
    if cause.outcome() == Outcome::NotFound {
        return Error::invalid_argument("it cannot be made").with_source(cause);
    }
    error::sys("make it", cause)
}
