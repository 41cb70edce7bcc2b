//! `lamina snapshot rm`

use clap::Args;
use lamina_core::Result;

use crate::cli::{Context, each};

/// Removes snapshots and frees their files
#[derive(Debug, Args)]
#[command(visible_aliases = ["remove", "delete", "del"])]
pub(crate) struct Rm {
    /// The snapshots; one with children goes after its children
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

impl Rm {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let snapshotter = cx.snapshotter(&session)?;
        let removed = each(self.keys, async |key| {
            let removed = snapshotter.remove(&key).await;
            removed.map_err(|error| error.context(format!("remove snapshot {key:?}")))
        })
        .await;
        // With no daemon to do it later, the files go before the command ends.
        removed.and(snapshotter.cleanup().await)
    }
}
