//! `lamina content rm`

use clap::Args;
use lamina_core::{Digest, Result};

use crate::cli::{Context, each};

/// Removes blobs from the namespace, and prints those that were there
#[derive(Debug, Args)]
#[command(visible_aliases = ["remove", "delete", "del"])]
pub(crate) struct Rm {
    /// The blobs
    #[arg(required = true, value_name = "DIGEST")]
    digests: Vec<Digest>,
}

impl Rm {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let content = super::content(cx, &session);
        each(self.digests, async |digest| {
            content.delete(&digest).await?;
            cx.line(digest)
        })
        .await
    }
}
