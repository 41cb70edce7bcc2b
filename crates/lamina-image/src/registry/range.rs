//! One stretch of a blob from one source, taken up again wherever the connection breaks.
//!
//! Ranges are always closed (`bytes=N-M`): some registries refuse open ones, and few say beforehand
//! whether they take any. An answer is believed only as far as it agrees with what was asked: a 206
//! begins where it should and knows the same size, a 200 is the whole blob whose beginning is then
//! skipped, a 416 is asked again for the whole.

use bytes::Bytes;
use lamina_core::{Descriptor, Error, Kind, Result};
use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use url::Url;

use super::answer::{Answer, Broken};
use super::client::Repository;
use super::clients::{Reach, Trust};
use super::host::{Ask, Host};
use super::transport::{Failure, Outgoing};

/// Where a blob can be had.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The repository's host of this number.
    Host(usize),
    /// An address out of the image itself, which gets no credential of any kind.
    Url(Url),
}

/// Reads `offset..end` of a blob.
#[derive(Debug)]
pub(super) struct RangeReader {
    repository: Repository,
    source: Source,
    descriptor: Descriptor,
    offset: u64,
    end: u64,
    body: Option<Body>,
    /// Failures since the last bytes that count as progress.
    failures: u32,
    /// Bytes since the body was opened.
    got: u64,
    /// The source refused ranges, or ignores them.
    whole: bool,
}

#[derive(Debug)]
struct Body {
    answer: Answer,
    /// Bytes to drop before `offset`.
    skip: u64,
}

impl RangeReader {
    /// Asks for `offset..end`, which must not be empty, and returns once the source agreed.
    pub(super) async fn open(
        repository: Repository,
        source: Source,
        descriptor: Descriptor,
        offset: u64,
        end: u64,
    ) -> Result<Self> {
        let mut reader = RangeReader {
            repository,
            source,
            descriptor,
            offset,
            end,
            body: None,
            failures: 0,
            got: 0,
            whole: false,
        };
        reader.reopen(false).await?;
        Ok(reader)
    }

    /// Whether the source sends whole blobs only. Then `end` may be moved by
    /// [`extend`](RangeReader::extend) without asking again.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Reads on to the blob's end.
    pub(super) fn extend(&mut self) {
        self.end = self.descriptor.size;
    }

