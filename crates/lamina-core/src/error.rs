//! The one error type that crosses Lamina's seams.
//!
//! A kind is containerd's error class: clients decide by it (create or update, retry, fall back), so
//! it is chosen where its meaning is known, never derived from an errno alone. There is no blanket
//! `From<io::Error>`: `ENOENT` on a user's blob is [`Kind::NotFound`], on a directory of ours it is
//! [`Kind::Internal`].

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, as a class that callers act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// None of the others is known to fit.
    Unknown,
    /// The request itself is malformed; repeating it cannot help.
    InvalidArgument,
    /// The named thing is not there.
    NotFound,
    /// The name is taken, or the content is here already.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// The caller is not known; credentials are missing or wrong.
    Unauthenticated,
    /// A disk, a quota, a limit is exhausted.
    ResourceExhausted,
    /// The state of the thing forbids the request.
    FailedPrecondition,
    /// Another change came in between (`errdefs.ErrConflict`).
    Conflict,
    /// Nothing had to be changed (`errdefs.ErrNotModified`).
    NotModified,
    /// The operation was given up half-way by its own logic.
    Aborted,
    /// An offset or number lies outside what is there.
    OutOfRange,
    /// Not offered here.
    Unimplemented,
    /// A fault of ours or of the host.
    Internal,
    /// Not now: locked, busy, or a peer is away.
    Unavailable,
    /// Stored data is not what was stored.
    DataLoss,
    /// The caller left.
    Cancelled,
    /// It took longer than allowed.
    DeadlineExceeded,
}

impl Kind {
    /// The class's text, with which a Go client tells classes apart (`errdefs`).
    pub fn text(self) -> &'static str {
        match self {
            Kind::Unknown => "unknown",
            Kind::InvalidArgument => "invalid argument",
            Kind::NotFound => "not found",
            Kind::AlreadyExists => "already exists",
            Kind::PermissionDenied => "permission denied",
            Kind::Unauthenticated => "unauthenticated",
            Kind::ResourceExhausted => "resource exhausted",
            Kind::FailedPrecondition => "failed precondition",
            Kind::Conflict => "conflict",
            Kind::NotModified => "not modified",
            Kind::Aborted => "aborted",
            Kind::OutOfRange => "out of range",
            Kind::Unimplemented => "not implemented",
            Kind::Internal => "internal",
            Kind::Unavailable => "unavailable",
            Kind::DataLoss => "data loss",
            Kind::Cancelled => "context canceled",
            Kind::DeadlineExceeded => "context deadline exceeded",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// An error: its class, what failed at this level, and the cause one level down.
///
/// `Display` prints this level's message only; the chain is in [`source`](StdError::source).
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error of class `kind`; the message names the subject.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    /// The class.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// This level's message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Wraps this error in a message of the level above; the class stays.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Error { kind: self.kind, message: message.into(), source: Some(Box::new(self)) }
    }

    /// Gives the error another class, keeping message and cause.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The whole chain on one line: `outermost: cause: cause's cause`.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }

    /// Whether this is [`Kind::NotFound`].
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Whether this is [`Kind::AlreadyExists`].
    pub fn is_already_exists(&self) -> bool {
        self.kind == Kind::AlreadyExists
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        /// Constructors, one a class.
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                Error::new(Kind::$kind, message)
            })*
        }
    };
}

constructors! {
    /// [`Kind::InvalidArgument`]
    invalid_argument => InvalidArgument,
    /// [`Kind::NotFound`]
    not_found => NotFound,
    /// [`Kind::AlreadyExists`]
    already_exists => AlreadyExists,
    /// [`Kind::PermissionDenied`]
    permission_denied => PermissionDenied,
    /// [`Kind::Unauthenticated`]
    unauthenticated => Unauthenticated,
    /// [`Kind::ResourceExhausted`]
    resource_exhausted => ResourceExhausted,
    /// [`Kind::FailedPrecondition`]
    failed_precondition => FailedPrecondition,
    /// [`Kind::Aborted`]
    aborted => Aborted,
    /// [`Kind::OutOfRange`]
    out_of_range => OutOfRange,
    /// [`Kind::Unimplemented`]
    unimplemented => Unimplemented,
    /// [`Kind::Internal`]
    internal => Internal,
    /// [`Kind::Unavailable`]
    unavailable => Unavailable,
    /// [`Kind::DataLoss`]
    data_loss => DataLoss,
    /// [`Kind::Cancelled`]
    cancelled => Cancelled,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_level_and_chain_is_all() {
        let disk = std::io::Error::from_raw_os_error(28);
        let error = Error::resource_exhausted("write blob sha256:ab")
            .with_source(disk)
            .context("pull redis");
        assert_eq!(error.to_string(), "pull redis");
        assert_eq!(error.kind(), Kind::ResourceExhausted);
        assert_eq!(
            error.chain(),
            "pull redis: write blob sha256:ab: No space left on device (os error 28)"
        );
    }
}
