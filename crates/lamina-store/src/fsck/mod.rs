//! fsck: whether rows and disk say the same, and whether blobs are what they are named.
//!
//! A store that was opened has dropped already what no row owns, so what is found in it is damage
//! (somebody else changed the files, or the disk lost them), or things that are busy; `Store::examine`
//! looks before that. `repair` drops
//! what no row owns and tries again what is busy; what is damaged is never dropped silently: a blob
//! whose bytes are wrong is taken from the namespaces that list it, so that it can be fetched again,
//! and everything else is left for a person to decide. The codes are in `docs/fsck.md`.

mod code;
mod content;
mod snapshots;
#[cfg(test)]
mod tests;

use lamina_core::Result;
use serde::Serialize;

pub use code::{Code, Severity};

use crate::Store;

/// How thorough to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Read every blob and compare its digest. Slow: reads all content once.
    pub verify_blobs: bool,
    /// Drop what no row owns, try again what is busy, give up blobs with wrong bytes.
    pub repair: bool,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Which blob, snapshot, row.
    pub subject: String,
    /// What is wrong with it.
    pub detail: String,
    /// Whether this run mended it.
    pub repaired: bool,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Findings in the order of the checks.
    pub findings: Vec<Finding>,
    /// Blobs looked at.
    pub blobs: u64,
    /// Ingests looked at.
    pub ingests: u64,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Names of snapshots looked at.
    pub names: u64,
}

impl Report {
    /// Whether nothing is left to be said: no finding, or all of them mended.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.repaired)
    }

    /// Findings with that code.
    pub fn with(&self, code: Code) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.code == code)
    }

    fn add(&mut self, code: Code, subject: impl ToString, detail: impl ToString) -> &mut Finding {
        let at = self.findings.len();
        self.findings.push(Finding {
            code,
            severity: code.severity(),
            subject: subject.to_string(),
            detail: detail.to_string(),
            repaired: false,
        });
        &mut self.findings[at]
    }
}

/// Checks the whole store. Others may go on using it; what changes meanwhile is looked at again
/// before it is reported.
///
/// # Errors
/// Those of the database and of the disk, when they keep a check from being made at all.
pub(crate) fn run(store: &Store, options: FsckOptions) -> Result<Report> {
    let mut report = Report::default();
    for line in store.db().check()? {
        report.add(Code::Database, "database", line);
    }
    content::check(store, options, &mut report)?;
    snapshots::check(store, options, &mut report)?;
    Ok(report)
}
