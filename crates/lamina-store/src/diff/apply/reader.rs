//! A tar stream, entry by entry.
//!
//! Owns the position in the stream: after each entry its content, read or not, and its padding
//! are passed before the next header. The archive ends with two zero blocks, or where the stream
//! ends between two entries; a zero block followed by anything else is refused, because tar
//! readers disagree about what comes after it.

use std::io::BufRead;

use lamina_core::{Error, Result};
use tar_core::parse::{Limits as ParserLimits, ParseError, ParseEvent, Parser};

use super::header::{self, BLOCK, Parsed, Record};
use super::options::Limits;
use crate::diff::compression;

/// Reads entries from `input`.
#[derive(Debug)]
pub(super) struct TarReader<'a, R> {
    input: R,
    limits: &'a Limits,
    parser: Parser,
    /// Header blocks, and what was read behind them; `passed` of it is done with.
    head: Vec<u8>,
    passed: usize,
    /// Bytes left of the entry's content, and zeros behind it.
    left: u64,
    padding: u64,
    entries: u64,
}

impl<'a, R: BufRead> TarReader<'a, R> {
    pub(super) fn new(input: R, limits: &'a Limits) -> Self {
        let mut parser = Parser::new(ParserLimits {
            max_metadata_size: limits.metadata_bytes,
            max_path_len: Some(limits.path_bytes),
            max_sparse_entries: limits.sparse_regions,
            ..ParserLimits::default()
        });
        // An empty path means the root. PAX values are checked by `Record`, which knows more.
        parser.set_allow_empty_path(true);
        parser.set_ignore_pax_errors(true);
        TarReader {
            input,
            limits,
            parser,
            head: Vec::new(),
            passed: 0,
            left: 0,
            padding: 0,
            entries: 0,
        }
    }

