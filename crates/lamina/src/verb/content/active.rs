//! `lamina content active`

use clap::Args;
use jiff::Timestamp;
use lamina_core::{Filters, Result};

use crate::cli::Context;
use crate::out::{FormatArg, IngestView, Sizes, Table, age};

/// Lists ingests: what is being written, or was left unfinished
#[derive(Debug, Args)]
pub(crate) struct Active {
    /// Print sizes in bytes
    #[arg(short, long)]
    bytes: bool,
    #[command(flatten)]
    format: FormatArg,
    /// Only what one of these matches, such as 'ref~=^layer-'
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Active {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let filters = Filters::parse_all(&self.filters)?;
        let session = cx.connect().await?;
        let ingests = super::content(cx, &session).statuses(filters).await?;
        if self.format.is_json() {
            let views: Vec<IngestView> = ingests.into_iter().map(IngestView::from).collect();
            return cx.out.json(&views);
        }
        let (sizes, now) = (Sizes::in_bytes(self.bytes), Timestamp::now());
        let mut table = Table::new(["REF", "SIZE", "AGE"]);
        for ingest in &ingests {
            table.row([&*ingest.reference, &sizes.show(ingest.offset), &age(ingest.started, now)]);
        }
        cx.line(table)
    }
}
