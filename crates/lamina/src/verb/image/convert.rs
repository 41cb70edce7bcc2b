//! `lamina image convert`

use clap::{Args, ValueEnum};
use lamina_core::media_type::Compression;
use lamina_core::platform::Matcher;
use lamina_core::{Platform, Reference, Result};
use lamina_image::convert;

use crate::cli::{Context, until_interrupted};
use crate::out::visible;

/// Makes another image of the same files, and prints it
///
/// Layers are compressed otherwise, or have other media types; what they unpack to stays the same, and
/// so does the config.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// How layers are to be compressed [default: as they are]
    #[arg(long, value_enum)]
    compression: Option<CompressionArg>,
    /// Give Docker's documents and layers the media types of OCI
    #[arg(long)]
    oci: bool,
    /// Keep this platform only, such as linux/arm64 [default: all; they have to be here]
    #[arg(long, value_parser = Platform::parse)]
    platform: Vec<Platform>,
    /// The image
    source: String,
    /// The name of the new one
    destination: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionArg {
    /// By gzip, which everything reads
    Gzip,
    /// By zstd, which is smaller and faster
    Zstd,
    /// Not at all
    None,
}

impl Convert {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let name = Reference::parse(&self.destination)?.to_string();
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let image = images.get(&super::name_of(&*images, &self.source).await?).await?;
        let convert = convert::Convert {
            host: session.host(),
            scope: cx.scope(),
            platforms: (!self.platform.is_empty()).then(|| Matcher::ordered(&self.platform)),
            compression: self.compression.map(Compression::from),
            oci: self.oci,
            limits: cx.settings.config.limits.documents,
        };
        let what = format!("convert {}", image.name);
        let made = until_interrupted(&what, convert.run(&image, &name)).await?;
        cx.line(format_args!("{} {}", visible(&made.name), made.target.digest))
    }
}

impl From<CompressionArg> for Compression {
    fn from(arg: CompressionArg) -> Self {
        match arg {
            CompressionArg::Gzip => Compression::Gzip,
            CompressionArg::Zstd => Compression::Zstd,
            CompressionArg::None => Compression::None,
        }
    }
}
