//! `lamina snapshot cleanup`

use clap::Args;
use lamina_core::Result;

use crate::cli::Context;

/// Frees what removed snapshots still hold
#[derive(Debug, Args)]
pub(crate) struct Cleanup {}

impl Cleanup {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        cx.snapshotter(&session)?.cleanup().await
    }
}
