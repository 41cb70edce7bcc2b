//! `lamina task ps`

use clap::Args;
use lamina_core::Result;

use crate::cli::Context;
use crate::out::{FormatArg, Table};
use crate::verb::tasks::Tasks;

/// Lists the processes of a container by their numbers on this host
#[derive(Debug, Args)]
pub(crate) struct Ps {
    #[command(flatten)]
    format: FormatArg,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Ps {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let tasks = Tasks::reach(cx).await?;
        let found = tasks.service.list_pids(&self.id).await;
        tasks.close().await;
        let mut pids: Vec<u32> = found?.into_iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        if self.format.is_json() {
            return cx.out.json(&pids);
        }
        let mut table = Table::new(["PID", "INFO"]);
        for pid in pids {
            table.row([&pid.to_string(), "-"]);
        }
        cx.line(table)
    }
}
