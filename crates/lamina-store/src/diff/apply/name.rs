//! What an entry's name says: where it lies, and whether it is a deletion.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lamina_core::{Error, Result};

/// A path below the root as its text means it: no leading `/`, no empty component, no `.` or `..`
/// (`..` takes the component before it away and stops at the root).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath {
    bytes: Vec<u8>,
    /// Where the last component begins.
    base: usize,
}

impl EntryPath {
    /// Cleans a path; `None` if it is the root itself.
    ///
    /// # Errors
    /// InvalidArgument for a NUL, or a component longer than Linux takes.
    pub(super) fn parse(text: &[u8]) -> Result<Option<Self>> {
        if text.contains(&0) {
            return Err(Error::invalid_argument("a NUL in its path"));
        }
        let mut components: Vec<&[u8]> = Vec::new();
        for component in text.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => drop(components.pop()),
                name if name.len() > NAME_MAX => {
                    return Err(Error::invalid_argument("a component of its path is too long"));
                }
                name => components.push(name),
            }
        }
        let Some(last) = components.last() else { return Ok(None) };
        let len = last.len();
        let bytes = components.join(&b'/');
        Ok(Some(EntryPath { base: bytes.len() - len, bytes }))
    }

    /// The directory it lies in; empty if that is the root.
    pub(super) fn parent(&self) -> &[u8] {
        &self.bytes[..self.base.saturating_sub(1)]
    }

    /// Its last component.
    pub(super) fn base(&self) -> &OsStr {
        OsStr::from_bytes(&self.bytes[self.base..])
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.bytes))
    }
}

/// The directory a directory lies in, and its name there. The path is a clean one.
pub(super) fn split(path: &[u8]) -> (&[u8], &OsStr) {
    let (parent, base) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    (parent, OsStr::from_bytes(base))
}

/// What an entry's base name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletion<'a> {
    /// An ordinary entry.
    None,
    /// `.wh.X`: no X in this directory.
    Name(&'a OsStr),
    /// `.wh..wh..opq`: nothing from below in this directory.
    Opaque,
}

impl<'a> Deletion<'a> {
    /// Reads a base name; directories on the way are ordinary, whatever they are called.
    ///
    /// # Errors
    /// InvalidArgument for a deletion of the directory itself (`.wh.`, `.wh..`) or of the one it
    /// lies in (`.wh...`).
    pub(super) fn of(base: &'a OsStr) -> Result<Self> {
        match base.as_bytes().strip_prefix(b".wh.") {
            None => Ok(Deletion::None),
            Some(b".wh..opq") => Ok(Deletion::Opaque),
            Some(b"" | b"." | b"..") => {
                Err(Error::invalid_argument("a whiteout that names no entry of its directory"))
            }
            Some(name) => Ok(Deletion::Name(OsStr::from_bytes(name))),
        }
    }
}

/// `NAME_MAX` of Linux.
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        let long = "n".repeat(256);
        for (text, expected) in [
            ("a", Ok(Some(("", "a")))),
            ("a/b/c", Ok(Some(("a/b", "c")))),
            ("./a//b/./", Ok(Some(("a", "b")))),
            ("/etc/passwd", Ok(Some(("etc", "passwd")))),
            ("../../etc/passwd", Ok(Some(("etc", "passwd")))),
            ("a/../b", Ok(Some(("", "b")))),
            ("a/b/..", Ok(Some(("", "a")))),
            ("...", Ok(Some(("", "...")))),
            ("", Ok(None)),
            (".", Ok(None)),
            ("/", Ok(None)),
            ("a/../..", Ok(None)),
            ("a\0b", Err(())),
            (&long, Err(())),
        ] {
            let found = EntryPath::parse(text.as_bytes()).map_err(drop);
            let shown = found.as_ref().map(|path| {
                path.as_ref().map(|path| {
                    (std::str::from_utf8(path.parent()).unwrap(), path.base().to_str().unwrap())
                })
            });
            assert_eq!(shown.ok(), expected.ok(), "{text:?}");
        }
        assert_eq!(split(b"a/b"), (&b"a"[..], OsStr::new("b")));
        assert_eq!(split(b"a"), (&b""[..], OsStr::new("a")));
    }

    #[test]
    fn only_the_base_name_deletes() {
        let cases = [
            ("x", Ok(Deletion::None)),
            (".wh", Ok(Deletion::None)),
            (".wh.x", Ok(Deletion::Name(OsStr::new("x")))),
            (".wh..x", Ok(Deletion::Name(OsStr::new(".x")))),
            (".wh..wh.x", Ok(Deletion::Name(OsStr::new(".wh.x")))),
            (".wh..wh..opq", Ok(Deletion::Opaque)),
            (".wh..wh..opq2", Ok(Deletion::Name(OsStr::new(".wh..opq2")))),
            (".wh.", Err(())),
            (".wh..", Err(())),
            (".wh...", Err(())),
            (".wh....", Ok(Deletion::Name(OsStr::new("...")))),
        ];
        for (name, expected) in cases {
            assert_eq!(Deletion::of(OsStr::new(name)).map_err(drop), expected, "{name}");
        }
    }
}
