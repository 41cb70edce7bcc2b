//! `lamina namespace ls`

use clap::Args;
use lamina_core::Result;

use crate::cli::{Context, labels};
use crate::out::{FormatArg, NamespaceView, Table};

/// Lists namespaces
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print names only
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: FormatArg,
}

impl Ls {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let namespaces = session.namespaces().list().await?;
        if self.quiet {
            return namespaces.iter().try_for_each(|(name, _)| cx.line(name));
        }
        if self.format.is_json() {
            let views = namespaces
                .into_iter()
                .map(|(name, labels)| NamespaceView { name: name.to_string(), labels });
            return cx.out.json(&views.collect::<Vec<_>>());
        }
        let mut table = Table::new(["NAME", "LABELS"]);
        for (name, labels) in &namespaces {
            table.row([name.as_str(), &labels::join(labels)]);
        }
        cx.line(table)
    }
}
