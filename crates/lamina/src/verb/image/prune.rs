//! `lamina image prune`

use std::collections::HashSet;

use clap::Args;
use lamina_core::image::{DeleteOptions, Image};
use lamina_core::{Filters, Result};

use crate::cli::{Context, each};
use crate::out::visible;

/// Removes images that no container uses, frees what they alone held, and prints their names
///
/// Without --all only those that have lost their names: Docker and nerdctl give the record a stand-in
/// when its name goes to another image. Images with the label io.cri-containerd.pinned=pinned stay.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Remove also images that have names
    #[arg(long)]
    all: bool,
}

/// The stand-ins for names: nerdctl's, Docker's, and that of listings.
const NAMELESS: [&str; 3] = [":", "moby-dangling@", "<none>"];

impl Prune {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let containers = session.containers(&cx.scope()).list(Filters::default()).await?;
        let used: HashSet<String> = containers.into_iter().map(|c| c.image).collect();
        let all = images.list(Filters::default()).await?.into_iter();
        let unused = all.filter(|image| self.wants(image) && !used.contains(&image.name));
        let removed = each(unused, async |image| {
            // Not if it was given another target meanwhile.
            let target = Some(image.target.digest);
            images.delete(&image.name, DeleteOptions { sync: false, target }).await?;
            cx.line(visible(&image.name))
        })
        .await;
        // Without a daemon nobody collects when this process has ended.
        let collected = session.collect().await;
        removed.and(collected.map(drop))
    }

    fn wants(&self, image: &Image) -> bool {
        let pinned = image.labels.get("io.cri-containerd.pinned").is_some_and(|v| v == "pinned");
        let nameless = NAMELESS.iter().any(|start| image.name.starts_with(start));
        !pinned && (self.all || nameless)
    }
}
