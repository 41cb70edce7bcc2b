//! `lamina image ls`

use clap::Args;
use jiff::Timestamp;
use lamina_core::image::Image;
use lamina_core::{Descriptor, Filters, Labels, Result};
use lamina_image::contents::Contents;
use serde::Serialize;

use crate::cli::{Context, labels};
use crate::out::{FormatArg, Sizes, Table};

/// Lists images
///
/// The size is that of the blobs that are here, each counted once; the platforms are those whose
/// manifest and config are here.
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print names only
    #[arg(long, short)]
    quiet: bool,
    /// Print sizes in bytes
    #[arg(short, long)]
    bytes: bool,
    #[command(flatten)]
    format: FormatArg,
    /// Only what one of these matches, such as name~=redis
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// A row of the listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    target: Descriptor,
    labels: Labels,
    created_at: Timestamp,
    updated_at: Timestamp,
    size: u64,
    platforms: Vec<String>,
}

impl Ls {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let filters = Filters::parse_all(&self.filters)?;
        let session = cx.connect().await?;
        let images = super::images(cx, &session).list(filters).await?;
        if self.quiet {
            return images.iter().try_for_each(|i| cx.line(crate::out::visible(&i.name)));
        }
        let content = session.content(&cx.scope());
        let mut rows = Vec::with_capacity(images.len());
        for image in images {
            let named = format!("image {:?}", image.name);
            let limits = cx.settings.config.limits.documents;
            let contents = Contents::of(&*content, &image.target, limits).await;
            rows.push(Row::new(image, &contents.map_err(|e| e.context(named))?));
        }
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        let sizes = Sizes::in_bytes(self.bytes);
        let mut table = Table::new(["REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS"]);
        for row in &rows {
            let platforms = match row.platforms.as_slice() {
                [] => "-".to_owned(),
                some => some.join(","),
            };
            table.row([
                &*row.name,
                &row.target.media_type,
                row.target.digest.as_str(),
                &sizes.show(row.size),
                &platforms,
                &labels::join_or_hyphen(&row.labels),
            ]);
        }
        cx.line(table)
    }
}

impl Row {
    fn new(image: Image, contents: &Contents) -> Row {
        let Image { name, target, labels, created, updated } = image;
        let platforms = contents.platforms().iter().map(ToString::to_string).collect();
        let (created_at, updated_at) = (created, updated);
        Row { name, target, labels, created_at, updated_at, size: contents.size(), platforms }
    }
}
