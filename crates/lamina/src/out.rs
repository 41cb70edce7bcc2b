//! Standard output and the forms in which things are printed.
//!
//! A reader who leaves early (`lamina content ls | head`) is no error: what is printed after that
//! goes nowhere, and the command still does all its work.

mod age;
mod format;
mod json;
mod size;
mod table;

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use lamina_core::{Error, Kind, Result};

pub(crate) use age::{age, parse_duration};
pub(crate) use format::FormatArg;
pub(crate) use json::{BlobView, IngestView, LeaseView, MountView, NamespaceView, SnapshotView};
pub(crate) use size::Sizes;
pub(crate) use table::{Table, visible};

/// Standard output.
#[derive(Debug)]
pub(crate) struct Out {
    /// `None` once the reader has left.
    stdout: Option<BufWriter<Stdout>>,
}

impl Out {
    pub(crate) fn stdout() -> Self {
        Out { stdout: Some(BufWriter::with_capacity(1 << 16, io::stdout())) }
    }

    /// Prints a line.
    ///
    /// # Errors
    /// Those of writing, save for a reader who left.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<()> {
        self.write(|out| writeln!(out, "{line}"))
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(|out| out.write_all(bytes))
    }

    /// Prints a value as indented JSON.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> Result<()> {
        let text = json::pretty(value)?;
        self.line(text)
    }

    /// Whether anybody still reads; without one, endless output may stop.
    pub(crate) fn is_read(&self) -> bool {
        self.stdout.is_some()
    }

    /// Sends on what is buffered.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.write(|out| out.flush())
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>,
    ) -> Result<()> {
        let Some(out) = &mut self.stdout else { return Ok(()) };
        match write(out) {
            Ok(()) => Ok(()),
            Err(error) => {
                // The buffer must not be written again when it is dropped.
                if let Some(out) = self.stdout.take() {
                    drop(out.into_parts());
                }
                match error.kind() {
                    ErrorKind::BrokenPipe => Ok(()),
                    ErrorKind::StorageFull => Err(failed(Kind::ResourceExhausted, error)),
                    _ => Err(failed(Kind::Unknown, error)),
                }
            }
        }
    }
}

fn failed(kind: Kind, error: io::Error) -> Error {
    Error::new(kind, "write to standard output").with_source(error)
}
