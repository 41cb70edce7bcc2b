//! `lamina container label`

use clap::Args;
use lamina_core::{Container, Result};

use crate::cli::Context;
use crate::cli::labels::{LabelArg, join, of, paths};
use crate::out::visible;

/// Sets labels of a container, and prints all it has then
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// Labels to set; an empty value deletes one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<LabelArg>,
}

impl Label {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let containers = session.containers(&cx.scope());
        let mut container = containers.get(&self.id).await?;
        if !self.labels.is_empty() {
            let changed = Container { labels: of(&self.labels), ..container };
            container = containers.update(changed, &paths(&self.labels)).await?;
        }
        cx.line(visible(&join(&container.labels)))
    }
}
