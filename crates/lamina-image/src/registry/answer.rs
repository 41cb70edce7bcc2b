//! What came back: an answer's head and body, read with a cap, and the error that a refusal means.
//!
//! Messages carry method, URL (without its query), status and what the registry said of itself,
//! shortened and without control characters: they end up on terminals and in logs.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use lamina_core::{Error, Kind, Result};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::origin::shown;

/// An answer whose body is not read yet.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    method: Method,
    url: Url,
    /// Whether a redirect led away from the origin that was asked.
    left: bool,
    idle: Duration,
}

/// Why a body ended before it should.
#[derive(Debug)]
pub(super) struct Broken(pub(super) Error);

impl Answer {
    pub(super) fn new(
        response: Response,
        method: Method,
        url: Url,
        left: bool,
        idle: Duration,
    ) -> Self {
        Answer { response, method, url, left, idle }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(super) fn left(&self) -> bool {
        self.left
    }

    /// A header's text; `None` if absent or not ASCII.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The declared length of the body; for HEAD, of the body that GET would have.
    pub(super) fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }

    /// The media type without parameters, as far as one is given.
    pub(super) fn media_type(&self) -> Option<&str> {
        let essence = lamina_core::media_type::essence(self.header(CONTENT_TYPE)?);
        (!essence.is_empty()).then_some(essence)
    }

    /// `GET https://host/path`, for messages.
    pub(super) fn place(&self) -> String {
        place(&self.method, &self.url)
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        self.response.chunk().await.map_err(|error| {
            let why = if error.is_timeout() {
                format!("nothing came for {} s", self.idle.as_secs_f32())
            } else {
                "the connection broke off".to_owned()
            };
            Broken(
                Error::unavailable(format!("{}: {why}", self.place()))
                    .with_source(error.without_url()),
            )
        })
    }

    /// The whole body within `time`; `None` when it has more than `limit` bytes.
    pub(super) async fn bytes(
        mut self,
        limit: u64,
        time: Duration,
    ) -> Result<Option<Bytes>, Broken> {
        if self.length().is_some_and(|length| length > limit) {
            return Ok(None);
        }
        let place = self.place();
        let read = async {
            let mut body = BytesMut::new();
            while let Some(chunk) = self.chunk().await? {
                if body.len() as u64 + chunk.len() as u64 > limit {
                    return Ok(None);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Some(body.freeze()))
        };
        tokio::time::timeout(time, read).await.unwrap_or_else(|_| {
            Err(Broken(Error::unavailable(format!(
                "{place}: the answer did not end within {} s",
                time.as_secs_f32()
            ))))
        })
    }

    /// The error that an answer other than a success means. Reads at most `limit` bytes of it.
    pub(super) async fn error(mut self, limit: u64) -> Error {
        let status = self.status();
        let place = self.place();
        let is_html = is_html_type(self.media_type());
        let mut body = Vec::new();
        let read = async {
            // What cannot be read of an error message is no further error.
            while let Ok(Some(chunk)) = self.chunk().await {
                let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() >= room {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(ERROR_TIME, read).await;
        let mut message = format!("{place}: {status}");
        if let Some(said) = said(&body, is_html) {
            message.push_str(": ");
            message.push_str(&said);
        }
        Error::new(kind_of(status), message)
    }
}

/// `GET https://host/path`, for messages.
pub(super) fn place(method: &Method, url: &Url) -> String {
    format!("{method} {}", shown(url))
}

/// The class of a refusal.
pub(super) fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        400 => Kind::InvalidArgument,
        401 => Kind::Unauthenticated,
        403 => Kind::PermissionDenied,
        404 | 410 => Kind::NotFound,
        405 | 501 => Kind::Unimplemented,
        416 => Kind::OutOfRange,
        429 => Kind::ResourceExhausted,
        408 | 500..=599 => Kind::Unavailable,
        _ => Kind::FailedPrecondition,
    }
}

/// Foreign text for a message: one line, without control characters, shortened.
pub(super) fn clip(text: &str) -> String {
    const MOST: usize = 300;
    let mut clean = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty())
    {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.push_str(word);
        if let Some((end, _)) = clean.char_indices().nth(MOST) {
            clean.truncate(end);
            clean.push('…');
            break;
        }
    }
    clean
}

/// Whether bytes are a web page, by the type they came with or by how they begin.
pub(super) fn is_html(media_type: Option<&str>, body: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&body[..body.len().min(256)]).to_ascii_lowercase();
    let head = head.trim_start_matches('\u{feff}').trim_start();
    is_html_type(media_type) || head.starts_with("<!doctype html") || head.starts_with("<html")
}

/// What a web page is about, for a message.
pub(super) fn html_title(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    // Lower-casing ASCII keeps positions.
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let title = clip(&text[start..end]);
    (!title.is_empty()).then_some(title)
}

/// How long an error's body is waited for: it only makes the message better.
const ERROR_TIME: Duration = Duration::from_secs(5);

fn is_html_type(media_type: Option<&str>) -> bool {
    media_type.is_some_and(|t| {
        t.eq_ignore_ascii_case("text/html") || t.eq_ignore_ascii_case("application/xhtml+xml")
    })
}

/// The registry's own words: the `errors` of the distribution specification, the `error` of OAuth 2,
/// a page's title, or else the text as it is.
fn said(body: &[u8], html: bool) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        errors: Vec<Item>,
        error: Option<String>,
        error_description: Option<String>,
        details: Option<String>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    if html || is_html(None, body) {
        return Some(
            html_title(body).map_or("a web page".to_owned(), |t| format!("{t:?} (a web page)")),
        );
    }
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) if !refusal.errors.is_empty() => {
            let items = refusal.errors.iter().map(|item| {
                match (item.code.is_empty(), item.message.is_empty()) {
                    (false, false) => format!("{}: {}", item.code, item.message),
                    _ => format!("{}{}", item.code, item.message),
                }
            });
            items.collect::<Vec<_>>().join("; ")
        }
        Ok(Refusal { error, error_description, details, .. }) => {
            let parts = [error, error_description, details];
            parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text = clip(&text);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_words_are_found_and_tamed() {
        for (body, html, want) in [
            (
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository","detail":{}}]}"#,
                false,
                "NAME_UNKNOWN: no such repository",
            ),
            (r#"{"errors":[{"code":"A","message":"b"},{"message":"c"}]}"#, false, "A: b; c"),
            (
                r#"{"error":"invalid_grant","error_description":"expired"}"#,
                false,
                "invalid_grant: expired",
            ),
            ("  too\nmany \u{1b}[31mrequests ", false, "too many [31mrequests"),
            ("<html><head><title>Sign\n in</title>", true, "\"Sign in\" (a web page)"),
            ("<p>", true, "a web page"),
        ] {
            assert_eq!(said(body.as_bytes(), html).as_deref(), Some(want), "{body}");
        }
        assert_eq!(said(b"", false), None);
        assert_eq!(said(b"{}", false), None);
        let long = said("x".repeat(5000).as_bytes(), false).unwrap();
        assert_eq!(long.chars().count(), 301);
    }

    #[test]
    fn pages_are_told_by_type_or_by_content() {
        assert!(is_html(Some("text/HTML"), b""));
        assert!(is_html(Some("application/json"), b"\n <!DOCTYPE html><title>"));
        assert!(is_html(None, b"<HTML>"));
        assert!(!is_html(Some("application/json"), b"{\"a\":\"<html>\"}"));
        assert_eq!(html_title(b"<title>"), None);
    }
}
