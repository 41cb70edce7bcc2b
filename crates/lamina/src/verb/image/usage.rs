//! `lamina image usage`

use std::collections::BTreeMap;

use clap::Args;
use lamina_core::{Result, snapshot};
use lamina_image::usage;
use serde::Serialize;

use crate::cli::Context;
use crate::out::{FormatArg, Sizes, Table};

/// Shows the space images take: their blobs, and their snapshots in each snapshotter
///
/// What several images share is counted for each of them, and once in the total.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Print sizes in bytes
    #[arg(short, long)]
    bytes: bool,
    #[command(flatten)]
    format: FormatArg,
    /// The images; all of them if none is named
    #[arg(value_name = "REF")]
    names: Vec<String>,
}

/// What one image takes, or all that are listed together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    content: Content,
    snapshots: BTreeMap<String, Snapshots>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    blobs: usize,
    size: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Snapshots {
    snapshots: usize,
    size: i64,
    inodes: i64,
}

impl Usage {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::named_or_all(&*super::images(cx, &session), &self.names).await?;
        let content = session.content(&cx.scope());
        let snapshotters = super::snapshotters(cx, &session).await?;
        let mut rows = Vec::with_capacity(images.len());
        let mut total = usage::Usage::default();
        let limits = cx.settings.config.limits.documents;
        for image in images {
            let used = usage::Usage::of(&*content, &snapshotters, &image.target, limits).await;
            let used = used.map_err(|e| e.context(format!("image {:?}", image.name)))?;
            rows.push(Row::new(image.name, &used));
            total.add(used);
        }
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        if rows.len() > 1 {
            rows.push(Row::new("total".to_owned(), &total));
        }
        let sizes = Sizes::in_bytes(self.bytes);
        let mut table = Table::new(["REF", "IN", "COUNT", "SIZE"]);
        for row in &rows {
            let Content { blobs, size } = row.content;
            table.row([&*row.name, "content", &blobs.to_string(), &sizes.show(size)]);
            for (snapshotter, used) in &row.snapshots {
                let size = sizes.show(u64::try_from(used.size).unwrap_or(0));
                table.row([&*row.name, snapshotter, &used.snapshots.to_string(), &size]);
            }
        }
        cx.line(table)
    }
}

impl Row {
    fn new(name: String, usage: &usage::Usage) -> Row {
        let content = Content { blobs: usage.content.len(), size: usage.content.values().sum() };
        let snapshots = usage.snapshots.iter().map(|(snapshotter, each)| {
            let sum = each.values().fold(snapshot::Usage::default(), |sum, one| sum + *one);
            let sum = Snapshots { snapshots: each.len(), size: sum.size, inodes: sum.inodes };
            (snapshotter.clone(), sum)
        });
        Row { name, content, snapshots: snapshots.collect() }
    }
}
