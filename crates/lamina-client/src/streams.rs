//! Streams that a client opens beside a call, and names in it.

use std::hash::{BuildHasher as _, RandomState};

use futures_util::{StreamExt as _, stream};
use lamina_api::convert::any;
use lamina_api::proto::containerd::services::streaming::v1 as proto;
use lamina_core::{Error, Result};
use prost_types::Any;
use proto::streaming_client::StreamingClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::link::Link;

/// How many messages to the daemon are kept for the connection to take.
const OUTGOING: usize = 4;

/// A stream that the daemon has. Dropped, it ends on both sides.
#[derive(Debug)]
pub(crate) struct Stream {
    id: String,
    outgoing: mpsc::Sender<Any>,
    incoming: Streaming<Any>,
    link: Link,
}

impl Stream {
    /// Opens one under an id that nobody else has. When this returns, a call may name it.
    pub(crate) async fn open(link: &Link) -> Result<Stream> {
        let id = new_id();
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let init = stream::iter([any::pack(&proto::StreamInit { id: id.clone() })]);
        let messages = init.chain(ReceiverStream::new(messages));
        let incoming = ask!(link, StreamingClient.stream(messages))?;
        let mut stream = Stream { id, outgoing, incoming, link: link.clone() };
        match stream.receive().await? {
            Some(_) => Ok(stream),
            None => Err(stream.ended()),
        }
    }

    /// What a call names it by.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Sends a message, waiting while the connection is behind.
    ///
    /// # Errors
    /// Unavailable when the daemon has ended the stream.
    pub(crate) async fn send(&self, message: Any) -> Result<()> {
        self.outgoing.send(message).await.map_err(|_| self.ended())
    }

    /// The daemon's next message; `None` when it has ended the stream. Nothing is lost when the
    /// future is dropped.
    ///
    /// # Errors
    /// Unavailable when the connection broke.
    pub(crate) async fn receive(&mut self) -> Result<Option<Any>> {
        self.incoming.message().await.map_err(|status| self.link.failed(&status))
    }

    /// Sends no more; what comes is still received.
    pub(crate) fn close(&mut self) {
        self.outgoing = mpsc::channel(1).0;
    }

    fn ended(&self) -> Error {
        self.link.gone("it has ended a stream")
    }
}

/// A name that nobody else has: clients share a namespace's. The standard library's hasher has 128 random bits of the system.
pub(crate) fn new_id() -> String {
    let random = RandomState::new();
    format!("lamina-{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}
