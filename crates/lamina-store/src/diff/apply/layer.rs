//! A whole layer: decompression, hash and extraction side by side.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;

use lamina_core::digest::Hasher;
use lamina_core::{Digest, Error, Result};

use super::extract::{Extracted, extract};
use super::options::{ApplyOptions, Limits, Target};
use super::pipe::{self, Block, BlockReader, Piece, Pool};
use crate::diff::compression::{self, Compression, Decoder};

/// What a layer turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Digest of the stream without its compression, to its very end: the layer's diff ID. Whether
    /// it is the one that was promised is for the caller to check.
    pub diff_id: Digest,
    /// Bytes of that stream.
    pub size: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// How the stream was compressed.
    pub compression: Compression,
    /// Directories, relative to the root, that no entry speaks of, that had to be made, and that
    /// no tree below has. If the layer gets a parent later, these take attributes from there.
    pub implied: Vec<PathBuf>,
    /// Directories, relative to the root, in which whiteouts were written for overlayfs. If the layer
    /// gets a parent later, those that it has no directory for go then.
    pub whiteouts: Vec<PathBuf>,
}

/// Lays a layer down as it was fetched: gzip, zstd or plain, told by its content. It is inflated
/// on one thread and hashed on another; this one makes the files. Returns when all threads ended,
/// so `compressed` must not block for ever once the caller's operation is cancelled.
///
/// # Errors
/// Named after the entry they happened at. InvalidArgument: the archive is malformed or asks for
/// what no layer may. DataLoss: it is damaged or cut off. ResourceExhausted: over a limit, disk
/// full. Cancelled. Whatever [`lamina_core::Error`] the reader carries
/// ([`compression::carry`]), with its kind; Unavailable for its other errors.
pub fn apply_layer(
    compressed: impl Read + Send,
    target: &Target,
    options: &ApplyOptions<'_>,
) -> Result<Applied> {
    (options.progress)(0);
    let (to_disk, from_stream) = pipe::channel();
    let (to_hash, hashed) = pipe::channel();
    thread::scope(|threads| {
        let inflating = threads.spawn(move || {
            let outcome = inflate(compressed, options, &to_disk, to_hash);
            let (last, compression) = match outcome {
                Ok(compression) => (Piece::End, Some(compression)),
                Err(error) => (Piece::Failed(error), None),
            };
            // If nobody listens any more, extraction failed and says why itself.
            let _ = to_disk.send(last);
            compression
        });
        let hashing = threads.spawn(move || hash(&hashed));
        let extracted = extract(BlockReader::new(from_stream, &options.limits), target, options);
        // Both end once extraction let go of its end; a panic in one is told as an error.
        let (inflated, hashed) = (inflating.join(), hashing.join());
        let Extracted { entries, implied, whiteouts } = extracted?;
        let (Ok(Some(compression)), Ok((diff_id, size))) = (inflated, hashed) else {
            return Err(Error::internal("a thread that reads the layer panicked"));
        };
        Ok(Applied { diff_id, size, entries, compression, implied, whiteouts })
    })
}

/// Lays a tar stream down that is not compressed, on this thread alone.
///
/// # Errors
/// As [`apply_layer`].
pub fn apply(tar: impl Read, target: &Target, options: &ApplyOptions<'_>) -> Result<Applied> {
    (options.progress)(0);
    let mut input = HashingReader::new(tar, options);
    let extracted = extract(&mut input, target, options)?;
    Ok(Applied {
        size: input.read,
        diff_id: input.hasher.finish(),
        entries: extracted.entries,
        compression: Compression::None,
        implied: extracted.implied,
        whiteouts: extracted.whiteouts,
    })
}

fn inflate(
    compressed: impl Read,
    options: &ApplyOptions<'_>,
    to_disk: &SyncSender<Piece>,
    to_hash: SyncSender<Arc<Block>>,
) -> Result<Compression> {
    let read = AtomicU64::new(0);
    let counted = Counted { input: compressed, read: &read, progress: options.progress };
    let mut decoder = Decoder::new(counted)?;
    let pool = Pool::new();
    let mut unpacked = 0;
    while let Some(block) = pool.fill(&mut decoder)? {
        unpacked += block.bytes().len() as u64;
        options.limits.check_ratio(unpacked, read.load(Ordering::Relaxed))?;
        let sent = to_hash.send(Arc::clone(&block)).is_ok();
        if !(sent && to_disk.send(Piece::Block(block)).is_ok()) {
            return Err(Error::aborted("nobody reads the layer any more"));
        }
    }
    Ok(decoder.compression())
}

fn hash(blocks: &Receiver<Arc<Block>>) -> (Digest, u64) {
    let mut hasher = Hasher::default();
    let mut size = 0;
    while let Ok(block) = blocks.recv() {
        hasher.update(block.bytes());
        size += block.bytes().len() as u64;
    }
    (hasher.finish(), size)
}

/// Counts what is read of the input, and tells it.
struct Counted<'a, R> {
    input: R,
    read: &'a AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buf)?;
        let before = self.read.fetch_add(len as u64, Ordering::Relaxed);
        (self.progress)(before + len as u64);
        Ok(len)
    }
}

/// A buffer that hashes what goes through it.
struct HashingReader<'a, R> {
    input: R,
    limits: &'a Limits,
    progress: &'a (dyn Fn(u64) + Sync),
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
    read: u64,
    hasher: Hasher,
}

impl<'a, R: Read> HashingReader<'a, R> {
    fn new(input: R, options: &'a ApplyOptions<'a>) -> Self {
        HashingReader {
            input,
            limits: &options.limits,
            progress: options.progress,
            buffer: vec![0; 256 * 1024],
            used: 0,
            filled: 0,
            read: 0,
            hasher: Hasher::default(),
        }
    }
}

impl<R: Read> BufRead for HashingReader<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.filled {
            let len = self.input.read(&mut self.buffer)?;
            (self.used, self.filled) = (0, len);
            self.hasher.update(&self.buffer[..len]);
            self.read += len as u64;
            self.limits.check_stream(self.read).map_err(compression::carry)?;
            (self.progress)(self.read);
        }
        Ok(&self.buffer[self.used..self.filled])
    }

    fn consume(&mut self, len: usize) {
        self.used += len;
    }
}

impl<R: Read> Read for HashingReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buf)?;
        self.consume(len);
        Ok(len)
    }
}
