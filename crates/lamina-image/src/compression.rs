//! How bytes are compressed, told by how they begin: what a media type or a name says is a claim.

use std::io::{self, Read, Write};

pub use lamina_core::media_type::Compression;

/// How many bytes [`sniff`] wants to see.
pub const MAGIC: usize = 4;

/// How content that begins with `head` is compressed.
pub fn sniff(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or one that is to be skipped, as seekable archives begin with.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// What `from` holds, decompressed.
///
/// # Errors
/// Those of starting a decoder.
pub fn decoder<'a>(
    compression: Compression,
    from: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(from),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(from)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(from)?),
    })
}

/// Copies `from` to `to`, compressing it. The same bytes always come out the same.
///
/// # Errors
/// Those of reading and writing.
pub fn compress(
    compression: Compression,
    mut from: impl Read,
    mut to: impl Write,
) -> io::Result<()> {
    match compression {
        Compression::None => io::copy(&mut from, &mut to).map(drop),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(to, flate2::Compression::default());
            io::copy(&mut from, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(to, ZSTD_LEVEL)?;
            io::copy(&mut from, &mut encoder)?;
            encoder.finish().map(drop)
        }
    }
}

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_told_and_comes_back() {
        let text = b"lamina ".repeat(10_000);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut packed = Vec::new();
            compress(compression, &text[..], &mut packed).unwrap();
            let mut again = Vec::new();
            compress(compression, &text[..], &mut again).unwrap();
            assert_eq!(packed, again);
            assert_eq!(sniff(&packed), compression);
            let mut unpacked = Vec::new();
            decoder(compression, &packed[..]).unwrap().read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, text);
        }
        assert_eq!(sniff(b""), Compression::None);
    }
}
