//! `lamina image export` and `lamina save`

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use lamina_core::platform::Matcher;
use lamina_core::transfer::ByteSink;
use lamina_core::{Error, Kind, Platform, Result};
use lamina_image::export;

use crate::cli::{Context, until_interrupted};

/// Writes images into one archive
///
/// The archive is an OCI layout that `docker load` reads too. The same images give the same bytes.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file to write; - for standard output
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    output: PathBuf,
    /// Export this platform, such as linux/arm64 [default: that of this host]
    #[arg(long, value_parser = Platform::parse, conflicts_with = "all_platforms")]
    platform: Vec<Platform>,
    /// Export every platform; all have to be here
    #[arg(long)]
    all_platforms: bool,
    /// Leave out the description that `docker load` reads
    #[arg(long)]
    skip_manifest_json: bool,
    /// Leave out layers that may not be passed on
    #[arg(long)]
    skip_non_distributable: bool,
    /// The images
    #[arg(value_name = "REF", required = true)]
    names: Vec<String>,
}

impl Export {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let export = export::Export {
            content: session.content(&cx.scope()),
            images: super::named_or_all(&*images, &self.names).await?,
            platforms: self.platforms(),
            docker: !self.skip_manifest_json,
            skip_nondistributable: self.skip_non_distributable,
            limits: cx.settings.config.limits.documents,
        };
        let what = format!("write {}", self.output.display());
        let mut sink: Box<dyn ByteSink> = match self.output == Path::new("-") {
            true if std::io::stdout().is_terminal() => {
                let message = "an archive is nothing for a terminal: name a file with --output";
                return Err(Error::invalid_argument(message));
            }
            true => Box::new(Sink { what: what.clone(), to: std::io::stdout() }),
            false => Box::new(NewFile::open(&self.output)?),
        };
        until_interrupted(&what, async {
            export.run(&mut *sink).await?;
            sink.finish().await
        })
        .await
    }

    fn platforms(&self) -> Option<Matcher> {
        match self.platform.as_slice() {
            _ if self.all_platforms => None,
            [] => Some(Matcher::only(&Platform::host())),
            platforms => Some(Matcher::ordered(platforms)),
        }
    }
}

/// What was there before.
#[derive(Debug)]
struct Sink<W> {
    what: String,
    to: W,
}

#[async_trait::async_trait]
impl<W: Write + Send + std::fmt::Debug> ByteSink for Sink<W> {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.to.write_all(&bytes).map_err(|error| failed(&self.what, error))
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.to.flush().map_err(|error| failed(&self.what, error))
    }
}

/// A file that has its name once it is whole; what had that name stays until then.
#[derive(Debug)]
struct NewFile {
    sink: Sink<File>,
    unfinished: Option<(PathBuf, PathBuf)>,
}

impl NewFile {
    fn open(path: &Path) -> Result<NewFile> {
        let what = format!("write {}", path.display());
        // A pipe or a device is written to as it is.
        let special = fs::metadata(path).is_ok_and(|meta| !meta.is_file());
        let (open, unfinished) = if special {
            (OpenOptions::new().write(true).open(path), None)
        } else {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}.partial", std::process::id()));
            let partial = path.with_file_name(name);
            (File::create_new(&partial), Some((partial, path.to_owned())))
        };
        let file = open.map_err(|error| failed(&what, error))?;
        Ok(NewFile { sink: Sink { what, to: file }, unfinished })
    }
}

#[async_trait::async_trait]
impl ByteSink for NewFile {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.sink.write(bytes).await
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let Some((partial, path)) = &self.unfinished else { return Ok(()) };
        let done = self.sink.to.sync_all().and_then(|()| fs::rename(partial, path));
        done.map_err(|error| failed(&self.sink.what, error))?;
        self.unfinished = None;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some((partial, _)) = &self.unfinished {
            // It failed already; that is what is told.
            let _ = fs::remove_file(partial);
        }
    }
}

fn failed(what: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::ResourceExhausted,
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::PermissionDenied => Kind::PermissionDenied,
        _ => Kind::Unavailable,
    };
    Error::new(kind, what).with_source(error)
}
