//! The mount table of this process: `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
//!
//! Mount points and sources are named by users, so every field is bytes: blanks, newlines and
//! backslashes come as octal escapes, and a line that does not parse is an error, not skipped.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Result, SysError, from_io};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Unique while mounted, may be used again afterwards.
    pub id: u64,
    /// The mount it is attached to; of the root its own or one outside.
    pub parent: u64,
    /// `st_dev` of files below, major and minor.
    pub dev: (u32, u32),
    /// The directory of the filesystem that is its root.
    pub root: PathBuf,
    /// Where it is attached, relative to the root of this process.
    pub mount_point: PathBuf,
    /// Options of this mount, comma separated.
    pub options: OsString,
    /// Tags such as `shared:5`.
    pub tags: Vec<OsString>,
    /// Filesystem type, with its subtype after a dot.
    pub fs_type: OsString,
    /// What it was mounted from: a device, or whatever the caller wrote.
    pub source: OsString,
    /// Options of the filesystem, comma separated.
    pub super_options: OsString,
}

impl MountEntry {
    /// Whether a word is among the options of this mount (not of the filesystem).
    pub fn has_option(&self, word: &str) -> bool {
        self.options.as_bytes().split(|byte| *byte == b',').any(|found| found == word.as_bytes())
    }
}

/// The mounts this process sees, in the order of mounting below each parent.
pub fn read() -> Result<Vec<MountEntry>> {
    let text = std::fs::read(TABLE).map_err(|error| from_io("read", &error).on(TABLE))?;
    parse(&text)
}

/// Parses the text of a mount table.
pub fn parse(text: &[u8]) -> Result<Vec<MountEntry>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            parse_line(line).ok_or_else(|| {
                SysError::new("parse", Errno::INVAL)
                    .on(TABLE)
                    .because(String::from_utf8_lossy(line))
            })
        })
        .collect()
}

/// The mount a path lies on: the entry with the longest mount point that is the path or an
/// ancestor, the topmost where several are stacked. The path must be absolute and canonical.
pub fn find<'a>(entries: &'a [MountEntry], path: &Path) -> Option<&'a MountEntry> {
    // Path::starts_with compares whole components. max_by_key keeps the last of equals, which
    // is the topmost.
    entries
        .iter()
        .filter(|entry| path.starts_with(&entry.mount_point))
        .max_by_key(|entry| entry.mount_point.as_os_str().len())
}

/// The mounts at or below a prefix, in the order in which they can be unmounted: deepest path
/// first, the topmost of a stack before what it covers.
pub fn below<'a>(entries: &'a [MountEntry], prefix: &Path) -> Vec<&'a MountEntry> {
    let mut found: Vec<_> =
        entries.iter().filter(|entry| entry.mount_point.starts_with(prefix)).collect();
    found.reverse();
    found.sort_by_key(|entry| std::cmp::Reverse(entry.mount_point.as_os_str().len()));
    found
}

/// Whether something is mounted exactly at a canonical path.
pub fn is_mount_point(entries: &[MountEntry], path: &Path) -> bool {
    entries.iter().any(|entry| entry.mount_point == path)
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    // 36 35 98:0 /root /point rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let mut dev = fields.next()?.split(|byte| *byte == b':');
    let dev = (number(dev.next()?)?, number(dev.next()?)?);
    let root = PathBuf::from(unescape(fields.next()?));
    let mount_point = PathBuf::from(unescape(fields.next()?));
    let options = unescape(fields.next()?);
    let mut tags = Vec::new();
    loop {
        match fields.next()? {
            b"-" => break,
            tag => tags.push(unescape(tag)),
        }
    }
    let fs_type = unescape(fields.next()?);
    // An empty source leaves two blanks in a row, so it is an empty field and not a missing one.
    let source = unescape(fields.next()?);
    let super_options = unescape(fields.next()?);
    Some(MountEntry {
        id,
        parent,
        dev,
        root,
        mount_point,
        options,
        tags,
        fs_type,
        source,
        super_options,
    })
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes `\ooo`, the kernel's escape for blank, tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, octal(tail)) {
            (b'\\', Some(value)) => {
                out.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

/// The word an option string gives for a key: `subvol=/a` in `rw,subvol=/a`.
pub fn option_value<'a>(options: &'a OsStr, key: &str) -> Option<&'a OsStr> {
    options.as_bytes().split(|byte| *byte == b',').find_map(|word| {
        let value = word.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
        Some(OsStr::from_bytes(value))
    })
}

const TABLE: &str = "/proc/self/mountinfo";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
1 1 0:2 / / rw shared:1 - ext4 /dev/vda rw,errors=remount-ro
20 1 0:30 / /a rw,nosuid - tmpfs tmpfs rw
21 20 0:31 /sub\\040dir /a/b\\012c\\134040 ro shared:2 master:1 propagate_from:3 - fuse.x\\040y  rw
22 1 0:32 / /ab rw - tmpfs none rw
23 20 0:33 / /a rw - tmpfs second rw
";

    #[test]
    fn every_field_and_escape() {
        let entries = parse(TEXT).unwrap();
        assert_eq!(entries.len(), 5);
        let hostile = &entries[2];
        assert_eq!(hostile.mount_point, Path::new("/a/b\nc\\040"));
        assert_eq!(hostile.root, Path::new("/sub dir"));
        assert_eq!(hostile.tags, ["shared:2", "master:1", "propagate_from:3"]);
        assert_eq!((hostile.id, hostile.parent, hostile.dev), (21, 20, (0, 31)));
        assert_eq!(hostile.fs_type, "fuse.x y");
        assert_eq!(hostile.source, "");
        assert_eq!(hostile.super_options, "rw");
        assert!(hostile.has_option("ro") && !hostile.has_option("r"));
    }

    #[test]
    fn the_longest_ancestor_wins_and_the_topmost_of_a_stack() {
        let entries = parse(TEXT).unwrap();
        let id = |path: &str| find(&entries, Path::new(path)).map(|entry| entry.id);
        assert_eq!(id("/abc"), Some(1));
        assert_eq!(id("/ab/c"), Some(22));
        assert_eq!(id("/a/x"), Some(23));
        assert_eq!(find(&[], Path::new("/")), None);
    }

    #[test]
    fn below_lists_in_unmount_order() {
        let entries = parse(TEXT).unwrap();
        let ids: Vec<_> = below(&entries, Path::new("/a")).iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [21, 23, 20]);
    }

    #[test]
    fn broken_lines_are_errors() {
        for line in ["x", "1 2 3 / / rw - a b c", "1 2 3:4 / / rw shared:1", "1 2 3:4 / / rw - a b"]
        {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
        }
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape(b"a\\9b\\"), "a\\9b\\");
        assert_eq!(unescape(b"\\777"), "\\777");
        assert_eq!(unescape(b"\\101"), "A");
    }

    #[test]
    fn own_table_has_a_root() {
        let entries = read().unwrap();
        assert!(find(&entries, Path::new("/")).is_some());
    }

    #[test]
    fn option_values() {
        let options = OsStr::new("rw,subvolid=5,subvol=/x");
        assert_eq!(option_value(options, "subvol"), Some(OsStr::new("/x")));
        assert_eq!(option_value(options, "sub"), None);
    }
}
