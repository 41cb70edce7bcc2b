//! `lamina namespace label`

use clap::Args;
use lamina_core::{Namespace, Result};

use crate::cli::Context;
use crate::cli::labels::{LabelArg, join, of, paths};
use crate::out::visible;

/// Sets labels of a namespace, and prints all it has then
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The namespace
    #[arg(value_parser = super::parse)]
    name: Namespace,
    /// Labels to set; an empty value deletes one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<LabelArg>,
}

impl Label {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let namespaces = session.namespaces();
        let labels = if self.labels.is_empty() {
            namespaces.labels(&self.name).await?
        } else {
            namespaces.update(&self.name, of(&self.labels), &paths(&self.labels)).await?
        };
        cx.line(visible(&join(&labels)))
    }
}
