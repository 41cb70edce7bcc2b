//! `lamina snapshot usage`

use clap::Args;
use futures_util::TryStreamExt as _;
use lamina_core::{Filters, Result};
use serde::Serialize;

use crate::cli::Context;
use crate::out::{FormatArg, Sizes, Table};

/// Shows the disk space of snapshots, their parents not counted
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Print sizes in bytes
    #[arg(short, long)]
    bytes: bool,
    #[command(flatten)]
    format: FormatArg,
    /// The snapshots; all of them if none is named
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
}

/// A row of the listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    key: String,
    size: i64,
    inodes: i64,
}

impl Usage {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let snapshotter = cx.snapshotter(&session)?;
        let all = self.keys.is_empty();
        let keys = match all {
            false => self.keys,
            true => {
                let infos = snapshotter.walk(Filters::default()).try_concat().await?;
                infos.into_iter().map(|info| info.name).collect()
            }
        };
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            match snapshotter.usage(&key).await {
                Ok(usage) => rows.push(Row { key, size: usage.size, inodes: usage.inodes }),
                // Removed since it was listed.
                Err(error) if all && error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        let sizes = Sizes::in_bytes(self.bytes);
        let mut table = Table::new(["KEY", "SIZE", "INODES"]);
        for row in &rows {
            let size = sizes.show(u64::try_from(row.size).unwrap_or(0));
            table.row([&*row.key, &size, &row.inodes.to_string()]);
        }
        cx.line(table)
    }
}
