//! `lamina kill`

use clap::Args;
use lamina_core::Result;
use lamina_core::task::ProcessId;
use lamina_runtime::spec::signal;

use super::run::restart;
use super::tasks::Tasks;
use crate::cli::{Context, each};
use crate::out::visible;

/// Sends a signal to the programs of containers, and prints the containers
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The signal, by name or number
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Kill {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let signal = signal::parse(&self.signal)?;
        let tasks = Tasks::reach(cx).await?;
        let killed = each(self.ids, async |id| {
            restart::signalled(cx, &id, signal).await?;
            tasks.service.kill(&ProcessId::init(&id), signal, false).await?;
            cx.line(visible(&id))
        })
        .await;
        tasks.close().await;
        killed
    }
}
