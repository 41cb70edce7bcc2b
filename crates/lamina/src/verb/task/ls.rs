//! `lamina task ls`

use clap::Args;
use lamina_core::Result;
use serde::Serialize;

use crate::cli::Context;
use crate::out::{FormatArg, Table, visible};
use crate::verb::tasks::Tasks;

/// Lists containers that have a task, whether it runs or has ended
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print only identifiers
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// A task.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "PID")]
    pid: u32,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_status: Option<u32>,
}

impl Ls {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let tasks = Tasks::reach(cx).await?;
        let found = tasks.service.list().await;
        tasks.close().await;
        let rows = found?.into_iter().map(|process| Row {
            id: process.id.container,
            pid: process.pid,
            status: process.status.to_string(),
            exit_status: process.exit.map(|exit| exit.status),
        });
        let rows: Vec<Row> = rows.collect();
        if self.quiet {
            return rows.iter().try_for_each(|row| cx.line(visible(&row.id)));
        }
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        let mut table = Table::new(["TASK", "PID", "STATUS"]);
        for row in &rows {
            table.row([&*row.id, &row.pid.to_string(), &row.status]);
        }
        cx.line(table)
    }
}
