//! Ways to misbehave, and when.

use std::time::Duration;

use lamina_core::Digest;

/// What is done instead of a proper answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An answer with this status, headers and body.
    Status {
        /// The status.
        code: u16,
        /// More headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The connection is closed without an answer.
    Close,
    /// No answer comes, the connection stays.
    Hang,
    /// The body's middle byte is another one.
    Flip,
    /// The whole length is declared, the connection is closed after this many bytes of the body.
    DropAfter(u64),
    /// No length is declared, and the body ends properly after this many bytes.
    EndAfter(u64),
    /// A body of no bytes, declared so.
    Empty,
    /// The declared length is wrong by this much; the connection is closed behind the body.
    Length(i64),
    /// No length is declared, and this many bytes too many are sent.
    Surplus(u64),
    /// A web page with status 200.
    Html,
    /// Another `Content-Type`, or none.
    MediaType(Option<String>),
    /// Another `Docker-Content-Digest`, or none.
    Digest(Option<String>),
    /// A redirect.
    Redirect(String),
    /// A body that goes on until the connection is closed by the peer.
    Endless,
    /// `Range` is not looked at: 200 and the whole.
    IgnoreRange,
    /// 416 to every `Range`.
    RefuseRange,
    /// 206, but from this many bytes further on.
    ShiftRange(u64),
    /// 206 with the wrong total.
    RangeTotal(u64),
    /// The body in pieces of so many bytes with a pause before each.
    Slow(usize, Duration),
    /// Of an upload, so many bytes are taken, then the connection is closed without an answer.
    TakeOnly(usize),
    /// An upload that was begun is forgotten: 404.
    Forget,
}

impl Fault {
    /// A bare status with a body in the form of the distribution specification.
    pub fn status(code: u16) -> Fault {
        Fault::Status {
            code,
            headers: Vec::new(),
            body: format!(r#"{{"errors":[{{"code":"TEST","message":"told to say {code}"}}]}}"#),
        }
    }

    /// A bare status with one header.
    pub fn status_with(code: u16, name: &str, value: &str) -> Fault {
        let headers = vec![(name.to_owned(), value.to_owned())];
        Fault::Status { code, headers, body: String::new() }
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct On {
    method: Option<String>,
    part: String,
    skip: usize,
    times: usize,
}

impl On {
    /// Requests whose path contains `part`.
    pub fn path(part: impl Into<String>) -> On {
        On { method: None, part: part.into(), skip: 0, times: usize::MAX }
    }

    /// Requests for manifests.
    pub fn manifests() -> On {
        On::path("/manifests/")
    }

    /// Requests for blobs.
    pub fn blobs() -> On {
        On::path("/blobs/")
    }

    /// Requests for one blob or manifest by its digest.
    pub fn digest(digest: &Digest) -> On {
        On::path(digest.as_str())
    }

    /// Requests for tokens.
    pub fn tokens() -> On {
        On::path("/token")
    }

    /// Only this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> On {
        self.method = Some(method.to_owned());
        self
    }

    /// Only this many requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> On {
        self.times = times;
        self
    }

    /// Only once.
    #[must_use]
    pub fn once(self) -> On {
        self.times(1)
    }

    /// Not the first `skip` requests.
    #[must_use]
    pub fn after(mut self, skip: usize) -> On {
        self.skip = skip;
        self
    }

    /// Whether this request would be one of them.
    pub(super) fn would_take(&self, method: &str, path: &str) -> bool {
        self.clone().takes(method, path)
    }

    /// Whether this request is one of them; counts it.
    pub(super) fn takes(&mut self, method: &str, path: &str) -> bool {
        if self.method.as_deref().is_some_and(|m| m != method) || !path.contains(&self.part) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let takes = self.times > 0;
        self.times = self.times.saturating_sub(1);
        takes
    }
}
