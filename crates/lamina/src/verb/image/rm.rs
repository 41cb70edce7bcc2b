//! `lamina image rm`

use clap::Args;
use lamina_core::Result;
use lamina_core::image::DeleteOptions;

use crate::cli::{Context, each};
use crate::out::visible;

/// Removes images, frees what they alone held, and prints the names that were there
#[derive(Debug, Args)]
#[command(visible_aliases = ["remove", "delete", "del"])]
pub(crate) struct Rm {
    /// Free after each image; otherwise once, after the last
    #[arg(long)]
    sync: bool,
    /// The images
    #[arg(required = true, value_name = "REF")]
    names: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let removed = each(self.names, async |typed| {
            let name = super::name_of(&*images, &typed).await?;
            images.delete(&name, DeleteOptions { sync: self.sync, target: None }).await?;
            cx.line(visible(&name))
        })
        .await;
        // Without a daemon nobody collects when this process has ended.
        let collected = session.collect().await;
        removed.and(collected.map(drop))
    }
}
