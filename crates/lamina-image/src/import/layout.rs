//! A layout on disk as an archive, for who can only send one.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamina_core::Result;
use lamina_core::transfer::ByteStream;

use super::Source;
use super::entries::Entries;
use crate::tar;

/// The folder of an OCI layout as a tar, made while it is read.
///
/// # Errors
/// InvalidArgument, in the stream, for a folder that is no layout or cannot be read.
pub fn archive_of(dir: PathBuf) -> ByteStream {
    let opened = stream::once(Entries::open(Source::Layout(dir)));
    Box::pin(opened.map_ok(pieces).try_flatten())
}

/// What is to come of an entry: its bytes, then its padding.
type Within = Option<u64>;

fn pieces(entries: Entries) -> impl futures_util::Stream<Item = Result<Bytes>> + Send {
    let files = stream::try_unfold((entries, Within::None), |(mut entries, within)| async move {
        if let Some(size) = within {
            let piece = entries.chunk().await?;
            let within = piece.is_some().then_some(size);
            let piece = piece.unwrap_or_else(|| tar::padding(size).into());
            return Ok(Some((piece, (entries, within))));
        }
        let Some(entry) = entries.next().await? else { return Ok(None) };
        let head = tar::head(&entry.name, entry.size);
        Ok(Some((head.into(), (entries, Some(entry.size)))))
    });
    files.chain(stream::once(async { Ok(tar::end().into()) }))
}
