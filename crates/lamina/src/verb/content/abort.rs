//! `lamina content abort`

use clap::Args;
use lamina_core::Result;

use crate::cli::{Context, each};

/// Drops ingests that nobody will finish, with their bytes
#[derive(Debug, Args)]
pub(crate) struct Abort {
    /// The ingests, by the references that `active` shows
    #[arg(required = true, value_name = "REF")]
    references: Vec<String>,
}

impl Abort {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let content = super::content(cx, &session);
        each(self.references, async |reference| content.abort(&reference).await).await
    }
}