    /// The next bytes; `None` at `end`.
    ///
    /// # Errors
    /// When the source goes on failing without any progress; FailedPrecondition when it sends
    /// something else than was asked for. Reading may not go on after an error.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.offset < self.end {
            let Some(body) = &mut self.body else {
                self.reopen(true).await?;
                continue;
            };
            match body.answer.chunk().await {
                Ok(Some(chunk)) => {
                    self.got += chunk.len() as u64;
                    if let Some(bytes) = self.take(chunk)? {
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) => {
                    let error = self.ended_early();
                    if self.got == 0 {
                        return Err(error);
                    }
                    self.broke(error).await?;
                }
                Err(Broken(error)) => self.broke(error).await?,
            }
        }
        Ok(None)
    }

    /// Cuts a chunk to what was asked for.
    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let skip = body.skip.min(chunk.len() as u64);
        body.skip -= skip;
        // At most the chunk's own length.
        let _ = chunk.split_to(usize::try_from(skip).unwrap_or(chunk.len()));
        if chunk.is_empty() {
            return Ok(None);
        }
        let room = self.end - self.offset;
        if chunk.len() as u64 > room {
            if !self.whole || self.end == self.descriptor.size {
                return Err(self
                    .says(&format!("sends more than the {} bytes it has", self.descriptor.size)));
            }
            chunk.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
        self.offset += chunk.len() as u64;
        if self.got >= PROGRESS {
            self.failures = 0;
        }
        Ok(Some(chunk))
    }

    async fn broke(&mut self, error: Error) -> Result<()> {
        self.body = None;
        self.failures += 1;
        let transport = self.repository.transport();
        if self.failures >= transport.retry.attempts {
            return Err(error);
        }
        tracing::debug!(error = error.chain(), offset = self.offset, "resuming");
        tokio::time::sleep(transport.pause(self.failures)).await;
        Ok(())
    }

    async fn reopen(&mut self, persist: bool) -> Result<()> {
        let size = self.descriptor.size;
        let partial = (self.offset > 0 || self.end < size) && !self.whole;
        let mut answer = self.ask(partial, persist).await?;
        if partial && answer.status().as_u16() == 416 {
            answer = self.ask(false, persist).await?;
        }
        let skip = match answer.status().as_u16() {
            206 if partial => {
                self.check_range(&answer)?;
                0
            }
            200 => {
                self.whole |= partial;
                match answer.length() {
                    Some(0) => return Err(self.empty()),
                    Some(length) if length != size => {
                        return Err(
                            self.says(&format!("has {length} bytes, but {size} were announced"))
                        );
                    }
                    _ => {}
                }
                self.offset
            }
            206 => return Err(self.says("sends a part where the whole was asked for")),
            _ => return Err(self.repository.transport().error(answer).await),
        };
        self.got = 0;
        self.body = Some(Body { answer, skip });
        Ok(())
    }

    async fn ask(&self, partial: bool, persist: bool) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        if partial {
            let range = format!("bytes={}-{}", self.offset, self.end - 1);
            let range = HeaderValue::try_from(range)
                .map_err(|error| Error::internal("a range is no header").with_source(error))?;
            headers.insert(RANGE, range);
        }
        let transport = self.repository.transport();
        let path = format!("blobs/{}", self.descriptor.digest);
        match &self.source {
            Source::Host(index) => {
                let ask = Ask { method: Method::GET, path: &path, headers, persist };
                self.host(*index)?.send(transport, &ask).await
            }
            Source::Url(url) => {
                let outgoing = Outgoing {
                    method: Method::GET,
                    url: url.clone(),
                    headers,
                    private: HeaderMap::new(),
                    body: None,
                    trust: &Trust::default(),
                    reach: foreign_reach(&self.repository),
                    persist,
                    maybe_plain: false,
                };
                transport.exchange(&outgoing).await.map_err(Failure::into_error)
            }
        }
    }

    fn host(&self, index: usize) -> Result<&Host> {
        let hosts = self.repository.hosts();
        hosts.get(index).ok_or_else(|| Error::internal(format!("no host of number {index}")))
    }

    /// A 206 must begin where it was asked to, end no later, and know the size.
    fn check_range(&self, answer: &Answer) -> Result<()> {
        let text = answer.header(CONTENT_RANGE).unwrap_or_default();
        let Some((first, last, total)) = content_range(text) else {
            return Err(self.says(&format!("sends a part without saying which ({text:?})")));
        };
        let size = self.descriptor.size;
        if let Some(total) = total.filter(|&total| total != size) {
            return Err(self.says(&format!("has {total} bytes, but {size} were announced")));
        }
        if first != self.offset || last >= self.end || last < first {
            return Err(self.says(&format!(
                "sends {text:?} where bytes {}-{} were asked for",
                self.offset,
                self.end - 1
            )));
        }
        Ok(())
    }

    fn ended_early(&self) -> Error {
        if self.got == 0 && self.offset == 0 {
            return self.empty();
        }
        self.says(&format!(
            "ends after {} of the {} bytes that were announced",
            self.offset, self.descriptor.size
        ))
    }

    fn empty(&self) -> Error {
        self.says(&format!(
            "is empty, but {} bytes were announced (a proxy in between may have cut it)",
            self.descriptor.size
        ))
    }

    fn says(&self, what: &str) -> Error {
        let place = match &self.source {
            Source::Host(index) => {
                self.repository.hosts().get(*index).map(Host::name).unwrap_or_default()
            }
            Source::Url(url) => super::origin::shown(url),
        };
        let digest = &self.descriptor.digest;
        Error::new(Kind::FailedPrecondition, format!("{place}: the blob {digest} {what}"))
    }
}

/// An address in an image may lead to this machine only if the registry is on it, too.
pub(super) fn foreign_reach(repository: &Repository) -> Reach {
    if repository.hosts().iter().any(Host::is_loopback) {
        Reach::NotLinkLocal
    } else {
        Reach::Elsewhere
    }
}

/// What a body must bring so that the attempts start over; less could go on for ever.
const PROGRESS: u64 = 64 << 10;

/// `bytes FIRST-LAST/TOTAL`, where the total may be `*`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(content_range("bytes 2-5/10"), Some((2, 5, Some(10))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, 0, None)));
        for text in ["", "bytes", "bytes */10", "2-5/10", "bytes 2-5", "bytes -5/10", "bytes a-b/c"]
        {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
