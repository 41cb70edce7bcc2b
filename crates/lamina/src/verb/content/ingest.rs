//! `lamina content ingest`

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::BytesMut;
use clap::Args;
use lamina_core::content::{CommitOptions, Info, WriteOptions};
use lamina_core::digest::Hasher;
use lamina_core::{ContentStore, ContentWriter, Digest, Error, Kind, Labels, Result, labels};

use crate::cli::Context;
use crate::cli::labels::{LabelArg, of};

/// Reads a blob from a file or standard input, and prints its digest
///
/// An ingest that was interrupted goes on where it was when it is started again with the same
/// reference and the same --expected-digest; without a digest to check against it begins anew.
///
/// The blob gets the label containerd.io/gc.root, so that it stays until it is removed.
#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// A name for this write while it is under way
    #[arg(value_name = "REF")]
    reference: String,
    /// The file to read, - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The digest that the bytes must have
    #[arg(long, value_name = "DIGEST")]
    expected_digest: Option<Digest>,
    /// The size that the bytes must have
    #[arg(long, value_name = "BYTES")]
    expected_size: Option<u64>,
    /// A label of the blob
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<LabelArg>,
}

/// Bytes per write.
const CHUNK: usize = 1 << 20;

impl Ingest {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let mut input = Input::open(&self.file)?;
        let mut labels = of(&self.label);
        let now = jiff::Timestamp::now().round(jiff::Unit::Second);
        let now = now.map_err(|error| Error::internal("read the clock").with_source(error))?;
        labels.entry(labels::GC_ROOT.to_owned()).or_insert_with(|| now.to_string());

        let session = cx.connect().await?;
        let content = super::content(cx, &session);
        let digest = match self.write(&*content, &mut input, labels.clone()).await {
            Err(Here { error, digest: Some(digest) }) if error.is_already_exists() => {
                keep(&*content, &digest, labels).await?;
                digest
            }
            Err(Here { error, .. }) => {
                return Err(error.context(format!("ingest {:?}", self.reference)));
            }
            Ok(digest) => digest,
        };
        cx.line(digest)
    }

    async fn write(
        &self,
        content: &dyn ContentStore,
        input: &mut Input,
        labels: Labels,
    ) -> Result<Digest, Here> {
        let expected = self.expected_digest.clone();
        let here = |digest: &Option<Digest>| {
            let digest = digest.clone();
            move |error| Here { error, digest }
        };
        let options =
            WriteOptions { expected: expected.clone(), total: self.expected_size.unwrap_or(0) };
        let left = match content.status(&self.reference).await {
            Ok(left) => Some(left),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(here(&None)(error)),
        };
        let mut writer = content.writer(&self.reference, options).await.map_err(here(&expected))?;
        let same = expected.is_some() && left.is_none_or(|left| left.expected == expected);
        go_on(&mut *writer, input, same).await.map_err(here(&None))?;
        // The store hashes too, but does not say what it found when it has the blob already.
        let mut hasher = expected.is_none().then(Hasher::default);
        loop {
            let bytes = input.next().map_err(here(&None))?;
            if bytes.is_empty() {
                break;
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(&bytes);
            }
            writer.write(bytes.freeze()).await.map_err(here(&None))?;
        }
        let digest = hasher.map(Hasher::finish).or_else(|| expected.clone());
        let options = CommitOptions { size: self.expected_size, expected, labels };
        writer.commit(options).await.map_err(here(&digest))
    }
}

/// Leaves out what the ingest has already: an earlier try's bytes, or a whole blob that another
/// namespace has. Only when the digest is sure to be the `same` as it was, or bytes of two things
/// would be mixed.
async fn go_on(writer: &mut dyn ContentWriter, input: &mut Input, same: bool) -> Result<()> {
    let status = writer.status();
    if status.offset == 0 {
        return Ok(());
    }
    if same && input.skip(status.offset)? {
        tracing::debug!(offset = status.offset, "going on with an earlier ingest");
        return Ok(());
    }
    writer.truncate(0).await
}

/// An error, and the digest of what was being written as far as it is known.
struct Here {
    error: Error,
    digest: Option<Digest>,
}

/// The blob was here already: it gets the labels all the same.
async fn keep(content: &dyn ContentStore, digest: &Digest, labels: Labels) -> Result<()> {
    let paths: Vec<String> = labels.keys().map(|key| format!("labels.{key}")).collect();
    let mut info: Info = content.info(digest).await?;
    info.labels = labels;
    content.update(info, &paths).await?;
    Ok(())
}

/// Where the bytes come from.
struct Input {
    name: String,
    file: File,
}

impl Input {
    fn open(path: &std::path::Path) -> Result<Input> {
        use std::os::fd::AsFd as _;
        let standard = path.as_os_str() == "-";
        let name = if standard { "standard input".to_owned() } else { path.display().to_string() };
        let file = match standard {
            true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            false => File::open(path),
        };
        let file = file.map_err(|error| failed("open", &name, error))?;
        let meta = file.metadata().map_err(|error| failed("open", &name, error))?;
        if meta.is_dir() {
            return Err(failed("read", &name, io::ErrorKind::IsADirectory.into()));
        }
        Ok(Input { name, file })
    }

    /// The next bytes; none at the end.
    fn next(&mut self) -> Result<BytesMut> {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let mut filled = 0;
        while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", &self.name, error)),
            }
        }
        chunk.truncate(filled);
        Ok(chunk)
    }

    /// Leaves out the first `count` bytes. False, with nothing left out, when a file is shorter.
    fn skip(&mut self, count: u64) -> Result<bool> {
        let fail = |error| failed("read", &self.name, error);
        let meta = self.file.metadata().map_err(fail)?;
        if meta.is_file() {
            let at = self.file.stream_position().map_err(fail)?;
            if meta.len().saturating_sub(at) < count {
                return Ok(false);
            }
            self.file.seek(SeekFrom::Start(at + count)).map_err(fail)?;
            return Ok(true);
        }
        let skipped = io::copy(&mut (&self.file).take(count), &mut io::sink()).map_err(fail)?;
        if skipped < count {
            return Err(Error::invalid_argument(format!(
                "{} ended after {skipped} bytes, an earlier try had {count} already",
                self.name
            )));
        }
        Ok(true)
    }
}

fn failed(what: &str, name: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => Kind::InvalidArgument,
        _ => Kind::Unknown,
    };
    Error::new(kind, format!("{what} {name}")).with_source(error)
}
