//! Whether an entry is the same in both trees.
//!
//! Owner, mode, device number and `security.capability` count; of files and links also size, time and
//! content. Content is read only where the times do not decide: when neither has a fraction of a
//! second, since layers are often unpacked without one.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use lamina_core::Result;
use lamina_sys::fs::{self, FileKind, Stat, xattr};

use super::{CreateOptions, content, error};

/// One tree's entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
    pub(super) stat: &'a Stat,
}

impl Entry<'_> {
    /// The one extended attribute that goes into layers.
    pub(super) fn capability(&self) -> Result<Option<Vec<u8>>> {
        let value = xattr::get_at(self.dir, self.name, "security.capability");
        let value = value.map_err(|cause| error::sys("read its capabilities", cause))?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// What a symbolic link says.
    pub(super) fn target(&self) -> Result<Vec<u8>> {
        use std::os::unix::ffi::OsStringExt as _;
        let target = fs::read_link(self.dir, self.name);
        Ok(target.map_err(|cause| error::sys("read the link", cause))?.into_vec())
    }
}

/// Compares two entries of one path.
pub(super) fn same(
    lower: &Entry<'_>,
    upper: &Entry<'_>,
    options: &CreateOptions<'_>,
) -> Result<bool> {
    let (old, new) = (lower.stat, upper.stat);
    if old.identity() == new.identity() {
        return Ok(true);
    }
    let alike = (old.kind, old.mode, old.uid, old.gid, old.rdev)
        == (new.kind, new.mode, new.uid, new.gid, new.rdev);
    let dated = new.is_dir() || (old.size, old.modified) == (new.size, new.modified);
    if !alike || !dated || lower.capability()? != upper.capability()? {
        return Ok(false);
    }
    // A copy-on-write snapshot keeps number and time of change of what nobody touched, and no program
    // can set that time.
    let untouched = (old.ino, old.changed) == (new.ino, new.changed);
    if new.modified.nsec != 0 || new.size == 0 || untouched {
        return Ok(true);
    }
    match new.kind {
        FileKind::File => same_content(lower, upper, options),
        FileKind::Symlink => Ok(lower.target()? == upper.target()?),
        _ => Ok(true),
    }
}

fn same_content(lower: &Entry<'_>, upper: &Entry<'_>, options: &CreateOptions<'_>) -> Result<bool> {
    let [old, new] = [lower, upper].map(|entry| content::open(entry.dir, entry.name, entry.stat));
    let (old, new) = (old?, new?);
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < upper.stat.size {
        options.check_cancelled()?;
        let len = usize::try_from(upper.stat.size - at).unwrap_or(PIECE).min(PIECE);
        let (one, other) = (&mut one[..len], &mut other[..len]);
        for (file, piece) in [(&old, &mut *one), (&new, &mut *other)] {
            file.read_exact_at(piece, at).map_err(|cause| match cause.kind() {
                std::io::ErrorKind::UnexpectedEof => error::changed(),
                _ => error::read(cause),
            })?;
        }
        if one != other {
            return Ok(false);
        }
        at += len as u64;
    }
    content::check_unchanged(&new, upper.stat)?;
    Ok(true)
}

/// Bytes that are compared at a time.
const PIECE: usize = 128 << 10;
