//! `lamina lease ls`

use clap::Args;
use lamina_core::{Filters, Result};

use crate::cli::{Context, labels};
use crate::out::{FormatArg, LeaseView, Table};

/// Lists leases
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print ids only
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: FormatArg,
    /// Only what one of these matches, such as id==x
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Ls {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let filters = Filters::parse_all(&self.filters)?;
        let session = cx.connect().await?;
        let leases = super::leases(cx, &session).list(filters).await?;
        if self.quiet {
            return leases.iter().try_for_each(|lease| cx.line(&lease.id));
        }
        if self.format.is_json() {
            let views: Vec<LeaseView> = leases.into_iter().map(LeaseView::from).collect();
            return cx.out.json(&views);
        }
        let mut table = Table::new(["ID", "CREATED AT", "LABELS"]);
        for lease in &leases {
            let created = lease.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            table.row([&*lease.id, &created, &labels::join_or_hyphen(&lease.labels)]);
        }
        cx.line(table)
    }
}
