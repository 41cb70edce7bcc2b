//! Archives taken apart, to look at what a writer wrote: every field, and nothing made of it.

use std::collections::BTreeMap;
use std::fmt;

use super::header::BLOCK;

/// One entry as it is written.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    /// By its PAX record, or prefix and name.
    pub path: String,
    /// The type byte.
    pub kind: char,
    /// What a link leads to, by its PAX record or field.
    pub target: String,
    /// The fields as they are: mode, uid, gid, size, time, major, minor.
    pub fields: [String; 7],
    /// Names of owner and group.
    pub names: [String; 2],
    /// PAX records before it.
    pub records: BTreeMap<String, String>,
    /// What follows.
    pub content: Vec<u8>,
}

/// Takes a plain archive apart. Bytes that are no text are shown escaped.
///
/// # Panics
/// When it is none, or does not end with two blocks of zeros and nothing behind them.
pub fn list(archive: &[u8]) -> Vec<Listed> {
    let mut rest = archive;
    let mut found = Vec::new();
    let mut records: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let (block, after) = rest.split_at(BLOCK);
        if block.iter().all(|byte| *byte == 0) {
            assert_eq!(after, [0; BLOCK], "the end of the archive");
            assert!(records.is_empty(), "records without an entry");
            return found;
        }
        let text = |from: usize, to: usize| text(&block[from..to]);
        let kind = char::from(block[156]);
        let mut size = number(&text(124, 136));
        if let Some(longer) = records.get("size") {
            size = longer_size(longer);
        }
        let (content, after) = after.split_at(usize::try_from(size).expect("a size"));
        rest = &after[(BLOCK - content.len() % BLOCK) % BLOCK..];
        if kind == 'x' {
            records = pax(content);
            continue;
        }
        let prefix = text(345, 500);
        let name = text(0, 100);
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        found.push(Listed {
            path: records.get("path").cloned().unwrap_or(path),
            kind,
            target: records.get("linkpath").cloned().unwrap_or(text(157, 257)),
            fields: [
                text(100, 108),
                text(108, 116),
                text(116, 124),
                text(124, 136),
                text(136, 148),
                text(329, 337),
                text(337, 345),
            ],
            names: [text(265, 297), text(297, 329)],
            records: std::mem::take(&mut records),
            content: content.to_vec(),
        });
    }
}

impl Listed {
    /// Type and path, and what a link leads to.
    pub fn summary(&self) -> String {
        let Listed { kind, path, target, .. } = self;
        match target.as_str() {
            "" => format!("{kind} {path}"),
            target => format!("{kind} {path} -> {target}"),
        }
    }
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [mode, uid, gid, size, time, major, minor] = &self.fields;
        write!(f, "{} {mode} {uid}:{gid} {size} @{time} {major}:{minor}", self.summary())?;
        write!(f, " {:?} {:?} {} bytes", self.names, self.records, self.content.len())
    }
}

fn pax(mut content: &[u8]) -> BTreeMap<String, String> {
    let mut records = BTreeMap::new();
    while !content.is_empty() {
        let blank = content.iter().position(|byte| *byte == b' ').expect("a length");
        let len: usize = std::str::from_utf8(&content[..blank]).unwrap().parse().unwrap();
        let record = &content[blank + 1..len - 1];
        assert_eq!(content[len - 1], b'\n', "the end of a record");
        let equals = record.iter().position(|byte| *byte == b'=').expect("a key");
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        records.insert(key.escape_ascii().to_string(), value.escape_ascii().to_string());
        content = &content[len..];
    }
    records
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field[..end].escape_ascii().to_string()
}

fn number(octal: &str) -> u64 {
    u64::from_str_radix(octal.trim(), 8).unwrap_or_else(|_| panic!("{octal:?} is no number"))
}

fn longer_size(decimal: &str) -> u64 {
    decimal.parse().unwrap_or_else(|_| panic!("{decimal:?} is no size"))
}
