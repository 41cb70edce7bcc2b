//! `lamina image import` and `lamina load`

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use clap::Args;
use futures_util::stream;
use jiff::Timestamp;
use lamina_core::platform::Matcher;
use lamina_core::transfer::{
    self, ByteStream, Destination, ImportStream, NewImages, NewReference, Progress, ProgressSink,
    Stage, TransferOptions, Unpack,
};
use lamina_core::{Digest, Error, Labels, Platform, Reference, Result};
use lamina_image::import::{self, Source};
use lamina_image::pull::Silent;
use lamina_store::Store;

use crate::cli::{Context, Daemon, Session, until_interrupted};
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
        let index_name = index_name.map(|name| name.to_string());
        let session = cx.connect().await?;
        let images = async {
            match &session {
                Session::Daemon(daemon) => self.by_daemon(cx, daemon, source, index_name).await,
                Session::Store(store) => self.by_itself(cx, store, source, index_name).await,
            }
        };
        let images = until_interrupted(&what, images).await.map_err(failed)?;
        images
            .iter()
            .try_for_each(|(name, digest)| cx.line(format_args!("{} {digest}", visible(name))))
    }

    async fn by_itself(
        &self,
        cx: &Context<'_>,
        store: &Store,
        source: Source,
        index_name: Option<String>,
    ) -> Result<Vec<(String, Digest)>> {
        let snapshotter = (!self.no_unpack).then(|| cx.settings.snapshotter.to_string());
        let unpacked = Matcher::only(&self.platform.clone().unwrap_or_else(Platform::host));
        let import = import::Import {
            host: Arc::new(store.clone()),
            scope: cx.scope(),
            platforms: self.platform.as_ref().map(Matcher::only),
            index_names: index_name.into_iter().collect(),
            references: vec![self.names()],
            labels: Labels::new(),
            unpacks: snapshotter.map(|name| (name, unpacked)).into_iter().collect(),
            force_compress: self.compress,
            limits: cx.settings.config.limits.documents,
            progress: Arc::new(Silent),
        };
        let images = import.run(source).await?;
        Ok(images.into_iter().map(|image| (image.name, image.target.digest)).collect())
    }

    /// Which images there are, the daemon tells on the way.
    async fn by_daemon(
        &self,
        cx: &Context<'_>,
        daemon: &Daemon,
        source: Source,
        index_name: Option<String>,
    ) -> Result<Vec<(String, Digest)>> {
        let snapshotter = cx.settings.snapshotter.to_string();
        let platform = Some(self.platform.clone().unwrap_or_else(Platform::host));
        let to = NewImages {
            name: index_name.unwrap_or_default(),
            platforms: self.platform.iter().cloned().collect(),
            references: vec![self.names()],
            unpacks: match self.no_unpack {
                true => Vec::new(),
                false => vec![Unpack { platform, snapshotter }],
            },
            ..NewImages::default()
        };
        let from = ImportStream {
            bytes: match source {
                Source::Archive(bytes) => bytes,
                Source::Layout(dir) => import::archive_of(dir),
            },
            media_type: String::new(),
            force_compress: self.compress,
        };
        let saved = Arc::new(Saved::default());
        let options = TransferOptions { progress: Some(saved.clone()) };
        let transfer = daemon.client.transfer(&cx.scope());
        let (from, to) = (transfer::Source::Stream(from), Destination::Images(to));
        transfer.transfer(from, to, options).await?;
        Ok(std::mem::take(&mut *saved.0.lock().unwrap_or_else(PoisonError::into_inner)))
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

/// The images a daemon has made.
#[derive(Debug, Default)]
struct Saved(Mutex<Vec<(String, Digest)>>);

impl ProgressSink for Saved {
    fn send(&self, progress: Progress) {
        if let (Stage::Saved, Some(target)) = (progress.stage, progress.descriptor) {
            let mut images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            images.push((progress.name, target.digest));
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
