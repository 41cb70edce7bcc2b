//! `lamina snapshot unpack`

use clap::Args;
use lamina_core::platform::Matcher;
use lamina_core::{Digest, Error, Filters, Platform, Result};
use lamina_image::unpack::unpack;

use crate::cli::Context;

/// Unpacks the image with that manifest or index, and prints the chain ID of its files
///
/// As `image unpack`, which takes a name.
#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// Unpack this platform only, such as linux/arm64
    #[arg(long, value_parser = Platform::parse)]
    platform: Option<Platform>,
    /// The digest an image points at
    digest: Digest,
}

impl Unpack {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let filters = Filters::parse_all(&[format!("target.digest=={}", self.digest)])?;
        let found = session.images(&cx.scope()).list(filters).await?.into_iter().next();
        let image = found.ok_or_else(|| {
            let digest = &self.digest;
            Error::not_found(format!("no image points at {digest}: `lamina image ls` shows them"))
        })?;
        let snapshotter = &cx.settings.snapshotter;
        let matcher = self.platform.as_ref().map(Matcher::only);
        let limits = cx.settings.config.limits.documents;
        let tops =
            unpack(&*session, &cx.scope(), snapshotter, &image, matcher.as_ref(), limits).await?;
        tops.iter().try_for_each(|top| cx.line(top))
    }
}
