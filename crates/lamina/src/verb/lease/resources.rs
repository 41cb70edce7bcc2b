//! `lamina lease resources`

use clap::Args;
use lamina_core::Result;
use serde::Serialize;

use crate::cli::Context;
use crate::out::{FormatArg, Table};

/// Lists what a lease holds
#[derive(Debug, Args)]
pub(crate) struct Resources {
    /// The lease
    #[arg(value_name = "LEASE")]
    id: String,
    #[command(flatten)]
    format: FormatArg,
}

/// A row of the listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    r#type: String,
}

impl Resources {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let held = super::leases(cx, &session).resources(&self.id).await?;
        let rows: Vec<Row> =
            held.into_iter().map(|r| Row { id: r.id, r#type: r.kind.to_string() }).collect();
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        let mut table = Table::new(["TYPE", "ID"]);
        rows.iter().for_each(|row| table.row([&*row.r#type, &row.id]));
        cx.line(table)
    }
}
