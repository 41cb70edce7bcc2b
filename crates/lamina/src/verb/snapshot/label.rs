//! `lamina snapshot label`

use clap::Args;
use lamina_core::{Result, snapshot};

use crate::cli::Context;
use crate::cli::labels::{LabelArg, join, of, paths};
use crate::out::visible;

/// Sets labels of a snapshot, and prints all it has then
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The snapshot
    key: String,
    /// Labels to set; an empty value deletes one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<LabelArg>,
}

impl Label {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let snapshotter = cx.snapshotter(&session)?;
        let mut info = snapshotter.stat(&self.key).await?;
        if !self.labels.is_empty() {
            let wanted = snapshot::Info { labels: of(&self.labels), ..info };
            info = snapshotter.update(wanted, &paths(&self.labels)).await?;
        }
        cx.line(visible(&join(&info.labels)))
    }
}
