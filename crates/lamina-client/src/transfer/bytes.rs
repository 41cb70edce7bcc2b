//! Archives on streams, from the client's side: pieces against credit, as containerd has it.
//!
//! Who receives grants credit in bytes, who sends waits for it; so neither side holds more than that.

use bytes::Bytes;
use futures_util::StreamExt as _;
use lamina_api::convert::any;
use lamina_api::proto::containerd::types::transfer as proto;
use lamina_core::transfer::{ByteSink, ByteStream};
use lamina_core::{Error, Result};

use crate::streams::Stream;

/// Credit below which more is granted, and how much then.
const WINDOW: i32 = 64 << 10;
/// Bytes of one message.
const PIECE: usize = 32 << 10;

/// Sends an archive. That it was taken, the call says.
///
/// # Errors
/// That of `bytes`.
pub(super) async fn send(stream: &mut Stream, bytes: &mut ByteStream) -> Result<()> {
    let mut credit = 0_i64;
    while let Some(piece) = bytes.next().await {
        let mut piece = piece?;
        while !piece.is_empty() {
            while credit <= 0 {
                match grant(stream).await? {
                    Some(more) => credit = credit.saturating_add(more),
                    // It wants no more: it has an error to tell, or the archive ended before its file.
                    None => return Ok(()),
                }
            }
            let most = usize::try_from(credit).unwrap_or(PIECE).min(PIECE);
            let data = piece.split_to(most.min(piece.len()));
            credit -= length(&data);
            if stream.send(any::pack(&proto::Data { data })).await.is_err() {
                return Ok(());
            }
        }
    }
    // Only this side of the stream may end now: the daemon still reads what is under way.
    stream.close();
    while grant(stream).await?.is_some() {}
    Ok(())
}

/// More credit; none when the daemon reads no more. Why it does not, the call says.
async fn grant(stream: &mut Stream) -> Result<Option<i64>> {
    let Ok(Some(message)) = stream.receive().await else { return Ok(None) };
    let grant: proto::WindowUpdate = any::unpack("credit for the archive", &message)?;
    match grant.update {
        1.. => Ok(Some(i64::from(grant.update))),
        none => Err(Error::unavailable(format!("the daemon grants credit of {none} bytes"))),
    }
}

/// Takes an archive into `sink`, which is left unfinished: only the call knows whether it is whole.
///
/// # Errors
/// That of `sink`; Unavailable when the connection broke.
pub(super) async fn take(stream: &mut Stream, sink: &mut dyn ByteSink) -> Result<()> {
    let mut credit = 0_i64;
    loop {
        if credit < i64::from(WINDOW) {
            // A daemon that has sent all may be gone; what it sent is still to be read.
            let _ = stream.send(any::pack(&proto::WindowUpdate { update: WINDOW })).await;
            credit += i64::from(WINDOW);
        }
        let Some(message) = stream.receive().await? else { return Ok(()) };
        let piece: proto::Data = any::unpack("a piece of the archive", &message)?;
        credit -= length(&piece.data);
        if !piece.data.is_empty() {
            sink.write(piece.data).await?;
        }
    }
}

fn length(bytes: &Bytes) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
