//! `lamina lease rm`

use clap::Args;
use lamina_core::Result;

use crate::cli::{Context, each};

/// Ends leases, and prints those that were there
#[derive(Debug, Args)]
#[command(visible_aliases = ["remove", "delete", "del"])]
pub(crate) struct Rm {
    /// Return only when what nothing holds any more is gone
    #[arg(long)]
    sync: bool,
    /// The leases
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Rm {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let leases = super::leases(cx, &session);
        // One collection is enough, after the last.
        let last = self.ids.len();
        each(self.ids.into_iter().zip(1..), async |(id, number)| {
            leases.delete(&id, self.sync && number == last).await?;
            cx.line(id)
        })
        .await
    }
}
