//! `lamina container ls`

use clap::Args;
use lamina_core::{Filters, Result};

use super::info::View;
use crate::cli::Context;
use crate::out::{FormatArg, Table, visible};

/// Lists containers
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print only identifiers
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: FormatArg,
    /// Filters, such as image==docker.io/library/redis:7; one has to match
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Ls {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let filters = Filters::parse_all(&self.filters)?;
        let session = cx.connect().await?;
        let found = session.containers(&cx.scope()).list(filters).await?;
        if self.quiet {
            return found.iter().try_for_each(|container| cx.line(visible(&container.id)));
        }
        if self.format.is_json() {
            let views: Vec<View> = found.into_iter().map(View::from).collect();
            return cx.out.json(&views);
        }
        let mut table = Table::new(["CONTAINER", "IMAGE", "RUNTIME"]);
        for container in &found {
            let image = if container.image.is_empty() { "-" } else { &container.image };
            table.row([&container.id, image, &container.runtime]);
        }
        cx.line(table)
    }
}
