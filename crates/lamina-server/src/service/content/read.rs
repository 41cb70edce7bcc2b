//! Content.Read: a part of a blob in chunks.

use futures_util::stream::{self, StreamExt as _};
use lamina_api::convert::field;
use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_core::content::ContentStore;
use lamina_core::{Error, Result};

use crate::service::pages::Messages;
use crate::service::status;

/// The most bytes of a chunk, as containerd has it.
const CHUNK: u64 = 1 << 20;

/// Reads what `asked` names. No size, or one that reaches behind the end, is to the end. A chunk is
/// read once the one before it went out, and says where in the blob it begins.
///
/// # Errors
/// NotFound for no such blob, OutOfRange for an offset behind its end.
pub(super) async fn read(
    store: &dyn ContentStore,
    asked: proto::ReadContentRequest,
) -> Result<Messages<proto::ReadContentResponse>> {
    let digest = field::decode_digest("digest", &asked.digest)?;
    let offset = field::decode_size("offset", asked.offset)?;
    let reader = store.reader(&digest).await?;
    let size = reader.size();
    if offset > size {
        return Err(Error::out_of_range(format!(
            "offset {offset} is behind the {size} bytes of content {digest}"
        )));
    }
    let end = match u64::try_from(asked.size) {
        Ok(wanted @ 1..) => offset.saturating_add(wanted).min(size),
        _ => size,
    };
    let chunks = stream::try_unfold((reader, offset), move |(reader, at)| async move {
        let len = usize::try_from((end - at).min(CHUNK)).unwrap_or(usize::MAX);
        if len == 0 {
            return Ok(None);
        }
        let data = reader.read_at(at, len).await.map_err(status)?;
        let next = at + data.len() as u64;
        let chunk = proto::ReadContentResponse { offset: field::encode_size(at), data };
        Ok(Some((chunk, (reader, next))))
    });
    Ok(chunks.boxed())
}
