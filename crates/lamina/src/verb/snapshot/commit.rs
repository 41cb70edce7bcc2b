//! `lamina snapshot commit`

use clap::Args;
use lamina_core::Result;
use lamina_core::snapshot::CommitOptions;

use crate::cli::Context;

/// Makes an active snapshot a committed one, which others can lie on
///
/// It gets the label containerd.io/gc.root, so that it stays until it is removed.
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// The name of the committed snapshot
    name: String,
    /// The active snapshot, which is gone then
    active: String,
}

impl Commit {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let snapshotter = cx.snapshotter(&session)?;
        let options = CommitOptions { labels: super::kept()?, ..CommitOptions::default() };
        let done = snapshotter.commit(&self.name, &self.active, options).await;
        done.map_err(|e| e.context(format!("commit snapshot {:?} as {:?}", self.active, self.name)))
    }
}
