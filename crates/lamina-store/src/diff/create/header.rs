//! The header of one entry, byte for byte as Go's `archive/tar` writes it for containerd: ustar
//! where that can say all of it (POSIX.1-1988), otherwise PAX records before a header that says
//! what it can (POSIX.1-2001). A layer has the digest that the same tree has elsewhere.

use std::borrow::Cow;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    File,
    /// A further name of a file that the archive has already.
    Link,
    Symlink,
    Char,
    Block,
    Dir,
    Fifo,
}

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Header<'a> {
    pub(super) kind: Type,
    /// Relative, without `.` and `..`; a directory's ends in `/`.
    pub(super) path: Cow<'a, [u8]>,
    /// What a link leads to.
    pub(super) target: Cow<'a, [u8]>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes that follow.
    pub(super) size: u64,
    /// Whole seconds since 1970.
    pub(super) modified: i64,
    pub(super) device: (u32, u32),
    /// The attribute `security.capability`, the only one that goes into a layer.
    pub(super) capability: Option<&'a [u8]>,
}

/// The unit of the archive.
pub(super) const BLOCK: usize = 512;

impl Header<'_> {
    /// Appends the entry's blocks.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut records = Records::default();
        let split = split(&self.path);
        if !is_ascii(&self.path) || self.path.len() > NAME {
            records.add("path", &self.path, split.is_some());
        }
        if !is_ascii(&self.target) || self.target.len() > NAME {
            records.add("linkpath", &self.target, false);
        }
        let numbers = [
            ("uid", i128::from(self.uid), 7),
            ("gid", i128::from(self.gid), 7),
            ("size", i128::from(self.size), 11),
            ("mtime", i128::from(self.modified), 11),
        ];
        for (key, value, digits) in numbers {
            if !fits(value, digits) {
                records.add(key, value.to_string().as_bytes(), false);
            }
        }
        if let Some(value) = self.capability {
            records.add("SCHILY.xattr.security.capability", value, false);
        }
        let mut block = [0; BLOCK];
        if records.needed {
            self.encode_records(records, out);
            self.fill(&mut block, &plain(&self.path));
        } else if let Some((prefix, name)) = split {
            self.fill(&mut block, name);
            text(&mut block[345..500], prefix);
        } else {
            self.fill(&mut block, &self.path);
        }
        seal(&mut block);
        out.extend_from_slice(&block);
    }

    /// The entry of type `x` whose content is the records.
    fn encode_records(&self, records: Records, out: &mut Vec<u8>) {
        let content = records.text();
        let mut block = [0; BLOCK];
        let name = records_name(&self.path);
        let name = plain(&name);
        let cut = &name[..name.len().min(NAME)];
        let end = cut.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        text(&mut block[..100], &cut[..end]);
        for (from, to) in [(100, 108), (108, 116), (116, 124), (136, 148)] {
            octal(&mut block[from..to], 0);
        }
        octal(&mut block[124..136], content.len() as i128);
        block[156] = b'x';
        seal(&mut block);
        out.extend_from_slice(&block);
        out.extend_from_slice(&content);
        out.resize(out.len() + padding(content.len() as u64), 0);
    }

    fn fill(&self, block: &mut [u8; BLOCK], name: &[u8]) {
        text(&mut block[..100], name);
        octal(&mut block[100..108], i128::from(self.mode));
        octal(&mut block[108..116], i128::from(self.uid));
        octal(&mut block[116..124], i128::from(self.gid));
        octal(&mut block[124..136], i128::from(self.size));
        octal(&mut block[136..148], i128::from(self.modified));
        block[156] = match self.kind {
            Type::File => b'0',
            Type::Link => b'1',
            Type::Symlink => b'2',
            Type::Char => b'3',
            Type::Block => b'4',
            Type::Dir => b'5',
            Type::Fifo => b'6',
        };
        text(&mut block[157..257], &plain(&self.target));
        octal(&mut block[329..337], i128::from(self.device.0));
        octal(&mut block[337..345], i128::from(self.device.1));
    }
}

