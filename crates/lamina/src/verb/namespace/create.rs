//! `lamina namespace create`

use clap::Args;
use lamina_core::{Namespace, Result};

use crate::cli::Context;
use crate::cli::labels::{LabelArg, of};

/// Makes a namespace
#[derive(Debug, Args)]
#[command(visible_alias = "c")]
pub(crate) struct Create {
    /// Its name
    #[arg(value_parser = super::parse)]
    name: Namespace,
    /// Its labels
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<LabelArg>,
}

impl Create {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        session.namespaces().create(&self.name, of(&self.labels)).await
    }
}
