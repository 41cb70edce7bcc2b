//! `lamina image label`

use clap::Args;
use lamina_core::Result;
use lamina_core::image::Image;

use crate::cli::Context;
use crate::cli::labels::{LabelArg, join, of, paths};
use crate::out::visible;

/// Sets labels of an image, and prints all it has then
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The image
    #[arg(value_name = "REF")]
    name: String,
    /// Labels to set; an empty value deletes one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<LabelArg>,
}

impl Label {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let mut image = images.get(&super::name_of(&*images, &self.name).await?).await?;
        if !self.labels.is_empty() {
            let changed = Image { labels: of(&self.labels), ..image };
            image = images.update(changed, &paths(&self.labels)).await?;
        }
        cx.line(visible(&join(&image.labels)))
    }
}
