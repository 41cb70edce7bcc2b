//! `lamina snapshot info`

use clap::Args;
use lamina_core::Result;

use crate::cli::Context;
use crate::out::SnapshotView;

/// Prints what is known of a snapshot, as JSON
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// The snapshot
    key: String,
}

impl Info {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let info = cx.snapshotter(&session)?.stat(&self.key).await?;
        cx.out.json(&SnapshotView::from(info))
    }
}
