//! `lamina df`

use clap::Args;
use lamina_core::Result;
use lamina_store::disk::{self, Part};
use serde::Serialize;

use crate::cli::{Context, Session};
use crate::out::{FormatArg, Sizes, Table};

/// Shows what takes how much disk space
///
/// Sizes are the space allocated on disk, measured now. Snapshots that share blocks (btrfs, reflinks)
/// count them each.
#[derive(Debug, Args)]
pub(crate) struct Df {
    /// Print sizes in bytes
    #[arg(short, long)]
    bytes: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// A row of the listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    part: String,
    count: u64,
    size: u64,
}

impl Df {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let parts = match &session {
            Session::Daemon(daemon) => return Err(daemon.has_the_store("df")),
            Session::Store(store) => disk::parts(store)?,
        };
        if self.format.is_json() {
            let row = |part: Part| Row { part: part.name, count: part.entries, size: part.size };
            return cx.out.json(&parts.into_iter().map(row).collect::<Vec<_>>());
        }
        let sizes = Sizes::in_bytes(self.bytes);
        let mut table = Table::new(["PART", "COUNT", "SIZE"]);
        for part in &parts {
            table.row([&*part.name, &part.entries.to_string(), &sizes.show(part.size)]);
        }
        let count: u64 = parts.iter().map(|part| part.entries).sum();
        let size: u64 = parts.iter().map(|part| part.size).sum();
        table.row(["total", &count.to_string(), &sizes.show(size)]);
        cx.line(table)
    }
}
