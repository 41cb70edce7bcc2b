//! `lamina lease add`

use clap::Args;
use lamina_core::Result;

use super::Held;
use crate::cli::Context;

/// Has a lease hold a thing
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    held: Held,
}

impl Add {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        super::leases(cx, &session).add(&self.held.id, self.held.resource()).await
    }
}
