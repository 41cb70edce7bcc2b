//! What a program writes that nobody is attached to: one JSON object a line, in the form that Docker's
//! and nerdctl's driver `json-file` have, so that what reads those reads these.

pub(in crate::verb) mod follow;
pub(in crate::verb) mod read;
pub(in crate::verb) mod write;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The most bytes of a file, and how many older ones there are: one.
pub(in crate::verb) const FILE_BYTES: u64 = 16 << 20;

/// Some of a stream, in general a line; a mark has no text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::verb) struct Entry {
    /// The text, with its newline; one without goes on in the next entry of the stream.
    pub(in crate::verb) log: String,
    pub(in crate::verb) stream: Stream,
    pub(in crate::verb) time: jiff::Timestamp,
}

impl Entry {
    /// Whether it says only that all that was written before is above it.
    pub(in crate::verb) fn is_mark(&self) -> bool {
        self.log.is_empty()
    }
}

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::verb) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The file before the last rotation.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}
