//! `lamina image tag`

use clap::Args;
use lamina_core::{Reference, Result};

use crate::cli::Context;
use crate::out::visible;

/// Gives an image another name, and prints it
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Let the new name stand for this image also if it stands for another now
    #[arg(long, short)]
    force: bool,
    /// The image
    source: String,
    /// The new name
    destination: String,
}

impl Tag {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let name = Reference::parse(&self.destination)?.to_string();
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let mut image = images.get(&super::name_of(&*images, &self.source).await?).await?;
        image.name.clone_from(&name);
        match images.create(image.clone()).await {
            Err(error) if error.is_already_exists() && self.force => {
                images.update(image, &[]).await?;
            }
            created => drop(created?),
        }
        cx.line(visible(&name))
    }
}
