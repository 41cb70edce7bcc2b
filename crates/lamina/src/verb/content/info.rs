//! `lamina content info`

use clap::Args;
use lamina_core::{Digest, Result};

use crate::cli::Context;
use crate::out::BlobView;

/// Prints what is known of a blob, as JSON
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// The blob
    digest: Digest,
}

impl Info {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let info = super::content(cx, &session).info(&self.digest).await?;
        cx.out.json(&BlobView::from(info))
    }
}
