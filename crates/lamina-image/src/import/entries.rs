//! What an archive or a layout on disk holds, entry by entry.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::IntoIter;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use lamina_core::transfer::ByteStream;
use lamina_core::{Error, Kind, Result};

use super::Source;
use crate::compression::{self, Compression, MAGIC};
use crate::pipe;
use crate::tar::{Archive, Entry, What};

/// Bytes of a file that are read at once.
const PIECE: u64 = 256 << 10;

/// The entries of a source.
pub(super) enum Entries {
    Archive(Archive),
    Layout { left: IntoIter<(PathBuf, Entry)>, open: Option<(Arc<File>, u64, Entry)> },
}

impl Entries {
    pub(super) async fn open(source: Source) -> Result<Entries> {
        match source {
            Source::Archive(stream) => {
                plain(stream).await.map(|s| Entries::Archive(Archive::new(s)))
            }
            Source::Layout(dir) => {
                let left = blocking(move || list(&dir)).await?.into_iter();
                Ok(Entries::Layout { left, open: None })
            }
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Entry>> {
        let (left, open) = match self {
            Entries::Archive(archive) => return archive.next().await,
            Entries::Layout { left, open } => (left, open),
        };
        let Some((path, entry)) = left.next() else { return Ok(None) };
        let file = blocking(move || File::open(&path).map_err(|e| unreadable(&path, e))).await?;
        *open = Some((Arc::new(file), 0, entry.clone()));
        Ok(Some(entry))
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let open = match self {
            Entries::Archive(archive) => return archive.chunk().await,
            Entries::Layout { open, .. } => open,
        };
        let Some((file, offset, entry)) = open else { return Ok(None) };
        let some = PIECE.min(entry.size - *offset);
        if some == 0 {
            return Ok(None);
        }
        let (file, at, path) = (Arc::clone(file), *offset, entry.name.clone());
        let read = move || {
            let mut bytes = vec![0; usize::try_from(some).unwrap_or(0)];
            file.read_exact_at(&mut bytes, at).map_err(|e| unreadable(Path::new(&path), e))?;
            Ok(Bytes::from(bytes))
        };
        let bytes = blocking(read).await?;
        *offset += some;
        Ok(Some(bytes))
    }

    /// The whole entry, of at most `limit` bytes.
    pub(super) async fn whole(&mut self, name: &str, size: u64, limit: usize) -> Result<Vec<u8>> {
        if size > limit as u64 {
            return Err(Error::resource_exhausted(format!(
                "{name} of {size} bytes is larger than the limit of {limit} bytes"
            )));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// The archive without what it is compressed with.
async fn plain(mut stream: ByteStream) -> Result<ByteStream> {
    let mut head = BytesMut::new();
    while head.len() < MAGIC {
        let Some(bytes) = stream.next().await.transpose()? else { break };
        head.extend_from_slice(&bytes);
    }
    if head.is_empty() {
        return Err(Error::invalid_argument("the archive is empty"));
    }
    let compression = compression::sniff(&head);
    let whole: ByteStream = Box::pin(stream::iter([Ok(head.freeze())]).chain(stream));
    let what = match compression {
        Compression::None => return Ok(whole),
        Compression::Gzip => "the archive's gzip is damaged or cut off",
        Compression::Zstd => "the archive's zstd is damaged or cut off",
    };
    Ok(pipe::through(whole, what, move |from, to| {
        std::io::copy(&mut compression::decoder(compression, from)?, to).map(drop)
    }))
}

/// The files of a layout: first what describes it, then blobs, the small ones first, because these are
/// documents.
fn list(dir: &Path) -> Result<Vec<(PathBuf, Entry)>> {
    let mut found = Vec::new();
    for name in ["oci-layout", "index.json"] {
        let path = dir.join(name);
        let size = regular(&path)?.ok_or_else(|| {
            Error::new(
                Kind::InvalidArgument,
                format!("{} is no OCI image layout: it has no file {name}", dir.display()),
            )
        })?;
        found.push((path, Entry { name: name.to_owned(), what: What::File, size }));
    }
    let mut blobs = Vec::new();
    for algorithm in ["sha256", "sha384", "sha512"] {
        let folder = dir.join("blobs").join(algorithm);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|e| unreadable(&folder, e))?,
        };
        for entry in entries {
            let path = entry.map_err(|e| unreadable(&folder, e))?.path();
            let Some(size) = regular(&path)? else { continue };
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = format!("blobs/{algorithm}/{file}");
            blobs.push((path, Entry { name, what: What::File, size }));
        }
    }
    blobs.sort_by(|(_, a), (_, b)| (a.size, &a.name).cmp(&(b.size, &b.name)));
    found.extend(blobs);
    Ok(found)
}

/// The size of a regular file; a link is followed no further than to see that it is none.
fn regular(path: &Path) -> Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, error)),
        Ok(meta) => Ok(meta.is_file().then_some(meta.len())),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|died| Error::internal("reading a layout died").with_source(died))?
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::invalid_argument(format!("read {}", path.display())).with_source(error)
}
