//! `lamina image import` and `lamina load`

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use futures_util::stream;
use jiff::Timestamp;
use lamina_core::platform::Matcher;
use lamina_core::transfer::{ByteStream, NewReference};
use lamina_core::{Error, Labels, Platform, Reference, Result};
use lamina_image::import::{self, Source};
use lamina_image::pull::Silent;

use crate::cli::{Context, until_interrupted};
use crate::out::visible;

/// Bytes of an archive that are read at once.
const PIECE: usize = 256 << 10;

/// Imports images from an archive, or from the folder of an OCI layout, and prints their names
///
/// The archive is an OCI layout in a tar, or what `docker save` writes, compressed or not. What fits
/// this host is unpacked into snapshots in the same pass.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Import this platform only, such as linux/arm64 [default: all that are in it]
    #[arg(long, value_parser = Platform::parse)]
    platform: Option<Platform>,
    /// Leave the layers packed
    #[arg(long)]
    no_unpack: bool,
    /// What images that bring only a tag are named by, before the tag [default: import-DATE]
    #[arg(long, value_name = "NAME")]
    base_name: Option<String>,
    /// Name the images by their digests, too
    #[arg(long)]
    digests: bool,
    /// Give the archive as a whole this name, too
    #[arg(long, value_name = "REF")]
    index_name: Option<String>,
    /// Compress layers that are not compressed
    #[arg(long)]
    compress: bool,
    /// The archive or folder; - for standard input
    #[arg(value_name = "PATH", default_value = "-")]
    path: PathBuf,
}

impl Import {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let what = format!("import {}", self.path.display());
        let failed = |error: Error| error.context(what.clone());
        let source = source(&self.path).map_err(failed)?;
        let index_name = self.index_name.as_deref().map(Reference::parse).transpose()?;
        let session = cx.connect().await?;
        let unpacked = match &self.platform {
            Some(platform) => Matcher::only(platform),
            None => Matcher::only(&Platform::host()),
        };
        let snapshotter = (!self.no_unpack).then(|| cx.settings.snapshotter.clone());
        let import = import::Import {
            host: session.host(),
            scope: cx.scope(),
            platforms: self.platform.as_ref().map(Matcher::only),
            index_names: index_name.iter().map(ToString::to_string).collect(),
            references: vec![self.names()],
            labels: Labels::new(),
            unpacks: snapshotter.map(|name| (name, unpacked)).into_iter().collect(),
            force_compress: self.compress,
            limits: cx.settings.config.limits.documents,
            progress: Arc::new(Silent),
        };
        let images = until_interrupted(&what, import.run(source)).await.map_err(failed)?;
        images.iter().try_for_each(|image| {
            cx.line(format_args!("{} {}", visible(&image.name), image.target.digest))
        })
    }

    /// What brings no name of its own is named by its digest, so that nothing is lost.
    fn names(&self) -> NewReference {
        let today = || format!("import-{}", Timestamp::now().strftime("%Y-%m-%d"));
        NewReference::Prefix {
            allow_overwrite: self.base_name.is_none(),
            prefix: self.base_name.clone().unwrap_or_else(today),
            add_digest: true,
            skip_named_digest: !self.digests,
        }
    }
}

fn source(path: &Path) -> Result<Source> {
    if path == Path::new("-") {
        return Ok(Source::Archive(pieces(std::io::stdin())));
    }
    if path.is_dir() {
        return Ok(Source::Layout(path.to_owned()));
    }
    match File::open(path) {
        Ok(file) => Ok(Source::Archive(pieces(file))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::not_found("there is no such file").with_source(error))
        }
        Err(error) => Err(Error::invalid_argument("it cannot be opened").with_source(error)),
    }
}

/// What `from` gives, read on the threads for that.
fn pieces(from: impl Read + Send + 'static) -> ByteStream {
    Box::pin(stream::try_unfold(from, |mut from| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let read = loop {
                match from.read(&mut piece) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            (read, piece, from)
        });
        let (read, mut piece, from) =
            read.await.map_err(|died| Error::internal("reading died").with_source(died))?;
        let size = read.map_err(|e| Error::unavailable("read the archive").with_source(e))?;
        piece.truncate(size);
        Ok((size > 0).then(|| (Bytes::from(piece), from)))
    }))
}
