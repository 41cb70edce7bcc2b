//! One connection to a task service: ttrpc as transport, requests encoded here, since the service's
//! name depends on the version that the shim speaks.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lamina_api::status;
use lamina_core::{Error, Kind, Namespace, Result};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use ttrpc::asynchronous::transport::Socket;
use ttrpc::proto::{KeyValue, Request};

use super::answer::Endpoint;

/// Tells a server of ttrpc whom a call is for.
const NAMESPACE: &str = "containerd-namespace-ttrpc";

/// A connection. It ends when this is dropped.
pub(crate) struct Client {
    rpc: ttrpc::asynchronous::Client,
    address: String,
    namespace: Namespace,
    /// 3 becomes 2 for good when the shim knows nothing of 3.
    version: AtomicU32,
    closed: CancellationToken,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Unavailable when nobody listens there.
    pub(crate) async fn connect(endpoint: &Endpoint, namespace: &Namespace) -> Result<Client> {
        let path = endpoint.path()?;
        let stream = UnixStream::connect(path).await.map_err(|error| {
            Error::unavailable(format!("cannot connect to the shim at {path:?}")).with_source(error)
        })?;
        let closed = CancellationToken::new();
        let watched = Watched { stream, closed: closed.clone(), unsent: Vec::new(), reader: None };
        Ok(Client {
            rpc: ttrpc::asynchronous::Client::new(Socket::new(watched)),
            address: endpoint.address.clone(),
            namespace: namespace.clone(),
            version: AtomicU32::new(endpoint.version),
            closed,
        })
    }

    /// Where it is connected to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Comes when the other side has gone.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Whether the other side has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Calls a method of the task service. Both versions have the same messages.
    ///
    /// # Errors
    /// The shim's own, of its class; Unavailable when it has gone, Internal for an answer that cannot
    /// be read.
    pub(crate) async fn call<A: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<A> {
        let payload = request.encode_to_vec();
        let version = self.version.load(Ordering::Relaxed);
        match self.ask(version, method, payload.clone()).await {
            Err(error) if version == 3 && error.kind() == Kind::Unimplemented => {
                let answer = self.ask(2, method, payload).await?;
                self.version.store(2, Ordering::Relaxed);
                Ok(answer)
            }
            answer => answer,
        }
    }

    /// [`call`](Self::call) with a limit.
    ///
    /// # Errors
    /// DeadlineExceeded when there is no answer in time; the shim may still do what it was asked.
    pub(crate) async fn call_within<A: Message + Default>(
        &self,
        limit: Duration,
        method: &str,
        request: &impl Message,
    ) -> Result<A> {
        tokio::time::timeout(limit, self.call(method, request)).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::DeadlineExceeded, format!("{method}: no answer in {limit:?}")))
        })
    }

    async fn ask<A: Message + Default>(
        &self,
        version: u32,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<A> {
        let mut request = Request::new();
        request.service = format!("containerd.task.v{version}.Task");
        request.method = method.to_owned();
        request.payload = payload;
        let mut namespace = KeyValue::new();
        namespace.key = NAMESPACE.to_owned();
        namespace.value = self.namespace.as_str().to_owned();
        request.metadata.push(namespace);
        let response = self.rpc.request(request).await.map_err(|error| match error {
            ttrpc::Error::RpcStatus(status) => {
                let code = status.code.value();
                status::from_code(code, &status.message).context(format!("shim: {method}"))
            }
            error => Error::unavailable(format!("the shim has gone: {method}")).with_source(error),
        })?;
        A::decode(response.payload.as_slice()).map_err(|error| {
            Error::internal(format!("the shim's answer to {method} is broken")).with_source(error)
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("version", &self.version)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The most bytes that wait for a shim to read them.
const UNSENT_BYTES: usize = 16 << 20;

/// A socket that tells when the other side has gone, and takes writes at once: ttrpc gives a connection
/// up when a request is dropped while it is being written, and to us that would be a dead shim.
struct Watched {
    stream: UnixStream,
    closed: CancellationToken,
    /// Written here, not yet to the socket. Reading sends it, which goes on all the time.
    unsent: Vec<u8>,
    reader: Option<Waker>,
}

impl Watched {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.unsent) {
                Poll::Ready(sent) => self.unsent.drain(..sent?),
                Poll::Pending => break,
            };
        }
        Ok(())
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reader = Some(cx.waker().clone());
        let before = buffer.filled().len();
        let polled = match self.poll_send(cx) {
            Ok(()) => Pin::new(&mut self.stream).poll_read(cx, buffer),
            Err(error) => Poll::Ready(Err(error)),
        };
        let ended = match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.closed.cancel();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unsent.len() + bytes.len() > UNSENT_BYTES {
            return Poll::Ready(Err(io::Error::other("the shim does not read its requests")));
        }
        self.unsent.extend_from_slice(bytes);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Also when ttrpc gave the connection up by itself.
        self.closed.cancel();
    }
}
