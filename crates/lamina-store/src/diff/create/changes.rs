//! The walk over both trees at once.
//!
//! Depth is bounded by memory only, and so is the number of entries: of a directory on the way to
//! where the walk is, the names are kept that are still to come.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lamina_core::Result;
use lamina_sys::fs::{self, FileKind, Stat, xattr};
use lamina_sys::tree::DirStack;

use super::archive::Archive;
use super::same::{Entry, same};
use super::{CreateOptions, Failure, Form, Trees, error};

pub(super) struct Walk<'a, 'b> {
    lower: Option<DirStack>,
    upper: DirStack,
    form: Form,
    archive: Archive<'a, 'b>,
    options: &'a CreateOptions<'a>,
    /// Of the entry it is at.
    path: Vec<u8>,
}

/// A directory whose entries are being looked at.
struct Frame {
    /// The names to come, last first, and whether the upper tree lists them.
    names: Vec<(OsString, bool)>,
    /// Whether the lower tree has the directory, and its stack is there.
    lower: bool,
    /// How long the path of the directory is.
    path: usize,
}

/// What overlayfs has written on an entry of an upper directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    /// Hides what the lower tree has in the directory.
    Opaque,
}

impl<'a, 'b> Walk<'a, 'b> {
    pub(super) fn new(
        trees: Trees,
        archive: Archive<'a, 'b>,
        options: &'a CreateOptions<'a>,
    ) -> Result<Self> {
        Ok(Walk {
            lower: trees.lower.map(DirStack::new),
            upper: DirStack::new(trees.upper),
            form: trees.form,
            archive,
            options,
            path: Vec::new(),
        })
    }

