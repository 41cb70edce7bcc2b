//! One request from here to its answer: redirects, tries and pauses.
//!
//! Redirects are followed by this loop and nowhere else. What is private (`Authorization`, headers
//! from `hosts.toml`, a client certificate) goes to the first origin only; after the first step to
//! another origin it is gone for good, also if a later step leads back. No step leads from HTTPS to
//! HTTP, to a link-local address, or from elsewhere to this machine. Trust in certificate authorities
//! is kept: it was given by whoever configured the registry, and what comes is checked by its digest.

use std::error::Error as StdError;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use lamina_core::{Error, Kind, Result};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use url::Url;

use super::answer::{Answer, clip, place};
use super::clients::{Clients, Reach, Shared, Trust};
use super::config::{Config, Limits, Retry, Timeouts};
use super::origin::{Origin, shown};
use super::token::TokenServer;

/// Sends requests.
#[derive(Debug)]
pub(super) struct Transport {
    clients: Shared,
    pub(super) retry: Retry,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    /// For every hop: nothing in here is a secret.
    pub(super) headers: HeaderMap,
    /// For the first origin only.
    pub(super) private: HeaderMap,
    /// Not with GET and HEAD: only these follow redirects.
    pub(super) body: Option<Body>,
    pub(super) trust: &'a Trust,
    /// Whether somebody configured the first origin; else it came out of an image.
    pub(super) reach: Reach,
    /// Whether a refused connection is worth another try: it worked a moment ago.
    pub(super) persist: bool,
    /// Whether the peer may turn out not to speak TLS: then a handshake that breaks off means that.
    pub(super) maybe_plain: bool,
}

/// What is sent along.
#[derive(Clone)]
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// So many bytes, made anew each time they are sent. Who sends them sees how they go, and is not
    /// held to the time for an answer.
    Made(Arc<dyn Fn() -> reqwest::Body + Send + Sync>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Body::Whole(_) => "Whole",
            Body::Made(_) => "Made",
        })
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It can be tried again at once or later.
    Passing(Error),
    /// A long wait was in vain. It is tried once more and not until the attempts are used up: another
    /// host may be quicker.
    Silent(Error),
    /// Trying again cannot help.
    Final(Error),
    /// The peer does not speak TLS.
    NotTls(Error),
}

impl Failure {
    pub(super) fn into_error(self) -> Error {
        match self {
            Failure::Passing(error)
            | Failure::Silent(error)
            | Failure::Final(error)
            | Failure::NotTls(error) => error,
        }
    }
}

impl Transport {
    /// # Errors
    /// InvalidArgument for proxies that cannot be used.
    pub(super) fn new(config: &Config) -> Result<Self> {
        Ok(Transport {
            clients: Shared::new(Clients::new(config)?),
            retry: config.retry.clone(),
            timeouts: config.timeouts.clone(),
            limits: config.limits.clone(),
        })
    }

    /// Sends `outgoing` until it is answered with something other than 408, 429 or 5xx, or the
    /// attempts are used up; then the last answer or failure is returned.
    pub(super) async fn exchange(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let mut attempt = 1;
        let mut was_silent = false;
        loop {
            let last = attempt >= self.retry.attempts;
            let asked = match self.follow(outgoing).await {
                Ok(answer) if !last && is_passing(answer.status()) => {
                    match asked_pause(answer.headers()) {
                        Some(asked) if asked > self.retry.longest_asked => return Ok(answer),
                        asked => {
                            tracing::debug!(
                                place = answer.place(), status = %answer.status(), "trying again"
                            );
                            asked
                        }
                    }
                }
                Err(Failure::Passing(error)) if !last => {
                    tracing::debug!(error = error.chain(), "trying again");
                    None
                }
                Err(Failure::Silent(error)) if !last && !was_silent => {
                    tracing::debug!(error = error.chain(), "trying once more");
                    was_silent = true;
                    None
                }
                done => return done,
            };
            tokio::time::sleep(asked.unwrap_or_else(|| self.pause(attempt))).await;
            attempt += 1;
        }
    }

