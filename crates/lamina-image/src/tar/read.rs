//! Reads an archive as it comes, once, from its beginning to its end.

use bytes::Bytes;
use futures_util::StreamExt as _;
use lamina_core::transfer::ByteStream;
use lamina_core::{Error, Kind, Result};

use super::BLOCK;

/// Bytes that a long name or the PAX records of an entry may have.
const EXTENSION: u64 = 1 << 20;

/// An archive on its way.
pub(crate) struct Archive {
    stream: ByteStream,
    /// What came and was not taken.
    rest: Bytes,
    /// What is left of the current entry, and of the block it ends in.
    left: u64,
    padding: u64,
    name: String,
}

/// The head of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) size: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    File,
    /// The same as an entry of that name, seen from the archive's root.
    HardLink(String),
    /// The same as an entry of that name, seen from where the link is.
    SymLink(String),
    /// A directory, a device: nothing that holds content.
    Other,
}

/// What is said of the next entry before its head.
#[derive(Default)]
struct Told {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Archive {
    pub(crate) fn new(stream: ByteStream) -> Self {
        Archive { stream, rest: Bytes::new(), left: 0, padding: 0, name: String::new() }
    }

    /// The next entry; what was not read of the one before is skipped. `None` at the end.
    ///
    /// # Errors
    /// DataLoss for what is no archive, or ends too early; those of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>> {
        let mut told = Told::default();
        loop {
            while self.chunk().await?.is_some() {}
            let Some(block) = self.block().await? else { return Ok(None) };
            // Two of them end an archive; some end it with one, and what follows is nobody's.
            if block.iter().all(|&byte| byte == 0) {
                while self.more().await? {
                    self.rest.clear();
                }
                return Ok(None);
            }
            let size = self.check(&block)?;
            let kind = block[156];
            if matches!(kind, b'x' | b'g' | b'L' | b'K') {
                self.begin(format!("the head after {:?}", self.name), size);
                let text = self.text(size).await?;
                match kind {
                    b'x' => told.pax(&text),
                    b'L' => told.name = Some(until_nul(&text)),
                    b'K' => told.link = Some(until_nul(&text)),
                    _ => {}
                }
                continue;
            }
            let name = told.name.unwrap_or_else(|| name(&block));
            let link = told.link.unwrap_or_else(|| until_nul(&block[157..257]));
            let what = match kind {
                b'0' | 0 | b'7' if !name.ends_with('/') => What::File,
                b'1' => What::HardLink(link),
                b'2' => What::SymLink(link),
                _ => What::Other,
            };
            let size = match what {
                What::HardLink(_) | What::SymLink(_) => 0,
                _ => told.size.unwrap_or(size),
            };
            self.begin(name.clone(), size);
            return Ok(Some(Entry { name, what, size }));
        }
    }

    /// The next bytes of the entry; `None` at its end.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            while self.padding > 0 {
                if self.rest.is_empty() && !self.more().await? {
                    // Whoever cut off the last block's filling has cut off nothing.
                    self.padding = 0;
                    break;
                }
                let some = self.take(self.padding).len() as u64;
                self.padding -= some;
            }
            return Ok(None);
        }
        if self.rest.is_empty() && !self.more().await? {
            return Err(Error::new(
                Kind::DataLoss,
                format!("the archive ends within {:?}, {} bytes early", self.name, self.left),
            ));
        }
        let some = self.take(self.left);
        self.left -= some.len() as u64;
        Ok(Some(some))
    }

    fn begin(&mut self, name: String, size: u64) {
        self.name = name;
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    async fn text(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION {
            return Err(Error::resource_exhausted(format!(
                "{} has {size} bytes, more than the limit of {EXTENSION}",
                self.name
            )));
        }
        let mut text = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    }

    /// One block; `None` where the archive ends.
    async fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            if self.rest.is_empty() && !self.more().await? {
                if have == 0 {
                    return Ok(None);
                }
                return Err(Error::new(
                    Kind::DataLoss,
                    format!("the archive ends within a head, after {:?}", self.name),
                ));
            }
            let some = self.take((BLOCK - have) as u64);
            block[have..have + some.len()].copy_from_slice(&some);
            have += some.len();
        }
        Ok(Some(block))
    }

    fn take(&mut self, most: u64) -> Bytes {
        let some = usize::try_from(most).unwrap_or(usize::MAX).min(self.rest.len());
        self.rest.split_to(some)
    }

    /// Waits for bytes; false at the end.
    async fn more(&mut self) -> Result<bool> {
        loop {
            match self.stream.next().await.transpose()? {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    self.rest = bytes;
                    return Ok(true);
                }
                None => return Ok(false),
            }
        }
    }

    /// The size that a head says, if it is one.
    fn check(&self, block: &[u8; BLOCK]) -> Result<u64> {
        let sum = block.iter().enumerate().map(|(at, &byte)| match at {
            148..156 => 32,
            _ => u64::from(byte),
        });
        let bad = |why: &str| {
            Error::new(Kind::DataLoss, format!("no tar archive: {why} after {:?}", self.name))
        };
        if number(&block[148..156]) != Some(sum.sum()) {
            return Err(bad("a head whose sum is wrong"));
        }
        number(&block[124..136]).ok_or_else(|| bad("a head without a size"))
    }
}

