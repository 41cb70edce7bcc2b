//! Writing a log, with a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::mem::take;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;

use super::{Entry, Stream, older};

/// A line that is longer has several entries.
const LINE_BYTES: usize = 16 << 10;

/// A log that is written to. On a full disk entries are lost, and the program goes on.
#[derive(Debug)]
pub(in crate::verb) struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl Writer {
    /// Goes on with the file at `path`, which is renamed when it would get larger than `limit`.
    pub(in crate::verb) fn open(path: PathBuf, limit: u64) -> io::Result<Writer> {
        let file = open(&path)?;
        let size = file.metadata()?.len();
        Ok(Writer { path, file, size, limit })
    }

    /// Writes a mark.
    pub(in crate::verb) fn mark(&mut self) {
        // Who waits for it sees the logger end, too.
        let _ = self.write(Stream::Stdout, b"");
    }

    fn write(&mut self, stream: Stream, text: &[u8]) -> io::Result<()> {
        let log = String::from_utf8_lossy(text).into_owned();
        let entry = Entry { log, stream, time: Timestamp::now() };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        if self.size > 0 && self.size + line.len() as u64 > self.limit {
            fs::rename(&self.path, older(&self.path))?;
            self.file = open(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(&line).inspect_err(|_| {
            // Half a line would spoil the next one.
            let _ = self.file.set_len(self.size);
        })?;
        self.size += line.len() as u64;
        Ok(())
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// A stream on its way into a log: lines, and what is no line yet.
#[derive(Debug)]
pub(in crate::verb) struct Lines {
    stream: Stream,
    pending: Vec<u8>,
}

impl Lines {
    pub(in crate::verb) fn new(stream: Stream) -> Lines {
        Lines { stream, pending: Vec::new() }
    }

    /// Whether a line waits for its end.
    pub(in crate::verb) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes what was read, and writes the lines in it.
    pub(in crate::verb) fn take(&mut self, text: &[u8], log: &mut Writer) {
        self.pending.extend(text);
        let pending = take(&mut self.pending);
        let mut rest = &pending[..];
        while !rest.is_empty() {
            let end = match rest.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1).min(LINE_BYTES),
                None if rest.len() >= LINE_BYTES => LINE_BYTES,
                None => break,
            };
            // Only a line that is cut ends in the middle of a character.
            let end = if rest.get(end - 1) == Some(&b'\n') { end } else { whole(&rest[..end]) };
            self.put(&rest[..end], log);
            rest = &rest[end..];
        }
        self.pending = rest.to_vec();
    }

    /// Writes what is no line yet: a prompt, or the end. A character that is not whole waits, unless
    /// this is the end.
    pub(in crate::verb) fn flush(&mut self, end: bool, log: &mut Writer) {
        let pending = take(&mut self.pending);
        let cut = if end { pending.len() } else { whole(&pending) };
        if cut > 0 {
            self.put(&pending[..cut], log);
        }
        self.pending = pending[cut..].to_vec();
    }

    fn put(&self, text: &[u8], log: &mut Writer) {
        // There is nobody to tell, and the program must go on.
        let _ = log.write(self.stream, text);
    }
}

/// How much of a text there is without a character at its end that may not be whole.
fn whole(text: &[u8]) -> usize {
    match str::from_utf8(text) {
        // Nothing but the beginning of one: it is wrong, or it is all there will be.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::Reader;
    use super::*;

    fn logged(chunks: &[&[u8]], limit: u64) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c-json.log");
        let mut log = Writer::open(path.clone(), limit).unwrap();
        let mut lines = Lines::new(Stream::Stderr);
        for chunk in chunks {
            lines.take(chunk, &mut log);
        }
        lines.flush(true, &mut log);
        assert!(fs::metadata(&path).unwrap().len() <= limit);
        let (mut reader, mut found) = (Reader::open(&path).unwrap(), Vec::new());
        while let Some(entry) = reader.next().unwrap() {
            assert_eq!(entry.stream, Stream::Stderr);
            found.push(entry.log);
        }
        found
    }

    #[test]
    fn lines_are_entries_whatever_the_reads_were() {
        assert_eq!(logged(&[b"a\nb", b"c\n", b"\n\"d\\"], 1 << 20), ["a\n", "bc\n", "\n", "\"d\\"]);
        let long = vec![b'x'; LINE_BYTES + 5];
        let found = logged(&[&long, b"\n"], 1 << 20);
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES, 6]);
        assert_eq!(logged(&["ä".as_bytes().split_at(1).0, &[0xa4, b'\n']], 1 << 20), ["ä\n"]);
        assert_eq!(logged(&[b"\xff\xfe"], 1 << 20), ["\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn prompts_come_without_a_newline_and_characters_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let mut log = Writer::open(path.clone(), 1 << 20).unwrap();
        let mut lines = Lines::new(Stream::Stdout);
        lines.take(b"$ \xc3", &mut log);
        lines.flush(false, &mut log);
        lines.take(b"\xa4\n", &mut log);
        let mut reader = Reader::open(&path).unwrap();
        let mut next = || reader.next().unwrap().map(|entry| entry.log);
        assert_eq!((next(), next(), next()), (Some("$ ".into()), Some("ä\n".into()), None));
    }

    #[test]
    fn a_log_has_a_bound_and_the_latest_lines() {
        let lines: Vec<Vec<u8>> = (0..1000).map(|n| format!("line {n}\n").into_bytes()).collect();
        let chunks: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let found = logged(&chunks, 4096);
        assert!(found.len() < 200 && found.len() > 40, "{}", found.len());
        assert_eq!(found.last().unwrap(), "line 999\n");
        let first: usize = found[0].trim().strip_prefix("line ").unwrap().parse().unwrap();
        assert_eq!(found.len(), 1000 - first);
    }
}
