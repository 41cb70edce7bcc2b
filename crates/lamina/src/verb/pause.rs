//! `lamina pause`, `lamina unpause`

use clap::Args;
use lamina_core::Result;

use super::tasks::Tasks;
use crate::cli::{Context, each};
use crate::out::visible;

/// Freezes containers, and prints them
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Pause {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let tasks = Tasks::reach(cx).await?;
        let done = each(&self.ids, async |id| {
            tasks.service.pause(id).await?;
            cx.line(visible(id))
        })
        .await;
        tasks.close().await;
        done
    }
}

/// Lets frozen containers go on, and prints them
#[derive(Debug, Args)]
pub(crate) struct Unpause {
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Unpause {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let tasks = Tasks::reach(cx).await?;
        let done = each(&self.ids, async |id| {
            tasks.service.resume(id).await?;
            cx.line(visible(id))
        })
        .await;
        tasks.close().await;
        done
    }
}
