//! `lamina lease drop`

use clap::Args;
use lamina_core::Result;

use super::Held;
use crate::cli::Context;

/// Has a lease hold a thing no longer
#[derive(Debug, Args)]
pub(crate) struct Drop {
    #[command(flatten)]
    held: Held,
}

impl Drop {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        super::leases(cx, &session).remove(&self.held.id, self.held.resource()).await
    }
}
