//! A blob as a stream: sources in order, and large ones in several ranges at a time.
//!
//! Whatever happens underneath (a broken connection, a token that ran out, a mirror that dies half-way)
//! the stream goes on at the byte where it stopped, so each byte is delivered once and in order.
//! Nothing runs unless the stream is polled; dropping it ends every request.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use lamina_core::{Descriptor, Error, Result, media_type};
use url::Url;

use super::client::{Failures, Repository};
use super::clients::Reach;
use super::host::Host;
use super::origin::Origin;
use super::range::{RangeReader, Source, foreign_reach};

/// The bytes of a blob, from [`Repository::blob`].
pub struct Blob {
    repository: Repository,
    descriptor: Descriptor,
    /// Those not tried yet.
    sources: VecDeque<Source>,
    failures: Failures,
    offset: u64,
    /// Opened behind bytes of an earlier attempt, which may be what is wrong.
    resumed: bool,
    /// Who sent the first bytes; none before there are any.
    sender: Option<Sender>,
    feed: Feed,
}

/// The source of the first bytes.
struct Sender {
    name: String,
    /// Those to ask instead if they are wrong.
    others: VecDeque<Source>,
}

enum Feed {
    /// Nothing is left to read.
    Done,
    /// The next source is to be opened.
    Between,
    One {
        source: Source,
        reader: Box<RangeReader>,
    },
    Many {
        source: Source,
        ready: VecDeque<Bytes>,
        ranges: FuturesOrdered<Range>,
        asked: u64,
    },
}

type Range = Pin<Box<dyn Future<Output = Result<VecDeque<Bytes>>> + Send>>;

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("digest", &self.descriptor.digest)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Blob {
    pub(super) async fn open(
        repository: Repository,
        descriptor: Descriptor,
        offset: u64,
    ) -> Result<Blob> {
        let size = descriptor.size;
        if offset > size {
            return Err(Error::new(
                lamina_core::Kind::OutOfRange,
                format!("{} has {size} bytes, none at {offset}", descriptor.digest),
            ));
        }
        let mut blob = Blob {
            sources: sources(&repository, &descriptor),
            repository,
            descriptor,
            failures: Failures::default(),
            offset,
            resumed: offset > 0,
            sender: None,
            feed: Feed::Done,
        };
        if offset < size {
            blob.advance().await?;
        }
        Ok(blob)
    }

    /// What is read.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// How many bytes of the blob lie before what [`next`](Blob::next) returns.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, never empty; `None` once the whole size was delivered. Safe to cancel: a call
    /// that is dropped loses no bytes.
    ///
    /// # Errors
    /// The last source's, when every source failed; the stream cannot be read any further then.
    /// FailedPrecondition for a blob that is shorter, longer or empty.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let read = match &mut self.feed {
                Feed::Done => return self.end(),
                Feed::Between => {
                    self.advance().await?;
                    continue;
                }
                Feed::One { reader, .. } => reader.next().await,
                Feed::Many { ready, ranges, .. } => match ready.pop_front() {
                    Some(bytes) => Ok(Some(bytes)),
                    None => match ranges.next().await {
                        Some(Ok(bytes)) => {
                            *ready = bytes;
                            self.ask_more();
                            continue;
                        }
                        Some(Err(error)) => Err(error),
                        None => Ok(None),
                    },
                },
            };
            match read {
                Ok(Some(bytes)) => {
                    self.note_sender();
                    self.offset += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(None) => self.feed = Feed::Done,
                Err(error) => {
                    let name = self.source_name();
                    self.failures.push(name, error);
                    self.feed = Feed::Between;
                }
            }
        }
    }

    /// What came is not the blob, as `why` says. The source that the first
    /// bytes came from, and those before it, are not asked again, unless they followed bytes of an
    /// earlier attempt; false when no other is left.
    pub fn distrust(&mut self, why: &Error) -> bool {
        let Some(sender) = self.sender.take().filter(|sender| !sender.others.is_empty()) else {
            return false;
        };
        tracing::warn!(host = sender.name, digest = %self.descriptor.digest, error = %why.chain(),
            "what the host sent is not the blob; asking the next");
        self.resumed = false;
        self.failures.push(sender.name, Error::new(why.kind(), why.chain()));
        self.sources = sender.others;
        self.restart(0);
        true
    }

    /// After [`distrust`](Self::distrust): the first byte wanted now.
    pub fn restart(&mut self, offset: u64) {
        self.offset = offset.min(self.descriptor.size);
        let done = self.offset == self.descriptor.size;
        self.feed = if done { Feed::Done } else { Feed::Between };
    }

    fn note_sender(&mut self) {
        let (None, Feed::One { source, .. } | Feed::Many { source, .. }) =
            (&self.sender, &self.feed)
        else {
            return;
        };
        let mut others = self.sources.clone();
        if self.resumed {
            others.push_front(source.clone());
        }
        self.sender = Some(Sender { name: name(&self.repository, source), others });
    }

    fn end(&self) -> Result<Option<Bytes>> {
        if self.offset == self.descriptor.size {
            return Ok(None);
        }
        Err(Error::internal(format!("the stream of {} has failed before", self.descriptor.digest)))
    }

    /// Goes on with the next source that delivers. A source is taken off the list only once it has
    /// answered, so that a dropped call forgets none.
    async fn advance(&mut self) -> Result<()> {
        while let Some(source) = self.sources.front().cloned() {
            let started = self.start(&source).await;
            self.sources.pop_front();
            match started {
                Ok(feed) => {
                    self.feed = feed;
                    return Ok(());
                }
                Err(error) => self.failures.push(name(&self.repository, &source), error),
            }
        }
        self.feed = Feed::Done;
        let failures = std::mem::take(&mut self.failures);
        let name = self.repository.reference().name();
        Err(failures.into_error(&format!("{name}: fetch blob {}", self.descriptor.digest)))
    }

    async fn start(&mut self, source: &Source) -> Result<Feed> {
        let size = self.descriptor.size;
        let left = size - self.offset;
        // Addresses out of an image are no registries; they are asked in the plainest way.
        let split = self.repository.ranges().filter(|ranges| {
            matches!(source, Source::Host(_))
                && ranges.parallel > 1
                && ranges.size > 0
                && left / 2 >= ranges.size
        });
        let end = split.map_or(size, |ranges| self.offset + ranges.size);
        let (repository, descriptor) = (self.repository.clone(), self.descriptor.clone());
        let mut reader =
            RangeReader::open(repository, source.clone(), descriptor, self.offset, end).await?;
        if split.is_none() || reader.is_whole() {
            reader.extend();
            return Ok(Feed::One { source: source.clone(), reader: Box::new(reader) });
        }
        let mut ranges: FuturesOrdered<Range> = FuturesOrdered::new();
        ranges.push_back(Box::pin(drain(reader)));
        let mut feed =
            Feed::Many { source: source.clone(), ready: VecDeque::new(), ranges, asked: end };
        ask(&self.repository, &self.descriptor, &mut feed);
        Ok(feed)
    }

    fn ask_more(&mut self) {
        ask(&self.repository, &self.descriptor, &mut self.feed);
    }

    fn source_name(&self) -> String {
        match &self.feed {
            Feed::Done | Feed::Between => String::new(),
            Feed::One { source, .. } | Feed::Many { source, .. } => name(&self.repository, source),
        }
    }
}