impl Told {
    /// Takes PAX records; what is no record ends them.
    fn pax(&mut self, mut records: &[u8]) {
        while let Some(space) = records.iter().position(|&byte| byte == b' ') {
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|l| l.parse().ok());
            let Some(length) = length.filter(|&l: &usize| l > space + 1 && l <= records.len())
            else {
                return;
            };
            let record = String::from_utf8_lossy(&records[space + 1..length - 1]).into_owned();
            records = &records[length..];
            match record.split_once('=') {
                Some(("path", path)) => self.name = Some(path.to_owned()),
                Some(("linkpath", path)) => self.link = Some(path.to_owned()),
                Some(("size", size)) => self.size = size.parse().ok(),
                _ => {}
            }
        }
    }
}

fn name(block: &[u8; BLOCK]) -> String {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    // GNU's own form has other things there.
    match block[257..263] == *b"ustar\0" && !prefix.is_empty() {
        true => format!("{prefix}/{name}"),
        false => name,
    }
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Octal digits, or with the first bit set a binary number.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let empty = high[0] == 0x80 && high[1..].iter().all(|&byte| byte == 0);
        let low: [u8; 8] = low.try_into().ok()?;
        return empty.then(|| u64::from_be_bytes(low)).filter(|&n| n <= i64::MAX as u64);
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(|c: char| c == '\0' || c == ' ');
    if text.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::super::{end, head, padding};
    use super::*;

    fn archive(bytes: &[u8], piece: usize) -> Archive {
        let pieces: Vec<_> = bytes.chunks(piece).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        Archive::new(Box::pin(stream::iter(pieces)))
    }

    fn files(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in files {
            bytes.extend(head(name, content.len() as u64));
            bytes.extend_from_slice(content);
            bytes.extend(padding(content.len() as u64));
        }
        bytes.extend(end());
        bytes
    }

    #[tokio::test]
    async fn what_is_written_is_read_in_pieces_of_any_size() {
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        let bytes = files(&[("a", b"one"), (&long, &[7; 700]), ("d/", b""), ("z", b"")]);
        for piece in [1, 100, 512, 1 << 20] {
            let mut archive = archive(&bytes, piece);
            let mut found = Vec::new();
            while let Some(entry) = archive.next().await.unwrap() {
                let mut content = 0;
                // Every other entry is skipped.
                while found.len() % 2 == 0 {
                    let Some(chunk) = archive.chunk().await.unwrap() else { break };
                    content += chunk.len() as u64;
                }
                assert!(content == entry.size || found.len() % 2 == 1);
                found.push((entry.name, entry.size));
            }
            let wanted = [("a", 3), (&*long, 700), ("d/", 0), ("z", 0)];
            assert_eq!(found, wanted.map(|(name, size)| (name.to_owned(), size)));
        }
    }

    #[tokio::test]
    async fn what_ends_early_or_is_none_is_told() {
        let bytes = files(&[("a", &[7; 700])]);
        for (bytes, says) in [
            (&bytes[..100], "ends within a head"),
            (&bytes[..1000], "ends within \"a\""),
            (&[b'x'; 512][..], "no tar archive"),
        ] {
            let mut archive = archive(bytes, 64);
            let read = async {
                while archive.next().await?.is_some() {}
                Ok::<_, Error>(())
            };
            let error = read.await.unwrap_err();
            assert!(error.kind() == Kind::DataLoss && error.chain().contains(says), "{error}");
        }
        assert_eq!(archive(b"", 1).next().await.unwrap(), None);
    }
}
