//! `lamina snapshot view`

use clap::Args;
use lamina_core::Result;

use super::ShowMounts;
use crate::cli::Context;

/// Makes a read-only snapshot of a committed one, or an empty one
///
/// It gets the label containerd.io/gc.root, so that it stays until it is removed.
#[derive(Debug, Args)]
pub(crate) struct View {
    /// The key of the new snapshot
    key: String,
    /// The committed snapshot below it
    #[arg(default_value = "", hide_default_value = true)]
    parent: String,
    #[command(flatten)]
    show: ShowMounts,
}

impl View {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let snapshotter = cx.snapshotter(&session)?;
        let made = snapshotter.view(&self.key, &self.parent, super::kept()?).await;
        let mounts = made.map_err(|e| e.context(format!("make the view {:?}", self.key)))?;
        self.show.print(cx, &mounts)
    }
}
