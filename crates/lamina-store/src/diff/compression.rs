//! Which compression a stream has, told by its first bytes, and the way out of it.
//!
//! Media types lie, so the content decides: `1f 8b 08` is gzip (any number of members, RFC 1952
//! §2.2), `28 b5 2f fd` or a skippable frame `5? 2a 4d 18` is zstd (any number of frames,
//! RFC 8878 §3.1), anything else is taken as it is. An empty stream is an empty layer.
//!
//! Every error of a [`Decoder`] carries a [`lamina_core::Error`] whose kind tells a source that
//! failed (its own kind, or Unavailable) from a stream that is damaged or cut off (DataLoss).
//! [`error`] takes it out again.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use lamina_core::{Error, Result};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not, or in no way we know.
    None,
    /// gzip, one member or several.
    Gzip,
    /// zstd, one frame or several.
    Zstd,
}

impl Compression {
    /// What the first bytes of a stream say. Four bytes are enough; fewer only if there are no more.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Compression::None => "plain",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

/// Reads a stream and gives what it says without its compression.
pub struct Decoder<R: Read> {
    stream: Stream<R>,
}

/// The first bytes, which were read to look at them, and the rest.
type Whole<R> = Chain<Cursor<Vec<u8>>, Source<R>>;

enum Stream<R: Read> {
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Whole<R>>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Whole<R>>>>),
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes and decides.
    ///
    /// # Errors
    /// The source's; Internal if the decoder cannot be set up.
    pub fn new(input: R) -> Result<Self> {
        let mut source = Source(input);
        let mut start = Vec::with_capacity(MAGIC_LEN);
        (&mut source).take(MAGIC_LEN as u64).read_to_end(&mut start).map_err(error)?;
        let compression = Compression::detect(&start);
        let whole = Cursor::new(start).chain(source);
        let buffered = |whole| BufReader::with_capacity(BUFFER, whole);
        let stream = match compression {
            Compression::None => Stream::Plain(whole),
            Compression::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(buffered(whole)))),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(whole));
                let mut decoder =
                    decoder.map_err(|cause| Error::internal("set up zstd").with_source(cause))?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG)
                    .map_err(|cause| Error::internal("set up zstd").with_source(cause))?;
                Stream::Zstd(Box::new(decoder))
            }
        };
        Ok(Decoder { stream })
    }

    /// What the first bytes said.
    pub fn compression(&self) -> Compression {
        match self.stream {
            Stream::Plain(_) => Compression::None,
            Stream::Gzip(_) => Compression::Gzip,
            Stream::Zstd(_) => Compression::Zstd,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = match &mut self.stream {
            Stream::Plain(stream) => stream.read(buf),
            Stream::Gzip(stream) => stream.read(buf),
            Stream::Zstd(stream) => stream.read(buf),
        };
        result.map_err(|cause| damaged(self.compression(), cause))
    }
}

impl<R: Read> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("compression", &self.compression()).finish_non_exhaustive()
    }
}

/// The error that a reader of this module carries; any other reader's as Unavailable, or DataLoss
/// if it says that the stream ended too early.
pub fn error(cause: io::Error) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => error,
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            Error::data_loss("the layer's stream ends too early").with_source(cause)
        }
        Err(cause) => Error::unavailable("read the layer").with_source(cause),
    }
}

/// Wraps an error so that it passes through [`Read`]; [`error`] takes it out again.
pub fn carry(error: Error) -> io::Error {
    io::Error::other(error)
}

/// The input, whose errors are marked as its own before a decoder can take them for its data's.
struct Source<R>(R);

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|cause| match cause.kind() {
            io::ErrorKind::Interrupted => cause,
            _ => carry(error(cause)),
        })
    }
}

fn damaged(compression: Compression, cause: io::Error) -> io::Error {
    if cause.kind() == io::ErrorKind::Interrupted {
        return cause;
    }
    let cut = cause.kind() == io::ErrorKind::UnexpectedEof;
    carry(cause.downcast::<Error>().unwrap_or_else(|cause| {
        let what = if cut { "ends too early" } else { "is damaged" };
        Error::data_loss(format!("the layer's {} stream {what}", compression.name()))
            .with_source(cause)
    }))
}

const MAGIC_LEN: usize = 4;
/// Compressed bytes are asked for in pieces of this size.
const BUFFER: usize = 256 * 1024;
/// 128 MiB, zstd's own default limit: a frame that wants a larger window is refused, because the
/// window is memory that a stranger makes us allocate.
const ZSTD_WINDOW_LOG: u32 = 27;

#[cfg(test)]
mod tests;
