//! `lamina content label`

use clap::Args;
use lamina_core::{Digest, Labels, Result, content};

use crate::cli::Context;
use crate::cli::labels::{LabelArg, join, of, paths};
use crate::out::visible;

/// Sets labels of a blob, and prints all it has then
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The blob
    digest: Digest,
    /// Labels to set; an empty value deletes one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<LabelArg>,
}

impl Label {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let content = super::content(cx, &session);
        let info = content.info(&self.digest).await?;
        let labels: Labels = if self.labels.is_empty() {
            info.labels
        } else {
            let info = content::Info { labels: of(&self.labels), ..info };
            content.update(info, &paths(&self.labels)).await?.labels
        };
        cx.line(visible(&join(&labels)))
    }
}
