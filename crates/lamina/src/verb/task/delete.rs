//! `lamina task delete`

use clap::Args;
use lamina_core::Result;

use crate::cli::{Context, each};
use crate::out::visible;
use crate::verb::tasks::Tasks;

/// Deletes tasks that have ended, and prints their containers, which stay
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(crate) struct Delete {
    /// Kill those that run
    #[arg(long, short)]
    force: bool,
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Delete {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let tasks = Tasks::make(cx, &session)?;
        tasks.reconcile().await?;
        let deleted = each(&self.ids, async |id| {
            if self.force {
                tasks.kill_surely(cx, id).await?;
            }
            match tasks.service.delete(id).await {
                // Killed with its shim.
                Err(error) if !(self.force && error.is_not_found()) => return Err(error),
                _ => {}
            }
            cx.line(visible(id))
        })
        .await;
        tasks.close().await;
        deleted
    }
}
