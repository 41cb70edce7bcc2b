//! A stream made into a compressed blob, on all cores.
//!
//! The stream is cut into blocks of one size, each is compressed by itself, and the results follow
//! each other in the order of the blocks. So the bytes depend on the stream alone: neither on how
//! many threads there are nor on which of them was faster. What is handed from thread to thread is
//! bounded: a few blocks for each core.

mod blocks;
mod crew;
mod pack;

use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use lamina_core::digest::Hasher;
use lamina_core::{Digest, Error, Result};

pub use blocks::Blocks;
use crew::Crew;

use super::compression::Compression;

/// What went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Digest of the stream before it was compressed: a layer's diff ID.
    pub diff_id: Digest,
    /// Bytes of that.
    pub size: u64,
}

/// How many threads compress: as many as there are cores, up to where hashing, which is one thread's
/// work, becomes the limit.
pub fn cores() -> NonZero<usize> {
    const MOST: NonZero<usize> = NonZero::new(16).unwrap();
    thread::available_parallelism().map_or(NonZero::<usize>::MIN, |cores| cores.min(MOST))
}

/// Compresses what `produce` writes and gives it to `consume`, piece by piece. `produce` runs on this
/// thread, `consume` on another; both have returned when this does.
///
/// # Errors
/// Those of either; when `consume` fails, `produce` is told at its next write. What was consumed by
/// then is a part that means nothing.
pub fn encode<E: From<Error>>(
    compression: Compression,
    cores: NonZero<usize>,
    produce: impl FnOnce(&mut Blocks<'_>) -> Result<(), E>,
    consume: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<Encoded, E> {
    let depth = cores.get() + 2;
    thread::scope(|threads| {
        let (to_hash, hashed) = sync_channel(depth);
        let (to_order, ordered) = sync_channel(depth);
        let hashing = threads.spawn(move || hash(&hashed));
        let consuming = threads.spawn(move || pack::assemble(compression, &ordered, consume));
        let mut crew = Crew::new(threads, compression, cores, to_hash, to_order);
        let mut take = |block| crew.take(block);
        let mut blocks = Blocks::new(compression, &mut take);
        let produced = produce(&mut blocks).and_then(|()| blocks.finish().map_err(E::from));
        drop(blocks);
        // Lets go of the channels, so that the others end.
        drop(crew);
        let (hashed, consumed) = (hashing.join(), consuming.join());
        let panicked = || Error::internal("a thread that compresses a layer panicked");
        // Its error is why the producer broke off, if both did.
        consumed.map_err(|_| panicked())??;
        produced?;
        let (diff_id, size) = hashed.map_err(|_| panicked())?;
        Ok(Encoded { diff_id, size })
    })
}

fn hash(blocks: &Receiver<Arc<Block>>) -> (Digest, u64) {
    let mut hasher = Hasher::default();
    let mut size = 0;
    while let Ok(block) = blocks.recv() {
        hasher.update(&block.bytes);
        size += block.bytes.len() as u64;
    }
    (hasher.finish(), size)
}

/// A piece of the stream.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// What came before it, for a compression that goes on from there.
    before: Vec<u8>,
    first: bool,
    last: bool,
}

#[cfg(test)]
mod tests;
