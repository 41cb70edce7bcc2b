//! Connections: accepted, decrypted, served until they close or the registry stops.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::message;
use super::serve::{Outcome, answer};
use super::state::State;

/// Serves until `stopped`; every connection ends with it.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    state: Arc<State>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).expect("take the listener over");
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        // A head and its body are two writes: the second would wait 40 ms for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        let (state, acceptor) = (Arc::clone(&state), acceptor.clone());
        connections.spawn(async move {
            match acceptor {
                None => serve(stream, &state).await,
                Some(acceptor) => {
                    // A client that does not like the certificate is a test's intention.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, &state).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    loop {
        let cut = |request: &message::Request, bytes| state.cuts(request, bytes);
        let Some(request) = message::read(&mut stream, Some(cut)).await else {
            // What a proper server says to somebody who speaks TLS to it.
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            let _ = stream.shutdown().await;
            return;
        };
        let number = state.begin(&request);
        let reply = match answer(state, &request, number) {
            Outcome::Reply(reply) => reply,
            Outcome::Close => return,
            Outcome::Hang => std::future::pending().await,
        };
        state.answered(number, reply.status);
        let head_only = request.method == "HEAD";
        let count = |bytes| state.sent(number, bytes);
        let written = message::write(&mut stream, &reply, head_only, count).await;
        // A peer that went away is none of our business.
        if !written.unwrap_or(false) {
            let _ = stream.shutdown().await;
            return;
        }
    }
}
