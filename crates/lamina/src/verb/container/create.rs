//! `lamina container create`

use clap::Args;
use lamina_core::Result;

use crate::cli::Context;
use crate::verb::run::make::CreateArgs;

/// Makes a container whose program does not run yet, and prints its identifier
///
/// `task start` starts it. An image that is not here is pulled.
#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    create: CreateArgs,
}

impl Create {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let wish = self.create.wish(true)?;
        wish.pull_if_missing(cx).await?;
        let session = cx.connect().await?;
        let container = wish.make(cx, &session).await?;
        cx.line(&container.id)
    }
}