    /// The pause after failure number `failures`, 1 being the first.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = 2u32.saturating_pow(failures.saturating_sub(1).min(20));
        let whole = self.retry.pause.saturating_mul(doubled).min(self.retry.longest);
        // A fresh hasher's keys are random: enough to keep many hosts from trying in step.
        let chance = RandomState::new().hash_one(failures) % 1000;
        whole - whole.mul_f64(chance as f64 / 2000.0)
    }

    /// The error of an answer that is no success.
    pub(super) async fn error(&self, answer: Answer) -> Error {
        answer.error(self.limits.error).await
    }

    /// [`exchange`](Self::exchange), but sent once.
    pub(super) async fn follow(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let method = &outgoing.method;
        let first = Origin::of(&outgoing.url).ok_or_else(|| {
            Failure::Final(Error::invalid_argument(format!(
                "{} is neither https nor http",
                shown(&outgoing.url)
            )))
        })?;
        let mut url = outgoing.url.clone();
        let mut left = false;
        for _ in 0..=MOST_HOPS {
            let answer = self.hop(outgoing, &first, url, left).await?;
            if !is_redirect(answer.status()) {
                return Ok(answer);
            }
            let from = place(method, answer.url());
            if *method != Method::GET && *method != Method::HEAD {
                return Err(Failure::Final(Error::failed_precondition(format!(
                    "{from}: redirected, which is not followed with a body"
                ))));
            }
            url = next(&answer, &first).map_err(|error| Failure::Final(error.context(from)))?;
            left |= Origin::of(&url).as_ref() != Some(&first);
        }
        Err(Failure::Final(Error::failed_precondition(format!(
            "{}: more than {MOST_HOPS} redirects",
            place(method, &outgoing.url)
        ))))
    }

    async fn hop(
        &self,
        outgoing: &Outgoing<'_>,
        first: &Origin,
        url: Url,
        left: bool,
    ) -> Result<Answer, Failure> {
        let client = if left {
            let reach = if first.is_loopback() { Reach::NotLinkLocal } else { Reach::Elsewhere };
            self.clients.get(&Trust { identity: None, ..outgoing.trust.clone() }, reach, false)
        } else {
            let sends = matches!(outgoing.body, Some(Body::Made(_)));
            self.clients.get(outgoing.trust, outgoing.reach, sends)
        }
        .map_err(Failure::Final)?;
        let mut request = client
            .request(outgoing.method.clone(), url.clone())
            .headers(outgoing.headers.clone())
            // A proxy that compresses on the way would break every length and digest.
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if !left {
            request = request.headers(outgoing.private.clone());
            request = match &outgoing.body {
                Some(Body::Whole(bytes)) => request.body(bytes.clone()),
                Some(Body::Made(make)) => request.body(make()),
                None => request,
            };
        }
        match request.send().await {
            Ok(response) => {
                let method = outgoing.method.clone();
                Ok(Answer::new(response, method, url, left, self.timeouts.idle))
            }
            Err(error) => {
                let from = place(&outgoing.method, &url);
                Err(failure(error, &from, outgoing, self.timeouts.idle))
            }
        }
    }
}