/// How many bytes fill the last block of so much content.
pub(super) fn padding(len: u64) -> usize {
    ((BLOCK as u64 - len % BLOCK as u64) % BLOCK as u64) as usize
}

/// PAX records, and whether the entry cannot do without them.
#[derive(Default)]
struct Records {
    all: Vec<(&'static str, Vec<u8>)>,
    needed: bool,
}

impl Records {
    /// `spare`: ustar has another way to say it.
    fn add(&mut self, key: &'static str, value: &[u8], spare: bool) {
        self.all.push((key, value.to_vec()));
        self.needed |= !spare;
    }

    fn text(mut self) -> Vec<u8> {
        self.all.sort_by_key(|(key, _)| *key);
        let mut text = Vec::new();
        for (key, value) in &self.all {
            // The length counts itself.
            let rest = key.len() + value.len() + 3;
            let mut len = rest + rest.to_string().len();
            while rest + len.to_string().len() != len {
                len = rest + len.to_string().len();
            }
            text.extend_from_slice(format!("{len} {key}=").as_bytes());
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        text
    }
}

/// `dir/PaxHeaders.0/name`.
fn records_name(path: &[u8]) -> Vec<u8> {
    let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    [dir, b"PaxHeaders.0/", name].concat()
}

/// Where ustar can cut a path that is too long for its name field.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME || !is_ascii(path) {
        return None;
    }
    let within = match path.len() {
        len if len > PREFIX + 1 => PREFIX + 1,
        len if path.ends_with(b"/") => len - 1,
        len => len,
    };
    let slash = path[..within].iter().rposition(|byte| *byte == b'/').filter(|at| *at > 0)?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!name.is_empty() && name.len() <= NAME).then_some((prefix, name))
}

fn is_ascii(text: &[u8]) -> bool {
    text.iter().all(|byte| (1..0x80).contains(byte))
}

/// What of a text a field can hold whose record says all of it.
fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    if is_ascii(text) {
        return text.into();
    }
    text.iter().copied().filter(|byte| (1..0x80).contains(byte)).collect()
}

/// Whether a number has at most so many octal digits.
fn fits(value: i128, digits: u32) -> bool {
    (0..1 << (3 * digits)).contains(&value)
}

/// Fills a field with text, a NUL behind it if there is room. A text that is cut does not end in a
/// slash: some readers would take it for a directory.
fn text(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
    if text.len() > len && field.last() == Some(&b'/') {
        let kept = field.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        // As Go: the slashes before that one stay.
        field[kept] = 0;
    }
}

/// A number in octal; 0 for one that does not fit, which has a record.
fn octal(field: &mut [u8], value: i128) {
    let digits = field.len() - 1;
    let value = if fits(value, digits as u32) { value } else { 0 };
    let shown = format!("{value:0digits$o}\0");
    field.copy_from_slice(shown.as_bytes());
}

/// Magic, version, and the sum over the block with blanks in its own place.
fn seal(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    octal(&mut block[148..155], i128::from(sum));
}