/// Fills the ranges under way up to as many as are wanted.
fn ask(repository: &Repository, descriptor: &Descriptor, feed: &mut Feed) {
    let (Feed::Many { source, ranges, asked, .. }, Some(split)) = (feed, repository.ranges())
    else {
        return;
    };
    while ranges.len() < split.parallel && *asked < descriptor.size {
        let (start, end) = (*asked, asked.saturating_add(split.size).min(descriptor.size));
        let opened =
            RangeReader::open(repository.clone(), source.clone(), descriptor.clone(), start, end);
        ranges.push_back(Box::pin(async move { drain(opened.await?).await }));
        *asked = end;
    }
}

async fn drain(mut reader: RangeReader) -> Result<VecDeque<Bytes>> {
    let mut all = VecDeque::new();
    while let Some(bytes) = reader.next().await? {
        all.push_back(bytes);
    }
    Ok(all)
}

/// The registry's hosts, then the addresses that the descriptor of a layer which may not be
/// distributed names.
fn sources(repository: &Repository, descriptor: &Descriptor) -> VecDeque<Source> {
    let hosts = repository.hosts().iter().enumerate();
    let able = hosts.filter(|(_, host)| host.capabilities().pull);
    let mut sources: VecDeque<_> = able.map(|(index, _)| Source::Host(index)).collect();
    if media_type::is_nondistributable(&descriptor.media_type) {
        let urls = descriptor.urls.iter().filter_map(|url| foreign(repository, url));
        sources.extend(urls.take(MOST_URLS).map(Source::Url));
    }
    sources
}

/// An address out of an image, if it may be asked.
fn foreign(repository: &Repository, text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let origin = Origin::of(&url)?;
    let local = foreign_reach(repository) == Reach::NotLinkLocal;
    let plain = origin.is_loopback() && local;
    let allowed = (origin.is_https() || plain)
        && !origin.is_link_local()
        && (local || !origin.is_loopback())
        && url.username().is_empty()
        && url.password().is_none();
    if !allowed {
        tracing::warn!(url = super::origin::shown(&url), "address of a layer not used");
    }
    allowed.then_some(url)
}

/// An image cannot make us knock at any number of doors.
const MOST_URLS: usize = 4;

fn name(repository: &Repository, source: &Source) -> String {
    match source {
        Source::Host(index) => repository.hosts().get(*index).map(Host::name).unwrap_or_default(),
        Source::Url(url) => super::origin::shown(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipeline moves streams between threads; this is a test by compiling.
    #[test]
    fn streams_and_their_futures_may_change_threads() {
        fn is_send<T: Send>(_: Option<T>) {}
        is_send(None::<Blob>);
        async fn next(mut blob: Blob) -> Result<Option<Bytes>> {
            blob.next().await
        }
        is_send(None::<Blob>.map(next));
    }
}
