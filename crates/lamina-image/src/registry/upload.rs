//! Content on its way to a registry.
//!
//! A blob goes in one request where it can. What breaks off goes on where the registry says it is
//! (`Range`), and from the beginning where it has forgotten. Manifests go whole. Nothing is sent that
//! the registry has; what it has in another repository, it is asked to take from there.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body::{Frame, SizeHint};
use lamina_core::content::ContentReader;
use lamina_core::{Descriptor, Error, Result};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use url::Url;

use super::answer::Answer;
use super::client::Repository;
use super::document::accept;
use super::host::{Ask, Host, Sent, To};
use super::resolve::header_digest;
use super::transport::{Body, asked_pause, is_passing};

/// Bytes that are read at once.
const PIECE: usize = 128 << 10;

/// How many times as long a registry may take once it has all bytes.
const PATIENCE: u32 = 10;

/// One blob to upload.
pub struct Upload<'a> {
    /// The blob.
    pub blob: &'a Descriptor,
    /// Its bytes.
    pub bytes: Arc<dyn ContentReader>,
    /// Repositories of the same registry that have it, as far as is known.
    pub from: &'a [String],
    /// Bytes a request at most; all of them in one when not given.
    pub chunk: Option<u64>,
    /// How many bytes went. It goes back when they have to go again.
    pub sent: Arc<AtomicU64>,
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("blob", &self.blob.digest).finish_non_exhaustive()
    }
}

/// How a registry came to have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It had it.
    Exists,
    /// It took it from another of its repositories.
    Mounted,
    /// It was sent.
    Sent,
}

/// Why an upload did not go on.
enum Broken {
    /// It may go on: after the pause that was asked for, or one of ours.
    For(Error, Option<Duration>),
    /// It may not.
    Ever(Error),
}

impl Repository {
    /// Uploads a blob, unless it is there.
    ///
    /// # Errors
    /// As [`resolve`](Repository::resolve), for refusals and for a registry that stays away.
    pub async fn upload(&self, upload: &Upload<'_>) -> Result<Uploaded> {
        let host = self.target()?;
        let failed = |e: Error| e.context(format!("upload {}", upload.blob.digest));
        let size = upload.blob.size;
        if self.has_blob(host, upload.blob).await.map_err(failed)? {
            upload.sent.store(size, Ordering::Relaxed);
            return Ok(Uploaded::Exists);
        }
        let mut session = None;
        for from in upload.from {
            match self.mount(host, upload.blob, from).await {
                Ok(None) => {
                    upload.sent.store(size, Ordering::Relaxed);
                    return Ok(Uploaded::Mounted);
                }
                // It has opened an upload instead, which serves as well as any.
                Ok(Some(url)) => {
                    session = Some(url);
                    break;
                }
                Err(error) => tracing::debug!(from, error = error.chain(), "cannot be mounted"),
            }
        }
        self.send_blob(host, upload, session).await.map_err(failed)?;
        Ok(Uploaded::Sent)
    }

