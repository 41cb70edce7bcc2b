//! `lamina image unpack`

use clap::Args;
use lamina_core::platform::Matcher;
use lamina_core::{Platform, Result};
use lamina_image::unpack::unpack;

use crate::cli::Context;

/// Unpacks an image that is here into the snapshotter, and prints the chain ID of its files
///
/// Nothing is fetched. Of an image for several platforms, all are unpacked whose manifest is here.
#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// Unpack this platform only, such as linux/arm64
    #[arg(long, value_parser = Platform::parse)]
    platform: Option<Platform>,
    /// The image
    #[arg(value_name = "REF")]
    name: String,
}

impl Unpack {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let image = images.get(&super::name_of(&*images, &self.name).await?).await?;
        let snapshotter = &cx.settings.snapshotter;
        let matcher = self.platform.as_ref().map(Matcher::only);
        let limits = cx.settings.config.limits.documents;
        let tops =
            unpack(&*session, &cx.scope(), snapshotter, &image, matcher.as_ref(), limits).await?;
        tops.iter().try_for_each(|top| cx.line(top))
    }
}
