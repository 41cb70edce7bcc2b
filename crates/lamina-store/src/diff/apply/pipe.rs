//! Blocks of a stream on their way between threads.
//!
//! A fixed number of buffers goes round: the producer fills one, every consumer sees it, and when
//! the last has let go of it, it comes home. So memory does not grow, and whoever is slowest sets
//! the pace.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use lamina_core::{Error, Result};

use super::options::Limits;
use crate::diff::compression;

/// A filled buffer.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    home: SyncSender<Vec<u8>>,
}

impl Block {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // If the producer is gone, nobody needs the buffer; there is room for all of them.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// The empty buffers, at the producer.
#[derive(Debug)]
pub(super) struct Pool {
    home: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let (home, empty) = sync_channel(BLOCKS);
        for _ in 0..BLOCKS {
            // The channel has room for exactly these.
            let _ = home.try_send(Vec::new());
        }
        Pool { home, empty }
    }

    /// A block with as many bytes as fit; `None` at the end of the stream. Waits for a buffer.
    pub(super) fn fill(&self, input: &mut impl Read) -> Result<Option<Arc<Block>>> {
        let mut bytes = self
            .empty
            .recv()
            .map_err(|cause| Error::internal("the layer's buffers are gone").with_source(cause))?;
        bytes.clear();
        bytes.reserve_exact(BLOCK_LEN);
        let read = input.take(BLOCK_LEN as u64).read_to_end(&mut bytes);
        let block = Block { bytes, home: self.home.clone() };
        read.map_err(compression::error)?;
        Ok(if block.bytes.is_empty() { None } else { Some(Arc::new(block)) })
    }
}

/// What travels to a consumer that must hear of errors. A sender that goes away without `End` has
/// panicked, which must not look like the end.
#[derive(Debug)]
pub(super) enum Piece {
    Block(Arc<Block>),
    End,
    Failed(Error),
}

/// How many pieces may wait for a consumer.
pub(super) fn channel<T>() -> (SyncSender<T>, Receiver<T>) {
    sync_channel(BLOCKS)
}

/// The consumer's end as a reader.
#[derive(Debug)]
pub(super) struct BlockReader<'a> {
    pieces: Receiver<Piece>,
    limits: &'a Limits,
    block: Option<Arc<Block>>,
    used: usize,
    received: u64,
    ended: bool,
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(pieces: Receiver<Piece>, limits: &'a Limits) -> Self {
        BlockReader { pieces, limits, block: None, used: 0, received: 0, ended: false }
    }

    fn rest(&self) -> &[u8] {
        self.block.as_ref().and_then(|block| block.bytes().get(self.used..)).unwrap_or_default()
    }
}

impl BufRead for BlockReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest().is_empty() && !self.ended {
            self.block = None;
            self.used = 0;
            match self.pieces.recv() {
                Ok(Piece::Block(block)) => {
                    self.received += block.bytes().len() as u64;
                    self.limits.check_stream(self.received).map_err(compression::carry)?;
                    self.block = Some(block);
                }
                Ok(Piece::End) => self.ended = true,
                Ok(Piece::Failed(error)) => return Err(compression::carry(error)),
                Err(cause) => {
                    let error = Error::internal("reading the layer broke off").with_source(cause);
                    return Err(compression::carry(error));
                }
            }
        }
        Ok(self.rest())
    }

    fn consume(&mut self, len: usize) {
        self.used += len;
    }
}

impl Read for BlockReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buf)?;
        self.consume(len);
        Ok(len)
    }
}

/// Large enough that threads seldom wait for each other over small things.
const BLOCK_LEN: usize = 256 * 1024;
/// Two megabytes in all.
const BLOCKS: usize = 8;