/// Bytes of the field for a name.
const NAME: usize = 100;
/// Bytes of the field for what comes before the name.
const PREFIX: usize = 155;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &[u8]) -> Header<'_> {
        Header {
            kind: Type::File,
            path: path.into(),
            target: Cow::default(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            modified: 0,
            device: (0, 0),
            capability: None,
        }
    }

    fn encoded(header: &Header<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out.len() % BLOCK, 0);
        out
    }

    /// The records of an entry, if it has any.
    fn records(bytes: &[u8]) -> String {
        if bytes.len() == BLOCK {
            return String::new();
        }
        assert_eq!(bytes[156], b'x');
        let content = &bytes[BLOCK..bytes.len() - BLOCK];
        let end = content.iter().rposition(|byte| *byte == b'\n').unwrap();
        content[..=end].escape_ascii().to_string()
    }

    #[test]
    fn a_plain_entry_is_one_block() {
        let found = encoded(&Header { uid: 0o1234567, size: 5, ..header(b"dir/file") });
        assert_eq!(found.len(), BLOCK);
        assert!(found.starts_with(b"dir/file\0"));
        assert_eq!(&found[100..124], b"0000644\x001234567\x000000000\0");
        assert_eq!(&found[124..148], b"00000000005\x0000000000000\0");
        assert_eq!(&found[156..157], b"0");
        assert_eq!(&found[257..265], b"ustar\x0000");
        assert_eq!(&found[329..345], b"0000000\x000000000\0");
        // Six digits, NUL, blank.
        assert_eq!(&found[154..156], b"\0 ");
        let sum: u32 = found.iter().map(|byte| u32::from(*byte)).sum::<u32>()
            - found[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
            + 8 * 32;
        assert_eq!(&found[148..154], format!("{sum:06o}").as_bytes());
    }

    #[test]
    fn records_say_what_ustar_cannot() {
        let long = "x".repeat(101);
        for (entry, want) in [
            (header(b"a\xffb"), "12 path=a\\xffb\\n".to_owned()),
            (header(b"a\nb"), String::new()),
            (header(long.as_bytes()), format!("111 path={long}\\n")),
            (Header { uid: 0o10000000, ..header(b"a") }, "15 uid=2097152\\n".into()),
            (Header { gid: u32::MAX - 1, ..header(b"a") }, "18 gid=4294967294\\n".into()),
            (Header { size: 8 << 30, ..header(b"a") }, "19 size=8589934592\\n".into()),
            (Header { modified: -1, ..header(b"a") }, "12 mtime=-1\\n".into()),
            (Header { modified: 8 << 30, ..header(b"a") }, "20 mtime=8589934592\\n".into()),
            (
                Header { target: long.as_bytes().into(), ..header(b"a") },
                format!("115 linkpath={long}\\n"),
            ),
            (
                Header { capability: Some(b"\0="), modified: -5, ..header(b"a") },
                "39 SCHILY.xattr.security.capability=\\x00=\\n12 mtime=-5\\n".into(),
            ),
        ] {
            assert_eq!(records(&encoded(&entry)), want, "{entry:?}");
        }
    }

    #[test]
    fn long_paths_are_cut_where_ustar_can() {
        let path = |dir: usize, name: usize| format!("{}/{}", "d".repeat(dir), "n".repeat(name));
        for (dir, name, cut) in
            [(50, 60, true), (155, 100, true), (156, 100, false), (155, 101, false), (1, 100, true)]
        {
            let path = path(dir, name);
            let found = encoded(&header(path.as_bytes()));
            assert_eq!(found.len() == BLOCK, cut, "{dir} {name}");
            if cut {
                assert_eq!(&found[345..345 + dir], "d".repeat(dir).as_bytes());
                assert_eq!(&found[..name], "n".repeat(name).as_bytes());
            }
        }
        // The slash at the end of a directory is not where it is cut.
        let path = format!("{}/{}/", "d".repeat(30), "n".repeat(90));
        let found = encoded(&header(path.as_bytes()));
        assert_eq!(&found[345..375], "d".repeat(30).as_bytes());
        assert_eq!(&found[..91], format!("{}/", "n".repeat(90)).as_bytes());
        // One that only a record can hold has as much as fits in the field, and no slash at its end.
        let path = format!("{}/{}", "d".repeat(99), "n".repeat(101));
        let found = encoded(&header(path.as_bytes()));
        let main = &found[found.len() - BLOCK..];
        assert_eq!(&main[..100], format!("{}\0", "d".repeat(99)).as_bytes());
    }

    #[test]
    fn names_of_records() {
        for (path, name) in
            [("a", "PaxHeaders.0/a"), ("a/b", "a/PaxHeaders.0/b"), ("a/b/", "a/b/PaxHeaders.0")]
        {
            let found = encoded(&Header { modified: -1, ..header(path.as_bytes()) });
            assert!(found.starts_with(format!("{name}\0").as_bytes()), "{path}");
        }
    }
}
