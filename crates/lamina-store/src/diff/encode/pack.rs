//! One block compressed, and the blocks put together.
//!
//! gzip: one member (RFC 1952), whose blocks of deflate (RFC 1951) end on whole bytes; each begins
//! with what came before it as its dictionary, so that cutting costs next to nothing. Readers that
//! know only one member read it, too. zstd: a frame for each block (RFC 8878 §3: frames follow each
//! other).

use std::sync::mpsc::Receiver;

use flate2::{Compress, Crc, FlushCompress, Status};
use lamina_core::{Error, Result};

use super::Block;
use super::crew::{Packed, Place};
use crate::diff::compression::Compression;

/// How long blocks are. It decides which bytes come out, so it does not change.
pub(super) fn block_len(compression: Compression) -> usize {
    match compression {
        Compression::None | Compression::Gzip => 1 << 20,
        // A frame knows nothing of those before it.
        Compression::Zstd => 4 << 20,
    }
}

/// How much of what came before a block it is compressed with.
pub(super) fn history_len(compression: Compression) -> usize {
    match compression {
        // The window of deflate.
        Compression::Gzip => 32 << 10,
        Compression::None | Compression::Zstd => 0,
    }
}

/// Compresses a block.
pub(super) fn pack(compression: Compression, block: &Block) -> Result<Packed> {
    let mut crc = Crc::new();
    let bytes = match compression {
        Compression::None => block.bytes.clone(),
        Compression::Gzip => {
            crc.update(&block.bytes);
            deflate(block)
                .map_err(|cause| Error::internal("compress a layer").with_source(cause))?
        }
        // The last may be empty.
        Compression::Zstd if block.bytes.is_empty() && !block.first => Vec::new(),
        Compression::Zstd => zstd_frame(&block.bytes)
            .map_err(|cause| Error::internal("compress a layer").with_source(cause))?,
    };
    Ok(Packed { bytes, crc, last: block.last })
}

/// Takes the blocks in their order, puts around them what the format wants, and passes all of it on.
pub(super) fn assemble(
    compression: Compression,
    places: &Receiver<Place>,
    mut consume: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let gzip = compression == Compression::Gzip;
    let (mut first, mut crc) = (true, Crc::new());
    while let Ok(place) = places.recv() {
        if std::mem::take(&mut first) && gzip {
            consume(&GZIP_HEADER)?;
        }
        let packed = match place {
            Place::Plain(block) => {
                consume(&block.bytes)?;
                continue;
            }
            Place::Later(answer) => {
                let broken = |_| Error::internal("a thread that compresses a layer panicked");
                answer.recv().map_err(broken)??
            }
        };
        consume(&packed.bytes)?;
        crc.combine(&packed.crc);
        if packed.last && gzip {
            consume(&crc.sum().to_le_bytes())?;
            consume(&crc.amount().to_le_bytes())?;
        }
    }
    Ok(())
}

/// Without name and time; the system that made it is not told (RFC 1952 §2.3.1, as Go).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The default of zlib.
const GZIP_LEVEL: u32 = 6;
/// The default of zstd.
const ZSTD_LEVEL: i32 = 3;

fn deflate(block: &Block) -> Result<Vec<u8>, flate2::CompressError> {
    let mut packer = Compress::new(flate2::Compression::new(GZIP_LEVEL), false);
    if !block.before.is_empty() {
        packer.set_dictionary(&block.before)?;
    }
    let flush = if block.last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut out = Vec::with_capacity(block.bytes.len() / 2 + ROOM);
    loop {
        let done = usize::try_from(packer.total_in()).unwrap_or(usize::MAX);
        let rest = block.bytes.get(done..).unwrap_or_default();
        let status = packer.compress_vec(rest, &mut out, flush)?;
        // With room to spare it has said all there is.
        let ended = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => out.len() < out.capacity(),
        };
        if ended {
            return Ok(out);
        }
        out.reserve(ROOM);
    }
}

fn zstd_frame(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    packer.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
    packer.compress(bytes)
}

/// By how much the output grows.
const ROOM: usize = 64 << 10;