#[async_trait]
impl TokenServer for (&Transport, &Trust, &Origin) {
    async fn send(
        &self,
        method: Method,
        url: Url,
        private: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer> {
        let (transport, trust, registry) = *self;
        let origin = Origin::of(&url);
        // The client's certificate is for the registry alone; unchecked certificates were allowed
        // for that machine alone.
        let same_host = origin.as_ref().is_some_and(|o| o.same_host(registry));
        let trust = Trust {
            identity: trust.identity.clone().filter(|_| origin.as_ref() == Some(registry)),
            skip_verify: trust.skip_verify && same_host,
            ..trust.clone()
        };
        let reach = match (same_host, registry.is_loopback()) {
            (true, _) => Reach::Any,
            (false, true) => Reach::NotLinkLocal,
            (false, false) => Reach::Elsewhere,
        };
        let headers = HeaderMap::new();
        let outgoing = Outgoing {
            method,
            url,
            headers,
            private,
            body: body.map(Body::Whole),
            trust: &trust,
            reach,
            persist: false,
            maybe_plain: false,
        };
        transport.exchange(&outgoing).await.map_err(Failure::into_error)
    }

    async fn read(&self, answer: Answer) -> Result<Bytes> {
        let (limit, time) = (self.0.limits.token, self.0.timeouts.document);
        let place = answer.place();
        answer.bytes(limit, time).await.map_err(|broken| broken.0)?.ok_or_else(|| {
            Error::resource_exhausted(format!("{place}: a token of more than {limit} bytes"))
        })
    }

    async fn error(&self, answer: Answer) -> Error {
        self.0.error(answer).await
    }
}

/// More than any registry takes; the distribution project stops at ten as well.
const MOST_HOPS: usize = 10;

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Where a redirect leads, if it may.
fn next(answer: &Answer, first: &Origin) -> Result<Url> {
    let location = answer
        .header(LOCATION)
        .ok_or_else(|| Error::failed_precondition("redirected, but it does not say where to"))?;
    let refuse = |why: &str| {
        Error::permission_denied(format!(
            "redirected to {:?}, {why}",
            clip(&without_query(location))
        ))
    };
    let url = answer.url().join(location).map_err(|_| refuse("which is not a URL"))?;
    let target = Origin::of(&url).ok_or_else(|| refuse("which is neither https nor http"))?;
    let from_https = Origin::of(answer.url()).is_none_or(|origin| origin.is_https());
    if from_https && !target.is_https() {
        return Err(refuse("which is not encrypted"));
    }
    if target.is_link_local() && target != *first {
        return Err(refuse("which is a link-local address"));
    }
    if target.is_loopback() && !first.is_loopback() {
        return Err(refuse("which is this machine"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("which names a user"));
    }
    Ok(url)
}

/// A signed URL's signature is in its query.
fn without_query(location: &str) -> String {
    location.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// `Retry-After`: seconds, or a date.
pub(super) fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = date.as_millisecond().saturating_sub(Timestamp::now().as_millisecond());
    Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
}

/// Sorts what reqwest could not do into what to do about it.
fn failure(error: reqwest::Error, place: &str, outgoing: &Outgoing<'_>, idle: Duration) -> Failure {
    let error = error.without_url();
    let tls = find::<rustls::Error>(&error).cloned();
    let io = find::<std::io::Error>(&error).map(std::io::Error::kind);
    let text = innermost(&error);
    let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
    let make = |kind, why: &str| Error::new(kind, format!("{place}: {why}"));
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => {
            let why = "the server does not speak TLS (for plain HTTP use --plain-http, or http:// in \
                       its hosts.toml)";
            return Failure::NotTls(make(Kind::Unavailable, why).with_source(error));
        }
        Some(rustls::Error::InvalidCertificate(why)) => {
            let why = format!(
                "the server's certificate is not trusted: {why} (give its CA in hosts.toml)"
            );
            return Failure::Final(make(Kind::FailedPrecondition, &why));
        }
        Some(why) => {
            return Failure::Final(make(Kind::Unavailable, &format!("TLS failed: {why}")));
        }
        None => {}
    }
    if is_timeout && is_connect {
        let failed = make(Kind::Unavailable, "no connection in time").with_source(error);
        // A host that is not there would cost the whole time again; the next one is asked instead.
        return if outgoing.persist { Failure::Silent(failed) } else { Failure::Final(failed) };
    }
    if is_timeout {
        let why = format!("no answer within {} s", idle.as_secs_f32());
        return Failure::Silent(make(Kind::Unavailable, &why).with_source(error));
    }
    if is_connect {
        let failed = make(Kind::Unavailable, &format!("cannot connect: {text}"));
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let broke_off =
            matches!(io, Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof));
        if broke_off && outgoing.maybe_plain {
            return Failure::NotTls(failed);
        }
        // A name that cannot be looked up just now; the other look-up errors are about the name.
        let passing =
            broke_off || outgoing.persist || text.contains("Temporary failure in name resolution");
        return if passing { Failure::Passing(failed) } else { Failure::Final(failed) };
    }
    if error.is_builder() {
        return Failure::Final(make(Kind::InvalidArgument, &text));
    }
    Failure::Passing(make(Kind::Unavailable, "the connection broke off").with_source(error))
}

/// The first cause of type `E`, also where an `io::Error` wraps it.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .map(|inner| inner as &(dyn StdError + 'static));
        next = wrapped.or_else(|| cause.source());
    }
    None
}

fn innermost(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::answer::kind_of;
    use super::*;

    fn transport() -> Transport {
        let retry = Retry {
            pause: Duration::from_millis(100),
            longest: Duration::from_secs(1),
            ..Retry::default()
        };
        Transport::new(&Config { retry, ..Config::default() }).unwrap()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let transport = transport();
        for (failures, most) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (99, 1000)] {
            let pause = transport.pause(failures).as_millis();
            assert!((most / 2..=most).contains(&pause), "{failures}: {pause} ms");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            asked_pause(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(asked("Wed, 06 Nov 2199 08:49:37 GMT").unwrap() > Duration::from_secs(3600));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
    }

    #[test]
    fn refusals_have_classes() {
        for (status, kind) in [
            (401, Kind::Unauthenticated),
            (403, Kind::PermissionDenied),
            (404, Kind::NotFound),
            (429, Kind::ResourceExhausted),
            (503, Kind::Unavailable),
            (418, Kind::FailedPrecondition),
        ] {
            assert_eq!(kind_of(StatusCode::from_u16(status).unwrap()), kind);
        }
    }
}
