//! `lamina content get`

use clap::Args;
use lamina_core::{Digest, Error, Result};

use crate::cli::Context;

/// Writes a blob's bytes to standard output
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The blob
    digest: Digest,
    /// Begin at this byte
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    offset: u64,
    /// Write at most so many bytes
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
}

/// Bytes per read.
const CHUNK: usize = 1 << 20;

impl Get {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let reader = super::content(cx, &session).reader(&self.digest).await?;
        let length = reader.size();
        if self.offset > length {
            return Err(Error::out_of_range(format!(
                "blob {} has {length} bytes, offset {} is behind its end",
                self.digest, self.offset
            )));
        }
        let end = self.size.map_or(length, |size| length.min(self.offset.saturating_add(size)));
        let mut at = self.offset;
        while at < end && cx.out.is_read() {
            let most = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
            let bytes = reader.read_at(at, most).await?;
            if bytes.is_empty() {
                return Err(Error::data_loss(format!(
                    "blob {} ends at byte {at}, it should have {length}",
                    self.digest
                )));
            }
            at += bytes.len() as u64;
            cx.out.bytes(&bytes)?;
        }
        Ok(())
    }
}