    pub(super) fn run(mut self) -> Result<(), Failure> {
        let lower = self.lower.is_some();
        let mut frames = vec![self.frame(lower, Mark::None)?];
        while let Some(frame) = frames.last_mut() {
            self.path.truncate(frame.path);
            let Some((name, listed)) = frame.names.pop() else {
                let lower = frame.lower;
                frames.pop();
                if !frames.is_empty() {
                    self.leave(lower)?;
                }
                continue;
            };
            if frame.path > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.as_bytes());
            let lower = frame.lower;
            if let Some(frame) = self.visit(&name, listed, lower)? {
                frames.push(frame);
            }
        }
        self.archive.finish()?;
        Ok(())
    }

    /// Looks at an entry; a directory's own entries are to follow.
    fn visit(
        &mut self,
        name: &OsStr,
        listed: bool,
        has_lower: bool,
    ) -> Result<Option<Frame>, Failure> {
        self.options.check_cancelled()?;
        let at = |path: &[u8], error| error::at(path, error);
        let seen = self.look(name, listed, has_lower).map_err(|error| at(&self.path, error))?;
        let (old, new) = seen;
        let Some(new) = new else {
            if old.is_some() {
                self.archive.deleted(&self.path).map_err(|error| at(&self.path, error))?;
            }
            return Ok(None);
        };
        let mark = match self.mark(name, new.kind) {
            Err(Failure::Error(error)) => return Err(at(&self.path, error).into()),
            mark => mark?,
        };
        self.tell(name, old.as_ref(), &new).map_err(|error| at(&self.path, error))?;
        if !new.is_dir() {
            return Ok(None);
        }
        let lower = old.is_some_and(|old| old.is_dir());
        let entered = self.enter(name, lower).and_then(|()| self.frame(lower, mark));
        Ok(Some(entered.map_err(|error| at(&self.path, error))?))
    }

    /// What both trees have of that name.
    fn look(
        &self,
        name: &OsStr,
        listed: bool,
        has_lower: bool,
    ) -> Result<(Option<Stat>, Option<Stat>)> {
        let old = match &self.lower {
            Some(lower) if has_lower => match fs::stat_at(lower.top(), name) {
                Err(cause) if cause.is_not_found() => None,
                stat => Some(stat.map_err(|cause| error::sys("look at it", cause))?),
            },
            _ => None,
        };
        if !listed {
            return Ok((old, None));
        }
        let new = fs::stat_at(self.upper.top(), name);
        let new = new.map_err(|cause| error::sys("look at it", cause))?;
        let whiteout = matches!(self.form, Form::Upper { .. })
            && new.kind == FileKind::CharDevice
            && new.rdev == (0, 0);
        Ok((old, (!whiteout).then_some(new)))
    }

    fn tell(&mut self, name: &OsStr, old: Option<&Stat>, new: &Stat) -> Result<()> {
        let upper = Entry { dir: self.upper.top(), name, stat: new };
        if let (Some(old), Some(lower)) = (old, &self.lower) {
            let lower = Entry { dir: lower.top(), name, stat: old };
            if same(&lower, &upper, self.options)? {
                return self.archive.unchanged(&self.path, &upper);
            }
        }
        self.archive.changed(&self.path, &upper)
    }

    fn enter(&mut self, name: &OsStr, has_lower: bool) -> Result<()> {
        let entered = self.upper.push(name);
        entered.map_err(|cause| error::sys("open the directory", cause))?;
        match &mut self.lower {
            Some(lower) if has_lower => {
                lower.push(name).map_err(|cause| error::sys("open the directory below", cause))
            }
            _ => Ok(()),
        }
    }

    fn leave(&mut self, has_lower: bool) -> Result<()> {
        let left = self.upper.pop().map_err(|cause| error::sys("go back up", cause));
        left.map_err(|cause| error::at(&self.path, cause))?;
        match &mut self.lower {
            Some(lower) if has_lower => {
                let left = lower.pop().map_err(|cause| error::sys("go back up", cause));
                left.map(drop).map_err(|cause| error::at(&self.path, cause))
            }
            _ => Ok(()),
        }
    }

    /// The entries of the directory that both stacks are at.
    fn frame(&self, has_lower: bool, mark: Mark) -> Result<Frame> {
        let mut names = BTreeMap::new();
        if let (Some(lower), true) = (&self.lower, has_lower)
            && (self.form == Form::Merged || mark == Mark::Opaque)
        {
            self.list(lower, |name| {
                names.insert(name, false);
            })?;
        }
        self.list(&self.upper, |name| {
            names.insert(name, true);
        })?;
        let names = names.into_iter().rev().collect();
        Ok(Frame { names, lower: has_lower, path: self.path.len() })
    }

    fn list(&self, dir: &DirStack, mut take: impl FnMut(OsString)) -> Result<()> {
        let unreadable = |cause| error::sys("read the directory", cause);
        for entry in fs::read_dir(dir.top()).map_err(unreadable)? {
            self.options.check_cancelled()?;
            take(entry.map_err(unreadable)?.name);
        }
        Ok(())
    }

    /// What overlayfs has written on an entry.
    fn mark(&self, name: &OsStr, kind: FileKind) -> Result<Mark, Failure> {
        let Form::Upper { prefix } = self.form else { return Ok(Mark::None) };
        if !matches!(kind, FileKind::Dir | FileKind::File) {
            return Ok(Mark::None);
        }
        let dir = self.upper.top();
        let unreadable = |cause| error::sys("read its attributes", cause);
        let mut mark = Mark::None;
        for attribute in xattr::list_at(dir, name).map_err(unreadable)? {
            match attribute.as_bytes().strip_prefix(prefix.as_bytes()) {
                Some(b"opaque") => {
                    let value = xattr::get_at(dir, name, &attribute).map_err(unreadable)?;
                    if value.as_deref() != Some(b"y") {
                        return Err(Failure::NeedsMount);
                    }
                    mark = Mark::Opaque;
                }
                Some(b"redirect" | b"metacopy" | b"whiteout") => return Err(Failure::NeedsMount),
                _ => {}
            }
        }
        Ok(mark)
    }
}
