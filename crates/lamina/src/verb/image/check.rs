//! `lamina image check`

use std::collections::BTreeMap;

use clap::Args;
use lamina_core::platform::Matcher;
use lamina_core::{Descriptor, Platform, Result};
use lamina_image::check::{Checked, Status, check};
use serde::Serialize;

use crate::cli::{Context, each};
use crate::out::{FormatArg, Sizes, Table, visible};

/// Shows whether all of an image is here, and which snapshotters have it unpacked
///
/// Of an image for several platforms, those count whose manifest is here. Bytes are not read again:
/// `fsck --verify` does that.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Check this platform only, such as linux/arm64
    #[arg(long, value_parser = Platform::parse)]
    platform: Option<Platform>,
    /// Print names only, of images that are complete and unpacked for the snapshotter
    #[arg(long, short)]
    quiet: bool,
    /// Print sizes in bytes
    #[arg(short, long)]
    bytes: bool,
    #[command(flatten)]
    format: FormatArg,
    /// The images; all of them if none is named
    #[arg(value_name = "REF")]
    names: Vec<String>,
}

/// A row of the listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    target: Descriptor,
    status: &'static str,
    present_blobs: usize,
    present_size: u64,
    /// Absent when it is not known.
    required_blobs: Option<usize>,
    required_size: Option<u64>,
    missing: Vec<Descriptor>,
    unpacked: BTreeMap<String, bool>,
}

impl Check {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::named_or_all(&*super::images(cx, &session), &self.names).await?;
        let content = session.content(&cx.scope());
        let snapshotters = super::snapshotters(cx, &session).await?;
        let matcher = self.platform.as_ref().map(Matcher::only);
        let mut rows = Vec::with_capacity(images.len());
        // One that cannot be read is an error; the others are shown.
        let checked = each(images, async |image| {
            let limits = cx.settings.config.limits.documents;
            let checked =
                check(&*content, &snapshotters, &image.target, matcher.as_ref(), limits).await;
            let checked = checked.map_err(|e| e.context(format!("image {:?}", image.name)))?;
            rows.push(Row::new(image.name, image.target, checked));
            Ok(())
        })
        .await;
        self.print(cx, &rows)?;
        checked
    }

    fn print(&self, cx: &mut Context<'_>, rows: &[Row]) -> Result<()> {
        if self.quiet {
            let snapshotter = &cx.settings.snapshotter;
            let ready = rows.iter().filter(|row| row.is_ready(snapshotter));
            return ready.map(|row| visible(&row.name)).try_for_each(|name| cx.out.line(name));
        }
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        let sizes = Sizes::in_bytes(self.bytes);
        let mut table = Table::new(["REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED"]);
        for row in rows {
            let of = |known: Option<String>| known.unwrap_or_else(|| "?".to_owned());
            let blobs = of(row.required_blobs.map(|count| count.to_string()));
            let size = of(row.required_size.map(|size| sizes.show(size)));
            table.row([
                &*row.name,
                &row.target.media_type,
                row.target.digest.as_str(),
                &format!("{} ({}/{blobs})", row.status, row.present_blobs),
                &format!("{}/{size}", sizes.show(row.present_size)),
                &row.unpacked_into(),
            ]);
        }
        cx.line(table)
    }
}

impl Row {
    fn new(name: String, target: Descriptor, checked: Checked) -> Row {
        let status = match checked.status {
            Status::Complete => "complete",
            Status::Incomplete => "incomplete",
            Status::Unavailable => "unavailable",
        };
        let known = checked.status != Status::Unavailable;
        Row {
            name,
            target,
            status,
            present_blobs: checked.present.count,
            present_size: checked.present.size,
            required_blobs: known.then_some(checked.required.count),
            required_size: known.then_some(checked.required.size),
            missing: checked.missing,
            unpacked: checked.unpacked,
        }
    }

    fn is_ready(&self, snapshotter: &str) -> bool {
        self.status == "complete" && self.unpacked.get(snapshotter) == Some(&true)
    }

    fn unpacked_into(&self) -> String {
        let into = self.unpacked.iter().filter(|(_, unpacked)| **unpacked);
        let names: Vec<&str> = into.map(|(name, _)| name.as_str()).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(",") }
    }
}
