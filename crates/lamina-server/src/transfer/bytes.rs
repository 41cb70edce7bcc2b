//! Archives on the streams of clients: pieces against credit, as containerd's clients have it.
//!
//! Who receives grants credit in bytes, who sends waits for it. So an archive that goes nowhere stops at
//! its sender, and nothing grows.

use bytes::Bytes;
use futures_util::stream;
use lamina_api::convert::any;
use lamina_api::proto::containerd::types::transfer as proto;
use lamina_core::transfer::{ByteSink, ByteStream};
use lamina_core::{Error, Result};
use std::time::Duration;

use crate::streams::Stream;

/// Credit below which more is granted, and how much then.
const WINDOW: i32 = 64 << 10;
/// Bytes of one message.
const PIECE: usize = 32 << 10;
/// How long a client may take to write away what it got last.
const LAST_PIECES: Duration = Duration::from_secs(5);

/// What a client sends. It has sent all when it ends the stream.
pub(crate) fn incoming(stream: Stream) -> ByteStream {
    Box::pin(stream::try_unfold((stream, 0_i64), |(mut stream, mut credit)| async move {
        loop {
            if credit < i64::from(WINDOW) {
                stream.send(any::pack(&proto::WindowUpdate { update: WINDOW })).await?;
                credit += i64::from(WINDOW);
            }
            let Some(message) = stream.receive().await? else { return Ok(None) };
            let piece: proto::Data = any::unpack("a piece of the archive", &message)?;
            credit -= i64::try_from(piece.data.len()).unwrap_or(i64::MAX);
            if !piece.data.is_empty() {
                return Ok(Some((piece.data, (stream, credit))));
            }
        }
    }))
}

/// What a client gets. It has got all when the stream ends.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: Stream,
    credit: i64,
}

impl Outgoing {
    pub(crate) fn new(stream: Stream) -> Self {
        Outgoing { stream, credit: 0 }
    }

    async fn grant(&mut self) -> Result<()> {
        let message = self.stream.receive().await?;
        let message = message.ok_or_else(|| Error::cancelled("the client has ended the stream"))?;
        let grant: proto::WindowUpdate = any::unpack("credit for the archive", &message)?;
        if grant.update <= 0 {
            return Err(Error::invalid_argument(format!("credit of {} bytes", grant.update)));
        }
        self.credit = self.credit.saturating_add(i64::from(grant.update));
        Ok(())
    }
}

#[tonic::async_trait]
impl ByteSink for Outgoing {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            while self.credit <= 0 {
                self.grant().await?;
            }
            let most = usize::try_from(self.credit).unwrap_or(PIECE).min(PIECE);
            let piece = bytes.split_to(most.min(bytes.len()));
            self.credit -= i64::try_from(piece.len()).unwrap_or(i64::MAX);
            self.stream.send(any::pack(&proto::Data { data: piece })).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        // A client that hears of the end first may leave before it has written everything. As it grants
        // credit when it has, that is waited for; for a while, for nothing hangs on it here.
        let taken = async {
            while self.credit < i64::from(WINDOW) {
                self.grant().await?;
            }
            self.stream.taken().await
        };
        let _ = tokio::time::timeout(LAST_PIECES, taken).await;
        Ok(())
    }
}
