//! The way of bytes from the network to the thread that unpacks them: a bounded channel that reads
//! like a stream.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use lamina_core::Error;

use crate::diff::compression::carry;

/// What goes through.
#[derive(Debug)]
pub(super) enum Piece {
    /// The next bytes.
    Bytes(Bytes),
    /// All bytes were sent.
    End,
}

/// Pieces that may wait. With batches of about 1 MiB this bounds a layer's memory.
const WAITING: usize = 4;

pub(super) fn channel() -> (SyncSender<Piece>, Feed) {
    let (send, receive) = sync_channel(WAITING);
    (send, Feed { receive, bytes: Bytes::new(), ended: false })
}

/// The receiving end. Ends only after [`Piece::End`]: a sender that is gone without it gave up, and
/// half a layer must not look like a whole one.
#[derive(Debug)]
pub(super) struct Feed {
    receive: Receiver<Piece>,
    bytes: Bytes,
    ended: bool,
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.bytes.is_empty() && !self.ended {
            match self.receive.recv() {
                Ok(Piece::Bytes(bytes)) => self.bytes = bytes,
                Ok(Piece::End) => self.ended = true,
                Err(_) => return Err(carry(Error::aborted("the rest of the layer never came"))),
            }
        }
        let len = buf.len().min(self.bytes.len());
        buf[..len].copy_from_slice(&self.bytes.split_to(len));
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pieces_and_tells_an_end_from_a_sender_that_left() {
        for ends in [true, false] {
            let (send, mut feed) = channel();
            send.send(Piece::Bytes(Bytes::from_static(b"ab"))).unwrap();
            send.send(Piece::Bytes(Bytes::from_static(b"c"))).unwrap();
            if ends {
                send.send(Piece::End).unwrap();
            }
            drop(send);
            let mut all = Vec::new();
            assert_eq!(feed.read_to_end(&mut all).is_ok(), ends);
            assert_eq!(all, b"abc");
        }
    }
}
