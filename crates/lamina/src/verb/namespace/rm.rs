//! `lamina namespace rm`

use clap::Args;
use lamina_core::{Namespace, Result};

use crate::cli::{Context, each};

/// Removes empty namespaces, and prints those that were there
#[derive(Debug, Args)]
#[command(visible_aliases = ["remove", "delete", "del"])]
pub(crate) struct Rm {
    /// The namespaces
    #[arg(required = true, value_name = "NAME", value_parser = super::parse)]
    names: Vec<Namespace>,
}

impl Rm {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let namespaces = session.namespaces();
        each(self.names, async |name| {
            namespaces.delete(&name).await?;
            cx.line(name)
        })
        .await
    }
}
