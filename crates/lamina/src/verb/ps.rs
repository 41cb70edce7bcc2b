//! `lamina ps`

use std::collections::BTreeMap;

use clap::Args;
use lamina_core::task::Status;
use lamina_core::{Filters, Result};
use serde::Serialize;

use super::tasks::Tasks;
use crate::cli::Context;
use crate::out::{FormatArg, Table, visible};

/// Lists containers that run
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Those that do not run, too
    #[arg(long, short)]
    all: bool,
    /// Print only identifiers
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// A container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    image: String,
    /// 0 for none.
    #[serde(rename = "PID")]
    pid: u32,
    /// A hyphen without a task.
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_status: Option<u32>,
}

impl Ps {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let records = {
            let session = cx.connect().await?;
            let tasks = Tasks::make(cx, &session)?;
            let reconciled = tasks.reconcile().await;
            tasks.close().await;
            reconciled?;
            session.containers(&cx.scope()).list(Filters::default()).await?
        };
        let tasks = Tasks::reach(cx).await?;
        let processes = tasks.service.list().await;
        tasks.close().await;
        let processes = processes?.into_iter();
        let mut processes: BTreeMap<_, _> =
            processes.map(|process| (process.id.container.clone(), process)).collect();
        let rows = records.into_iter().filter_map(|record| {
            let process = processes.remove(&record.id);
            let status = process.as_ref().map(|process| process.status);
            let runs = matches!(status, Some(Status::Running | Status::Paused | Status::Pausing));
            (self.all || runs).then(|| Row {
                id: record.id,
                image: record.image,
                pid: process.as_ref().map_or(0, |process| process.pid),
                status: status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
                exit_status: process.and_then(|process| process.exit).map(|exit| exit.status),
            })
        });
        let rows: Vec<Row> = rows.collect();
        if self.quiet {
            return rows.iter().try_for_each(|row| cx.line(visible(&row.id)));
        }
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        let mut table = Table::new(["CONTAINER", "IMAGE", "PID", "STATUS"]);
        for row in &rows {
            table.row([&*row.id, &row.image, &row.pid.to_string(), &row.status]);
        }
        cx.line(table)
    }
}
