//! A stream of bytes through work that blocks: compression and its undoing, on a thread of the pool.
//!
//! Few pieces wait on either side, so that neither end runs ahead of the other. Whoever drops the
//! stream ends the work at its next piece.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, stream};
use lamina_core::transfer::ByteStream;
use lamina_core::{Error, Kind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that wait on each side.
const WAITING: usize = 4;
/// Bytes of a piece that comes out.
const PIECE: usize = 64 << 10;

/// What goes into the work.
pub(crate) struct Incoming {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

/// What comes out of it.
pub(crate) struct Outgoing {
    pieces: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

struct Through {
    source: ByteStream,
    into: Option<mpsc::Sender<Bytes>>,
    out: mpsc::Receiver<Bytes>,
    work: Option<JoinHandle<io::Result<()>>>,
    failed: Option<Error>,
}

/// Sends `source` through `work`; `what` names it in errors. An error of `source` comes before one that
/// the work has because of it.
pub(crate) fn through(
    source: ByteStream,
    what: &'static str,
    work: impl FnOnce(Incoming, &mut Outgoing) -> io::Result<()> + Send + 'static,
) -> ByteStream {
    let (into, pieces) = mpsc::channel(WAITING);
    let incoming = Incoming { pieces, piece: Bytes::new() };
    let (pieces, out) = mpsc::channel(WAITING);
    let mut outgoing = Outgoing { pieces, piece: Vec::with_capacity(PIECE) };
    // joined: by `end`, or it ends at its next piece when the stream is dropped
    let work = tokio::task::spawn_blocking(move || {
        work(incoming, &mut outgoing)?;
        outgoing.flush()
    });
    let through = Through { source, into: Some(into), out, work: Some(work), failed: None };
    let pieces = stream::unfold(through, move |mut through| async move {
        through.next(what).await.map(|piece| (piece, through))
    });
    Box::pin(pieces)
}

impl Through {
    async fn next(&mut self, what: &str) -> Option<Result<Bytes>> {
        loop {
            let into = self.into.clone();
            tokio::select! {
                biased;
                piece = self.out.recv() => match piece {
                    Some(piece) => return Some(Ok(piece)),
                    None => return self.end(what).await.map(Err),
                },
                fed = feed(&mut self.source, into.as_ref()), if into.is_some() => match fed {
                    Ok(true) => {}
                    Ok(false) => self.into = None,
                    Err(error) => {
                        self.failed = Some(error);
                        self.into = None;
                    }
                },
            }
        }
    }

    /// What the work ended with; said once.
    async fn end(&mut self, what: &str) -> Option<Error> {
        self.into = None;
        let ended = self.work.take()?.await;
        if let Some(failed) = self.failed.take() {
            return Some(failed);
        }
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Error::new(Kind::DataLoss, what).with_source(error)),
            Err(died) => Some(Error::internal(format!("{what} died")).with_source(died)),
        }
    }
}

/// Hands one piece on; whether there may be more.
async fn feed(source: &mut ByteStream, into: Option<&mpsc::Sender<Bytes>>) -> Result<bool> {
    let Some(into) = into else { return Ok(false) };
    let Ok(room) = into.reserve().await else { return Ok(false) };
    match source.next().await {
        Some(piece) => room.send(piece?),
        None => return Ok(false),
    }
    Ok(true)
}

impl Read for Incoming {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let some = self.piece.len().min(to.len());
        self.piece.copy_to_slice(&mut to[..some]);
        Ok(some)
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..some]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn copied(source: Vec<Result<Bytes>>) -> Result<Vec<u8>> {
        let source: ByteStream = Box::pin(stream::iter(source));
        let mut through = through(source, "copy", |mut from, to| io::copy(&mut from, to).map(drop));
        let mut whole = Vec::new();
        while let Some(piece) = through.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole)
    }

    #[tokio::test]
    async fn all_comes_through_and_errors_too() {
        let piece = || Ok(Bytes::from(vec![7; 100_000]));
        assert_eq!(copied(vec![piece(), piece()]).await.unwrap(), vec![7; 200_000]);
        assert_eq!(copied(Vec::new()).await.unwrap(), b"");
        let broken = copied(vec![piece(), Err(Error::unavailable("gone"))]).await.unwrap_err();
        assert_eq!(broken.kind(), Kind::Unavailable);
    }

    #[tokio::test]
    async fn the_works_own_error_is_named() {
        let source: ByteStream = Box::pin(stream::empty());
        let mut through = through(source, "work", |_, _| Err(io::Error::other("no")));
        let error = through.next().await.unwrap().unwrap_err();
        assert_eq!(error.chain(), "work: no");
        assert!(through.next().await.is_none());
    }
}
