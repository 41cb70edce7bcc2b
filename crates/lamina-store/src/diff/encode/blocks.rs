//! The producer's end: bytes become blocks.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lamina_core::{Error, Result};

use super::Block;
use super::pack;
use crate::diff::compression::Compression;

/// Takes the stream. What is written is passed on when a block is full.
pub struct Blocks<'a> {
    take: &'a mut dyn FnMut(Block) -> Result<()>,
    bytes: Vec<u8>,
    before: Vec<u8>,
    len: usize,
    history: usize,
    first: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(
        compression: Compression,
        take: &'a mut dyn FnMut(Block) -> Result<()>,
    ) -> Self {
        let (len, history) = (pack::block_len(compression), pack::history_len(compression));
        Blocks { take, bytes: Vec::new(), before: Vec::new(), len, history, first: true }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Aborted when the other end is gone; it knows why.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.bytes.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Appends the first `len` bytes of a file, which are not copied on the way. Answers how many it
    /// had, if fewer. `more` is asked before each piece.
    ///
    /// # Errors
    /// Those of `more`; `unread` of an error of the file; Aborted when the other end is gone.
    pub fn copy(
        &mut self,
        file: &File,
        len: u64,
        more: &mut dyn FnMut() -> Result<()>,
        unread: &dyn Fn(io::Error) -> Error,
    ) -> Result<u64> {
        let mut done = 0;
        while done < len {
            more()?;
            let room = self.room()?.min(usize::try_from(len - done).unwrap_or(usize::MAX));
            let start = self.bytes.len();
            self.bytes.resize(start + room, 0);
            let read = file.read_at(&mut self.bytes[start..], done);
            self.bytes.truncate(start + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(read) => done += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unread(error)),
            }
        }
        Ok(done)
    }

    /// Passes on what is left, marked as the end.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.pass_on(true)
    }

    /// Bytes that the block can still take, at least one.
    fn room(&mut self) -> Result<usize> {
        if self.bytes.len() == self.len {
            self.pass_on(false)?;
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.len);
        }
        Ok(self.len - self.bytes.len())
    }

    fn pass_on(&mut self, last: bool) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let history = bytes[bytes.len().saturating_sub(self.history)..].to_vec();
        let before = std::mem::replace(&mut self.before, history);
        let first = std::mem::replace(&mut self.first, false);
        (self.take)(Block { bytes, before, first, last })
    }
}

impl fmt::Debug for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("len", &self.len).finish_non_exhaustive()
    }
}
