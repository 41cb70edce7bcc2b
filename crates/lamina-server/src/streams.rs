//! Streams that clients open beside a call: progress, credentials, bytes.
//!
//! A client opens a stream under an id, and names that id in a transfer, which takes the stream. A
//! stream is used once. Its id is free again when it has ended: when the transfer drops it, when the
//! client goes, or when the daemon stops.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream as FuturesStream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use lamina_core::{Error, Namespace, Result};
use prost_types::Any;
use tokio::sync::mpsc;

#[cfg(test)]
mod tests;

/// How many streams may wait for a transfer at once, of all clients together. Each may hold as much
/// unread as its connection's window.
const WAITING: usize = 1024;

/// How many messages to a client are kept for its connection to take.
const OUTGOING: usize = 16;

/// What a client sends on a stream. It ends when the client has sent everything; an error is the
/// connection's.
type Incoming = BoxStream<'static, Result<Any>>;

/// The streams of all clients. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Key, Slot>>>);

type Key = (Namespace, String);

/// An id in use.
enum Slot {
    /// Until a transfer takes it.
    Waiting(Stream),
    /// Until it ends.
    Taken,
}

/// A stream, seen from the daemon. Dropped, it ends for the client when that has got what was sent.
pub(crate) struct Stream {
    /// Never locked: it lets a stream be shared by those who send.
    incoming: Mutex<Incoming>,
    outgoing: mpsc::Sender<Any>,
}

impl Streams {
    /// Opens a stream on which a client sends `incoming`, and returns what is to be sent to it.
    /// Dropping that ends the stream.
    ///
    /// # Errors
    /// InvalidArgument for an empty id, AlreadyExists for one in use, ResourceExhausted when too many
    /// wait.
    pub(crate) fn open(
        &self,
        namespace: &Namespace,
        id: &str,
        incoming: impl FuturesStream<Item = Result<Any>> + Send + 'static,
    ) -> Result<Outgoing> {
        if id.is_empty() {
            return Err(Error::invalid_argument("stream id must not be empty"));
        }
        let key = (namespace.clone(), id.to_owned());
        let mut slots = self.lock();
        let waiting = slots.values().filter(|slot| matches!(slot, Slot::Waiting(_))).count();
        let Entry::Vacant(slot) = slots.entry(key.clone()) else {
            return Err(Error::already_exists(format!("stream {id:?} already exists")));
        };
        if waiting >= WAITING {
            return Err(Error::resource_exhausted(format!(
                "stream {id:?}: {WAITING} streams wait for a transfer already"
            )));
        }
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        slot.insert(Slot::Waiting(Stream { incoming: Mutex::new(incoming.boxed()), outgoing }));
        Ok(Outgoing { messages, key, streams: self.clone() })
    }

    /// Takes a stream that waits.
    ///
    /// # Errors
    /// NotFound when no client has opened it, or it has ended; FailedPrecondition when another has
    /// taken it.
    pub(crate) fn take(&self, namespace: &Namespace, id: &str) -> Result<Stream> {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(&(namespace.clone(), id.to_owned())) else {
            return Err(Error::not_found(format!("stream {id:?} not found")));
        };
        match std::mem::replace(slot, Slot::Taken) {
            Slot::Waiting(stream) => Ok(stream),
            Slot::Taken => {
                Err(Error::failed_precondition(format!("stream {id:?} is in use by a transfer")))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Sends a message, waiting while the client is behind.
    ///
    /// # Errors
    /// Cancelled when the client has gone.
    pub(crate) async fn send(&self, message: Any) -> Result<()> {
        self.outgoing.send(message).await.map_err(|_| gone())
    }

    /// Room for one message; waits while the client is behind.
    ///
    /// # Errors
    /// Cancelled when the client has gone.
    pub(crate) async fn room(&self) -> Result<mpsc::Permit<'_, Any>> {
        self.outgoing.reserve().await.map_err(|_| gone())
    }

    /// Waits until the client's connection has taken all that was sent.
    ///
    /// # Errors
    /// Cancelled when the client has gone.
    pub(crate) async fn taken(&self) -> Result<()> {
        self.outgoing.reserve_many(OUTGOING).await.map(drop).map_err(|_| gone())
    }

    /// The client's next message; `None` when it has sent everything.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) async fn receive(&mut self) -> Result<Option<Any>> {
        let incoming = self.incoming.get_mut().unwrap_or_else(PoisonError::into_inner);
        incoming.next().await.transpose()
    }
}

fn gone() -> Error {
    Error::cancelled("the client has ended the stream")
}

/// What goes to a client, up to the end of its stream.
pub(crate) struct Outgoing {
    messages: mpsc::Receiver<Any>,
    key: Key,
    streams: Streams,
}

impl FuturesStream for Outgoing {
    type Item = Any;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Any>> {
        self.messages.poll_recv(cx)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // What was unclaimed is dropped after the lock is free: it is a part of a connection.
        let slot = self.streams.lock().remove(&self.key);
        drop(slot);
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} streams", self.lock().len())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
