//! Reading a directory.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, Mode, OFlags};

use super::attr::FileKind;
use crate::error::{Call, Result};

/// One entry, never `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name: any bytes but `/` and NUL.
    pub name: OsString,
    /// What it is, as far as the filesystem tells.
    pub kind: FileKind,
    /// Inode number; of what lies below it if it is a mount point.
    pub ino: u64,
}

/// The entries of a directory, in the filesystem's order. Entries made or removed while it runs
/// may or may not appear.
#[derive(Debug)]
pub struct ReadDir(Dir);

/// Reads `dir` from its start, through a descriptor of its own: the position of `dir` does not
/// matter and does not move. `dir` may be an `O_PATH` handle.
pub fn read_dir(dir: impl AsFd) -> Result<ReadDir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, ".", flags, Mode::empty()).call("openat")?;
    Ok(ReadDir(Dir::new(fd).call("getdents")?))
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Result<DirEntry>> {
        loop {
            let entry = match self.0.read()?.call("getdents") {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                return Some(Ok(DirEntry {
                    name: OsStr::from_bytes(name).to_owned(),
                    kind: FileKind::from(entry.file_type()),
                    ino: entry.ino(),
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fs;
    use crate::testing::TempDir;

    #[test]
    fn entries_come_with_kind_and_any_name() {
        let temp = TempDir::new();
        temp.mkdir("dir");
        temp.write("file", b"");
        fs::make_symlink("x", temp.fd(), "link").unwrap();
        let odd = OsStr::from_bytes(b"\xff\n");
        fs::create_file(temp.fd(), odd, 0o600).unwrap();
        let handle = fs::open_handle(temp.path()).unwrap();
        for _ in 0..2 {
            let found: BTreeMap<_, _> = read_dir(&handle)
                .unwrap()
                .map(|entry| entry.map(|entry| (entry.name, entry.kind)).unwrap())
                .collect();
            let expected: BTreeMap<OsString, FileKind> = [
                ("dir".into(), FileKind::Dir),
                ("file".into(), FileKind::File),
                ("link".into(), FileKind::Symlink),
                (odd.to_owned(), FileKind::File),
            ]
            .into();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn many_entries_are_all_seen_once() {
        let temp = TempDir::new();
        for n in 0..3000 {
            fs::make_node(
                temp.fd(),
                format!("a-rather-long-name-{n}"),
                FileKind::File,
                0o600,
                (0, 0),
            )
            .unwrap();
        }
        let names: std::collections::BTreeSet<_> =
            read_dir(temp.fd()).unwrap().map(|entry| entry.unwrap().name).collect();
        assert_eq!(names.len(), 3000);
    }
}
