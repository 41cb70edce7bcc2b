//! A blob of a daemon: each read is a call.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use lamina_api::convert::field;
use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_core::{ContentReader, Digest, Result};
use proto::content_client::ContentClient;

use crate::link::Link;

/// Does not hold the blob: over the API, one that is deleted meanwhile is NotFound to the next read.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) link: Link,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

#[async_trait]
impl ContentReader for Reader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let wanted = self.size.saturating_sub(offset).min(len as u64);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let asked = proto::ReadContentRequest {
            digest: self.digest.to_string(),
            offset: field::encode_size(offset),
            size: field::encode_size(wanted),
        };
        let mut chunks = ask!(self.link, ContentClient.read(asked))?;
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(chunk) = chunks.message().await.map_err(|s| self.link.failed(&s))? {
            // One chunk, the usual case, is passed on as it came.
            if first.is_empty() {
                first = chunk.data;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&chunk.data);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}
