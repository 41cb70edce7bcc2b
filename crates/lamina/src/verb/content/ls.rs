//! `lamina content ls`

use clap::Args;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use lamina_core::{Filters, Result};

use crate::cli::{Context, labels};
use crate::out::{BlobView, FormatArg, Sizes, Table, age};

/// Lists blobs
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print digests only
    #[arg(long, short)]
    quiet: bool,
    /// Print sizes in bytes
    #[arg(short, long)]
    bytes: bool,
    #[command(flatten)]
    format: FormatArg,
    /// Only what one of these matches, such as 'labels."a.b"==c'
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Ls {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let filters = Filters::parse_all(&self.filters)?;
        let session = cx.connect().await?;
        let content = super::content(cx, &session);
        let blobs = content.list(filters).try_concat().await?;
        if self.quiet {
            return blobs.iter().try_for_each(|blob| cx.line(&blob.digest));
        }
        if self.format.is_json() {
            let views: Vec<BlobView> = blobs.into_iter().map(BlobView::from).collect();
            return cx.out.json(&views);
        }
        let (sizes, now) = (Sizes::in_bytes(self.bytes), Timestamp::now());
        let mut table = Table::new(["DIGEST", "SIZE", "AGE", "LABELS"]);
        for blob in &blobs {
            table.row([
                blob.digest.as_str(),
                &sizes.show(blob.size),
                &age(blob.created, now),
                &labels::join_or_hyphen(&blob.labels),
            ]);
        }
        cx.line(table)
    }
}
