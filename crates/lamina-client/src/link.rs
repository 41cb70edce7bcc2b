//! What every call goes through: the channel, whose call it is, and what an answer that is none means.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;

use lamina_api::status::from_status;
use lamina_core::{Error, Kind, Result, Scope};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// The size of a message in either direction, as containerd has it.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;

/// Names the namespace of a call.
const NAMESPACE: &str = "containerd-namespace";
/// Names the lease that gets what the call makes.
const LEASE: &str = "containerd-lease";

/// A connection, as one scope uses it. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    channel: Channel,
    socket: Arc<Path>,
    scope: Option<Scope>,
}

/// Asks `$client` (a generated client) for `$method` with a message, over a link.
macro_rules! ask {
    ($link:expr, $client:ident.$method:ident($message:expr)) => {{
        let link: &$crate::link::Link = &$link;
        match link.request($message) {
            Ok(request) => $client::new(link.channel())
                .max_decoding_message_size($crate::link::MAX_MESSAGE)
                .max_encoding_message_size($crate::link::MAX_MESSAGE)
                .$method(request)
                .await
                .map(tonic::Response::into_inner)
                .map_err(|status| link.failed(&status)),
            Err(error) => Err(error),
        }
    }};
}

impl Link {
    pub(crate) fn new(channel: Channel, socket: &Path) -> Link {
        Link { channel, socket: socket.into(), scope: None }
    }

    /// The same connection for calls of a scope.
    pub(crate) fn scoped(&self, scope: &Scope) -> Link {
        Link { scope: Some(scope.clone()), ..self.clone() }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The namespace of the scope; empty without one.
    pub(crate) fn namespace(&self) -> &str {
        self.scope.as_ref().map_or("", |scope| scope.namespace.as_str())
    }

    /// A message with the headers of the scope.
    ///
    /// # Errors
    /// InvalidArgument for a lease that a header cannot carry.
    pub(crate) fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let Some(scope) = &self.scope else { return Ok(request) };
        let headers = request.metadata_mut();
        headers.insert(NAMESPACE, header("namespace", scope.namespace.as_str())?);
        if let Some(lease) = &scope.lease {
            headers.insert(LEASE, header("lease", lease)?);
        }
        Ok(request)
    }

    /// Why a call failed: what the daemon answered, or that it could not be asked.
    pub(crate) fn failed(&self, status: &Status) -> Error {
        // What a daemon answers has no cause; a broken connection has.
        let Some(mut cause) = status.source() else { return from_status(status) };
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        self.gone(&cause.to_string())
    }

    /// The connection broke, or nobody listens any more.
    pub(crate) fn gone(&self, why: &str) -> Error {
        Error::unavailable(format!("the daemon at {}: {why}", self.socket.display()))
    }

    /// The connection is there, and nothing comes over it.
    pub(crate) fn silent(&self, how: &str) -> Error {
        let message = format!("the daemon at {} {how}", self.socket.display());
        Error::new(Kind::DeadlineExceeded, message)
    }

    /// What came, if it is in the form that the API promises.
    pub(crate) fn read<T>(&self, decoded: Result<T>) -> Result<T> {
        decoded.map_err(|error| {
            let message = format!("the daemon at {} answered nonsense", self.socket.display());
            Error::internal(message).with_source(error)
        })
    }
}

fn header(what: &str, text: &str) -> Result<AsciiMetadataValue> {
    AsciiMetadataValue::try_from(text).map_err(|error| {
        Error::invalid_argument(format!("{what} {text:?} cannot be sent")).with_source(error)
    })
}
