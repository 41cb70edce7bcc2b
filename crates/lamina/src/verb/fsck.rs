//! `lamina fsck`

use clap::Args;
use lamina_core::{Error, Result};
use lamina_store::fsck::FsckOptions;

use crate::cli::Context;
use crate::out::{FormatArg, Table};

/// Compares the database with what lies on disk
///
/// Prints what is not as it should be: damage, garbage that nobody owns, and what is busy. The codes
/// are explained in docs/fsck.md. Fails unless nothing was found, or all of it was mended.
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Drop what nobody owns, try again what is busy, give up blobs with wrong bytes
    #[arg(long)]
    repair: bool,

    /// Read every blob and compare its digest; slow
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    format: FormatArg,
}

impl Fsck {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let options = FsckOptions { verify_blobs: self.verify, repair: self.repair };
        let report = cx.examine(options).await?;
        if self.format.is_json() {
            cx.out.json(&report)?;
        } else if report.findings.is_empty() {
            cx.line(format!(
                "clean: {} blobs, {} ingests, {} snapshots, {} names",
                report.blobs, report.ingests, report.snapshots, report.names
            ))?;
        } else {
            let mut table = Table::new(["SEVERITY", "CODE", "SUBJECT", "REPAIRED", "DETAIL"]);
            for finding in &report.findings {
                table.row([
                    finding.severity.as_str(),
                    finding.code.as_str(),
                    &finding.subject,
                    if finding.repaired { "yes" } else { "no" },
                    &finding.detail,
                ]);
            }
            cx.line(table)?;
        }
        let left = report.findings.iter().filter(|finding| !finding.repaired).count();
        match left {
            0 => Ok(()),
            _ => Err(Error::failed_precondition(format!("fsck: {left} findings are left"))),
        }
    }
}