    /// The next entry; `None` at the end of the archive.
    ///
    /// # Errors
    /// InvalidArgument for what is no tar archive, DataLoss for one that ends too early,
    /// ResourceExhausted over a limit, and the input's own.
    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        self.skip_content()?;
        loop {
            self.head.drain(..self.passed);
            self.passed = 0;
            let (consumed, record) = match self.read_headers()? {
                Found::End => return Ok(None),
                Found::Global(consumed) => (consumed, None),
                Found::Record(consumed, record) => (consumed, Some(record)),
            };
            self.passed = consumed;
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(Error::resource_exhausted(format!(
                    "the layer has more than the {} entries allowed",
                    self.limits.entries
                )));
            }
            if let Some(record) = record {
                self.left = record.stored;
                self.padding = record.stored.next_multiple_of(BLOCK as u64) - record.stored;
                return Ok(Some(record));
            }
        }
    }

    /// How many entries were read.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// What comes next of the entry's content, at most `most` bytes and as many as lie in one
    /// buffer; empty at its end. [`consume`](Self::consume) what was used.
    pub(super) fn content(&mut self, most: u64) -> Result<&[u8]> {
        let most = most.min(self.left);
        if most == 0 {
            return Ok(&[]);
        }
        let rest = self.peek(most)?;
        if rest.is_empty() {
            return Err(cut_off("in the middle of a file"));
        }
        Ok(rest)
    }

    /// Says that `len` bytes of what [`content`](Self::content) gave were used.
    pub(super) fn consume(&mut self, len: usize) {
        self.pass(len);
        self.left = self.left.saturating_sub(len as u64);
    }

    /// Reads what lies behind the archive, so that all of it is hashed.
    pub(super) fn drain(mut self, check: impl Fn() -> Result<()>) -> Result<()> {
        loop {
            check()?;
            let len = fill(&mut self.input)?.len();
            if len == 0 {
                return Ok(());
            }
            self.input.consume(len);
        }
    }

    fn skip_content(&mut self) -> Result<()> {
        while self.left > 0 {
            let len = self.content(u64::MAX)?.len();
            self.consume(len);
        }
        // A stream may end where only zeros are missing.
        while self.padding > 0 {
            let len = self.peek(self.padding)?.len();
            if len == 0 {
                break;
            }
            self.pass(len);
            self.padding -= len as u64;
        }
        self.padding = 0;
        Ok(())
    }

    /// At most `most` bytes of what comes next; empty only at the end of the stream.
    fn peek(&mut self, most: u64) -> Result<&[u8]> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let rest = match self.passed < self.head.len() {
            true => &self.head[self.passed..],
            false => fill(&mut self.input)?,
        };
        Ok(&rest[..rest.len().min(most)])
    }

    fn pass(&mut self, len: usize) {
        match self.passed < self.head.len() {
            true => self.passed += len,
            false => self.input.consume(len),
        }
    }

    fn read_headers(&mut self) -> Result<Found> {
        loop {
            if self.head.get(..BLOCK).is_some_and(is_zero) {
                return self.read_end();
            }
            let wanted = match self.parser.parse(&self.head) {
                Ok(ParseEvent::NeedData { min_bytes }) => min_bytes.max(self.head.len() + 1),
                Ok(ParseEvent::End { .. }) => return Ok(Found::End),
                Ok(ParseEvent::GlobalExtensions { consumed, pax_data }) => {
                    header::check_global(&self.head, pax_data)?;
                    return Ok(Found::Global(consumed));
                }
                Ok(ParseEvent::Entry { consumed, entry }) => {
                    let blocks = self.head.get(..consumed).unwrap_or_default();
                    let parsed = Parsed { entry, sparse: None, blocks };
                    return Ok(Found::Record(consumed, Record::new(parsed, self.limits)?));
                }
                Ok(ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size }) => {
                    let blocks = self.head.get(..consumed).unwrap_or_default();
                    let parsed = Parsed { entry, sparse: Some((sparse_map, real_size)), blocks };
                    return Ok(Found::Record(consumed, Record::new(parsed, self.limits)?));
                }
                Err(cause) => return Err(refused(self.entries, cause)),
            };
            if wanted as u64 > self.most_head() {
                return Err(Error::resource_exhausted(
                    "the headers of one layer entry are too large",
                ));
            }
            // The parser begins anew each time, so long headers are read in growing steps. What is
            // read too far is content, and is taken from `head`.
            let step = if self.head.len() > LONG_HEAD { self.head.len() / 2 } else { 0 };
            self.extend_head(wanted.max(self.head.len() + step))?;
            if self.head.len() < wanted {
                if self.head.is_empty() {
                    return Ok(Found::End);
                }
                return Err(cut_off("in the middle of a header"));
            }
        }
    }

    /// Behind the first zero block: another one, or the end of the stream.
    fn read_end(&mut self) -> Result<Found> {
        self.extend_head(2 * BLOCK)?;
        match self.head.get(BLOCK..2 * BLOCK) {
            Some(second) if !is_zero(second) => Err(Error::invalid_argument(
                "the layer has a zero block between entries, which tar readers disagree about",
            )),
            _ => Ok(Found::End),
        }
    }

    /// Extension headers, long names and the sparse map in front of one entry.
    fn most_head(&self) -> u64 {
        /// A region in decimal digits or in a header's descriptor, with what is left empty there.
        const REGION: u64 = 64;
        let regions = self.limits.sparse_regions as u64;
        2 * u64::from(self.limits.metadata_bytes) + regions * REGION + 64 * BLOCK as u64
    }

    /// Reads until `head` has `wanted` bytes, or the stream ends.
    fn extend_head(&mut self, wanted: usize) -> Result<()> {
        while self.head.len() < wanted {
            let rest = fill(&mut self.input)?;
            if rest.is_empty() {
                return Ok(());
            }
            let len = rest.len().min(wanted - self.head.len());
            self.head.extend_from_slice(&rest[..len]);
            self.input.consume(len);
        }
        Ok(())
    }
}

/// A sparse map or records longer than this are read in growing steps.
const LONG_HEAD: usize = 16 * 1024;

/// What the headers turned out to be, and how many bytes they are.
enum Found {
    End,
    Global(usize),
    Record(usize, Record),
}

fn fill(input: &mut impl BufRead) -> Result<&[u8]> {
    // Twice, because a slice from inside a retry loop cannot be returned (rust-lang issue 51545).
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(compression::error(cause)),
        }
    }
    input.fill_buf().map_err(compression::error)
}

fn refused(entries: u64, cause: ParseError) -> Error {
    let over = matches!(
        cause,
        ParseError::MetadataTooLarge { .. }
            | ParseError::TooManyPendingEntries { .. }
            | ParseError::TooManySparseEntries { .. }
    );
    let place = match entries {
        0 => "the layer does not begin like a tar archive".to_string(),
        entries => format!("the layer's header after {entries} entries cannot be read"),
    };
    match over {
        true => Error::resource_exhausted(place).with_source(cause),
        false => Error::invalid_argument(place).with_source(cause),
    }
}

fn cut_off(place: &str) -> Error {
    Error::data_loss(format!("the layer ends {place}"))
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}
