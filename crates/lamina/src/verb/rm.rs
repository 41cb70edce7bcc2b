//! `lamina rm`

use std::time::Duration;

use clap::Args;
use lamina_core::Result;

use super::stop;
use super::tasks::{self, Tasks};
use crate::cli::{Context, each};
use crate::out::visible;

/// Removes containers with what they have written, and prints them
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill those that run
    #[arg(long, short)]
    force: bool,
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = tasks::own(cx, "rm").await?;
        let tasks = Tasks::reach(cx)?;
        let containers = session.containers(&cx.scope());
        let removed = each(&self.ids, async |id| {
            let container = containers.get(id).await?;
            if self.force {
                stop::end(&tasks, id, 9, Duration::ZERO).await?;
            }
            tasks.remove(cx, &session, &container).await?;
            cx.line(visible(id))
        })
        .await;
        tasks.close().await;
        let collected = session.collect().await;
        removed.and(collected.map(drop))
    }
}