    /// Uploads a manifest or index, unless it is there, under `tag` or else its digest.
    ///
    /// # Errors
    /// As [`upload`](Self::upload); FailedPrecondition when the registry makes another digest of it.
    pub async fn upload_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Bytes,
        tag: Option<&str>,
    ) -> Result<Uploaded> {
        let host = self.target()?;
        let digest = &descriptor.digest;
        let name = tag.unwrap_or(digest.as_str());
        let failed = |e: Error| e.context(format!("upload the manifest {digest} as {name}"));
        self.put_manifest(host, descriptor, bytes, name).await.map_err(failed)
    }

    async fn put_manifest(
        &self,
        host: &Host,
        descriptor: &Descriptor,
        bytes: Bytes,
        name: &str,
    ) -> Result<Uploaded> {
        let digest = &descriptor.digest;
        let path = format!("manifests/{name}");
        let head = Ask { method: Method::HEAD, path: &path, headers: accept(), persist: false };
        let answer = host.send(self.transport(), &head).await?;
        if answer.status().is_success() && header_digest(&answer).as_ref() == Some(digest) {
            return Ok(Uploaded::Exists);
        }
        drop(answer);
        let media_type = HeaderValue::try_from(&descriptor.media_type)
            .map_err(|_| Error::invalid_argument("its media type is no text for a header"))?;
        let sent = Sent {
            method: Method::PUT,
            to: To::Path(&path, ""),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, media_type)]),
            body: Body::Whole(bytes),
            again: true,
        };
        let answer = host.put(self.transport(), &sent).await?;
        if !answer.status().is_success() {
            return Err(self.transport().error(answer).await);
        }
        match header_digest(&answer) {
            Some(other) if other != *digest => Err(Error::failed_precondition(format!(
                "{}: it has the digest {other} there",
                answer.place()
            ))),
            _ => Ok(Uploaded::Sent),
        }
    }

    /// The host that takes uploads.
    fn target(&self) -> Result<&Host> {
        self.hosts().iter().find(|host| host.capabilities().push).ok_or_else(|| {
            Error::failed_precondition(format!(
                "{}: no configured host may be pushed to",
                self.reference().name()
            ))
        })
    }

    async fn has_blob(&self, host: &Host, blob: &Descriptor) -> Result<bool> {
        let path = format!("blobs/{}", blob.digest);
        let headers = HeaderMap::new();
        let head = Ask { method: Method::HEAD, path: &path, headers, persist: false };
        let answer = host.send(self.transport(), &head).await?;
        match answer.status().as_u16() {
            200..=299 => Ok(true),
            404 => Ok(false),
            // Some do not answer this; then it is sent.
            400 | 405 | 501 => Ok(false),
            _ => Err(self.transport().error(answer).await),
        }
    }

    /// Asks for a blob of another repository: `None` when it is there now, else where to upload it.
    async fn mount(&self, host: &Host, blob: &Descriptor, from: &str) -> Result<Option<Url>> {
        let answer = self.post(host, &format!("mount={}&from={from}", blob.digest)).await?;
        match answer.status().as_u16() {
            201 => Ok(None),
            202 => host.upload_url(&answer).map(Some),
            _ => Err(self.transport().error(answer).await),
        }
    }

    async fn post(&self, host: &Host, query: &str) -> Result<Answer> {
        let sent = Sent {
            method: Method::POST,
            to: To::Path("blobs/uploads/", query),
            headers: HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]),
            body: Body::Whole(Bytes::new()),
            again: true,
        };
        host.put(self.transport(), &sent).await
    }

    /// Sends a blob's bytes until all are there, or the attempts that bring nothing are used up.
    async fn send_blob(
        &self,
        host: &Host,
        upload: &Upload<'_>,
        mut session: Option<Url>,
    ) -> Result<()> {
        let transport = self.transport();
        let (mut offset, mut failures, mut best) = (0, 0, 0);
        loop {
            let step = self.step(host, upload, session.clone(), offset).await;
            let (error, asked) = match step {
                Ok(None) => return Ok(()),
                Ok(Some((url, at))) => {
                    session = Some(url);
                    offset = at;
                    if at > best {
                        (best, failures) = (at, 0);
                    }
                    continue;
                }
                Err(Broken::Ever(error)) => return Err(error),
                Err(Broken::For(error, asked)) => (error, asked),
            };
            failures += 1;
            if failures >= transport.retry.attempts
                || asked.is_some_and(|asked| asked > transport.retry.longest_asked)
            {
                return Err(error);
            }
            tracing::debug!(error = error.chain(), offset, "an upload broke off");
            tokio::time::sleep(asked.unwrap_or_else(|| transport.pause(failures))).await;
            (session, offset) = match &session {
                Some(url) => self.whereabouts(host, url, upload.blob.size).await,
                None => (None, 0),
            };
            if offset > best {
                (best, failures) = (offset, 0);
            }
            upload.sent.store(offset, Ordering::Relaxed);
        }
    }

    /// One request of an upload: opens it, sends what one request may have, or ends it. `None` when the
    /// blob is there.
    async fn step(
        &self,
        host: &Host,
        upload: &Upload<'_>,
        session: Option<Url>,
        offset: u64,
    ) -> Result<Option<(Url, u64)>, Broken> {
        let size = upload.blob.size;
        let Some(url) = session else {
            // It was sent again already as often as it may.
            let answer = self.post(host, "").await.map_err(Broken::Ever)?;
            if answer.status().as_u16() != 202 {
                return Err(Broken::Ever(self.transport().error(answer).await));
            }
            return Ok(Some((host.upload_url(&answer).map_err(Broken::Ever)?, 0)));
        };
        let whole = offset == 0 && upload.chunk.is_none_or(|chunk| size <= chunk);
        if whole || offset >= size {
            let mut url = url;
            url.query_pairs_mut().append_pair("digest", upload.blob.digest.as_str());
            let body = self.body(upload, offset, size);
            let answer = self.part(host, upload, size, (Method::PUT, &url, body, None)).await?;
            return match answer.status().as_u16() {
                201 | 204 | 200 => Ok(None),
                _ => Err(self.broken(answer).await),
            };
        }
        let end = upload.chunk.map_or(size, |chunk| size.min(offset + chunk));
        let range = format!("{offset}-{}", end - 1);
        let body = self.body(upload, offset, end);
        let answer = self.part(host, upload, end, (Method::PATCH, &url, body, Some(range))).await?;
        if !matches!(answer.status().as_u16(), 202 | 204 | 201) {
            return Err(self.broken(answer).await);
        }
        let at = received(&answer).unwrap_or(end);
        if at > end || at < offset {
            return Err(Broken::Ever(Error::failed_precondition(format!(
                "{}: {} bytes were sent, it says it has {at}",
                answer.place(),
                end
            ))));
        }
        let url = host.upload_url(&answer).map_err(Broken::Ever)?;
        Ok(Some((url, at)))
    }

    async fn part(
        &self,
        host: &Host,
        upload: &Upload<'_>,
        end: u64,
        (method, url, body, range): (Method, &Url, Body, Option<String>),
    ) -> Result<Answer, Broken> {
        let octets = HeaderValue::from_static("application/octet-stream");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, octets)]);
        headers.extend(
            range.and_then(|r| HeaderValue::try_from(r).ok()).map(|range| (CONTENT_RANGE, range)),
        );
        let sent = Sent { method, to: To::Url(url), headers, body, again: false };
        let idle = self.transport().timeouts.idle;
        let stalled = async {
            let (mut before, mut still) = (0, 0);
            loop {
                tokio::time::sleep(idle).await;
                let now = upload.sent.load(Ordering::Relaxed);
                still = if now == before { still + 1 } else { 0 };
                // When all went, what comes is the registry's own work, which may take its time.
                if still >= if now >= end { PATIENCE } else { 1 } {
                    return;
                }
                before = now;
            }
        };
        tokio::select! {
            answer = host.put(self.transport(), &sent) => answer.map_err(|error| {
                match error.kind() {
                    lamina_core::Kind::Unavailable => Broken::For(error, None),
                    _ => Broken::Ever(error),
                }
            }),
            () = stalled => Err(Broken::For(
                Error::unavailable(format!(
                    "{}: nothing went for {} s", host.name(), idle.as_secs_f32()
                )),
                None,
            )),
        }
    }

    fn body(&self, upload: &Upload<'_>, offset: u64, end: u64) -> Body {
        if offset >= end {
            return Body::Whole(Bytes::new());
        }
        let (bytes, sent) = (Arc::clone(&upload.bytes), Arc::clone(&upload.sent));
        Body::Made(Arc::new(move || {
            sent.store(offset, Ordering::Relaxed);
            reqwest::Body::wrap(Pieces::new(Arc::clone(&bytes), Arc::clone(&sent), offset, end))
        }))
    }

    async fn broken(&self, answer: Answer) -> Broken {
        // 416: it is elsewhere than we thought, and will say where.
        let again = is_passing(answer.status()) || answer.status().as_u16() == 416;
        let asked = asked_pause(answer.headers());
        let error = self.transport().error(answer).await;
        if again { Broken::For(error, asked) } else { Broken::Ever(error) }
    }

    /// How far an upload got, and where it goes on; the beginning where the registry does not know.
    async fn whereabouts(&self, host: &Host, url: &Url, size: u64) -> (Option<Url>, u64) {
        let sent = Sent {
            method: Method::GET,
            to: To::Url(url),
            headers: HeaderMap::new(),
            body: Body::Whole(Bytes::new()),
            again: true,
        };
        match host.put(self.transport(), &sent).await {
            Ok(answer) if answer.status().is_success() => {
                let at = received(&answer).unwrap_or(0);
                match host.upload_url(&answer) {
                    // One that has nothing is as well begun anew.
                    Ok(url) if at > 0 && at <= size => (Some(url), at),
                    _ => (None, 0),
                }
            }
            _ => (None, 0),
        }
    }
}

