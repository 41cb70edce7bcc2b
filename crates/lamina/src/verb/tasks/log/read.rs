//! Reading a log, also while it is written and rotated.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Entry, older};

/// The most of a line that is taken for an entry.
const ENTRY_BYTES: usize = 1 << 20;

/// A log that is read from its begin.
#[derive(Debug)]
pub(in crate::verb) struct Reader {
    path: PathBuf,
    /// The older file first.
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Reader {
    /// # Errors
    /// Those of opening it; NotFound when there is no log.
    pub(in crate::verb) fn open(path: &Path) -> io::Result<Reader> {
        let newest = File::open(path);
        let file = match File::open(older(path)) {
            Ok(older) => older,
            Err(_) => newest?,
        };
        Ok(Reader { path: path.to_owned(), file: BufReader::new(file), line: Vec::new() })
    }

    /// The next entry; none if there is none yet. Lines that are no entries are passed over.
    ///
    /// # Errors
    /// Those of reading.
    pub(in crate::verb) fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            self.file.read_until(b'\n', &mut self.line)?;
            if self.line.last() == Some(&b'\n') {
                let entry = serde_json::from_slice(&self.line);
                self.line.clear();
                if let Ok(entry) = entry {
                    return Ok(Some(entry));
                }
            } else if self.line.len() > ENTRY_BYTES {
                self.line.clear();
            } else if !self.next_file()? {
                // What is written now is not whole yet.
                return Ok(None);
            }
        }
    }

    /// Goes on with the file that came after a rotation, if all of this one was read.
    fn next_file(&mut self) -> io::Result<bool> {
        let newest = match File::open(&self.path) {
            Ok(newest) => newest,
            // Being rotated, or gone with its container.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let id = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
        if id(self.file.get_ref())? == id(&newest)? {
            return Ok(false);
        }
        // It was renamed after its last entry was written, which may be after we saw its end.
        if !self.file.fill_buf()?.is_empty() {
            return Ok(true);
        }
        self.line.clear();
        self.file = BufReader::new(newest);
        Ok(true)
    }
}
