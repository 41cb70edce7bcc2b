//! Requests in, answers out: as much of HTTP/1.1 as a registry's clients speak.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// The body was not read to its end: the connection is to break off.
    pub(super) cut: bool,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) framing: Framing,
    /// Stop after this many bytes of the body and close.
    pub(super) stop_after: Option<u64>,
    /// Pieces of so many bytes with a pause before each.
    pub(super) slow: Option<(usize, Duration)>,
    /// Close the connection behind the answer.
    pub(super) close: bool,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By this length, true or not.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By chunks that never end: the body over and over.
    Endless,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Bytes>) -> Reply {
        let body = body.into();
        Reply {
            status,
            headers: Vec::new(),
            framing: Framing::Length(body.len() as u64),
            body,
            stop_after: None,
            slow: None,
            close: false,
        }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.set(name, Some(value.into()));
        self
    }

    /// Replaces a header, or takes it away.
    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|value| (name.to_owned(), value)));
    }
}

/// Largest request head, and largest body: a layer of a test.
const LARGEST: usize = 64 << 10;
const LARGEST_BODY: usize = 16 << 20;

/// Reads a request; `None` when the peer closed, or does not speak HTTP.
/// `cut` is asked, with the bytes of the body so far, whether no more of it are to be read.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    mut cut: Option<impl FnMut(&Request, usize) -> bool>,
) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        let is_http = bytes.first().is_none_or(u8::is_ascii_uppercase);
        let read = stream.read_buf(&mut bytes).await.ok()?;
        if read == 0 || bytes.len() > LARGEST || !is_http {
            return None;
        }
        if !bytes.first().is_none_or(u8::is_ascii_uppercase) {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let mut parts = lines.next()?.split(' ');
    let (method, target) = (parts.next()?.to_owned(), parts.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Bytes::new(),
        cut: false,
    };
    let length = request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if length > LARGEST_BODY || stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
        // The connection breaks off before the rest.
        if cut.as_mut().is_some_and(|cut| cut(&request, body.len())) {
            request.body = body.into();
            request.cut = true;
            return Some(request);
        }
    }
    request.body = body.into();
    Some(request)
}

/// Writes an answer; returns whether the connection can go on. `count` is told of each piece of the
/// body before it is written, so that a client which has seen a byte finds it counted, and of the piece
/// taken back when that fails.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    reply: &Reply,
    head_only: bool,
    mut count: impl FnMut(i64),
) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Test\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.framing {
        Framing::Length(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        Framing::Chunked | Framing::Endless => head.push_str("Transfer-Encoding: chunked\r\n"),
    }
    if reply.close {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if head_only {
        stream.flush().await?;
        return Ok(!reply.close);
    }
    let chunked = !matches!(reply.framing, Framing::Length(_));
    let piece = reply.slow.map_or(32 << 10, |(size, _)| size);
    loop {
        let end = reply.stop_after.map_or(reply.body.len(), |stop| {
            reply.body.len().min(usize::try_from(stop).unwrap_or(usize::MAX))
        });
        for part in reply.body[..end].chunks(piece) {
            if let Some((_, pause)) = reply.slow {
                tokio::time::sleep(pause).await;
            }
            let size = part.len() as i64;
            count(size);
            if let Err(error) = write_part(stream, part, chunked).await {
                count(-size);
                return Err(error);
            }
        }
        if reply.framing != Framing::Endless {
            break;
        }
    }
    if reply.stop_after.is_some() {
        stream.flush().await?;
        return Ok(false);
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.flush().await?;
    Ok(!reply.close)
}

async fn write_part(
    stream: &mut (impl AsyncWrite + Unpin),
    part: &[u8],
    chunked: bool,
) -> std::io::Result<()> {
    if chunked {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await?;
    }
    stream.write_all(part).await?;
    if chunked {
        stream.write_all(b"\r\n").await?;
    }
    stream.flush().await
}