/// The first byte that a registry has not, by `Range: 0-LAST`. One that has none may say `0-0` as well,
/// which is then told by what follows.
fn received(answer: &Answer) -> Option<u64> {
    let range = answer.header(RANGE)?;
    let (first, last) = range.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    if first.trim() != "0" {
        return None;
    }
    Some(if last == 0 { 0 } else { last + 1 })
}

/// A stretch of a blob as the body of a request.
struct Pieces {
    /// Never locked: bodies have to be shareable.
    stream: Mutex<BoxStream<'static, Result<Bytes>>>,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Pieces {
    fn new(bytes: Arc<dyn ContentReader>, sent: Arc<AtomicU64>, offset: u64, end: u64) -> Self {
        let pieces = stream::try_unfold(offset, move |at| {
            let bytes = Arc::clone(&bytes);
            async move {
                if at >= end {
                    return Ok(None);
                }
                let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                let piece = bytes.read_at(at, most).await?;
                if piece.is_empty() {
                    return Err(Error::internal("the blob ends before it should"));
                }
                let next = at + piece.len() as u64;
                Ok(Some((piece, next)))
            }
        });
        Pieces { stream: Mutex::new(pieces.boxed()), left: end - offset, sent }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let piece = std::task::ready!(stream.poll_next_unpin(cx));
        if let Some(Ok(piece)) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
            self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
