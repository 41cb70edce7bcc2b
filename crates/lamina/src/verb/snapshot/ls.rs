//! `lamina snapshot ls`

use clap::Args;
use futures_util::TryStreamExt as _;
use lamina_core::{Filters, Result};

use crate::cli::Context;
use crate::out::{FormatArg, SnapshotView, Table};

/// Lists snapshots
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    #[command(flatten)]
    format: FormatArg,
    /// Only what one of these matches, such as kind==active
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Ls {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let filters = Filters::parse_all(&self.filters)?;
        let session = cx.connect().await?;
        let snapshots = cx.snapshotter(&session)?.walk(filters).try_concat().await?;
        if self.format.is_json() {
            let views: Vec<SnapshotView> = snapshots.into_iter().map(SnapshotView::from).collect();
            return cx.out.json(&views);
        }
        let mut table = Table::new(["KEY", "PARENT", "KIND"]);
        for snapshot in &snapshots {
            table.row([&*snapshot.name, &snapshot.parent, &snapshot.kind.to_string()]);
        }
        cx.line(table)
    }
}
