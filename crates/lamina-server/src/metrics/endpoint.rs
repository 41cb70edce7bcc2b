//! Where Prometheus asks: HTTP on a TCP address, `/v1/metrics`, as containerd has it.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use lamina_core::{Error, Result};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Metrics;

/// The format of <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens at `address`, a host and a port.
///
/// # Errors
/// InvalidArgument for an address that nobody can listen at, AlreadyExists for one in use.
pub(crate) async fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("listen for metrics at {address:?}");
        match error.kind() {
            std::io::ErrorKind::AddrInUse => Error::already_exists(message),
            std::io::ErrorKind::PermissionDenied => Error::permission_denied(message),
            _ => Error::invalid_argument(message),
        }
        .with_source(error)
    })
}

/// How many connections there are at once, and how long each may last.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections: usize,
    /// From its beginning to its end: one question, one answer.
    lifetime: Duration,
}

/// As long as Prometheus waits for an answer (`scrape_timeout`). Few ask; those who do nothing soon
/// make way.
const BOUNDS: Bounds = Bounds { connections: 64, lifetime: Duration::from_secs(10) };

/// Answers until the daemon stops. Who asks then is not waited for.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics, stopping: CancellationToken) {
    let router = Router::new().route("/v1/metrics", get(move || answer(metrics.clone())));
    stopping.run_until_cancelled(serve_within(BOUNDS, listener, router)).await;
}

/// Never ends. Connections over the bound wait in the kernel.
async fn serve_within(bounds: Bounds, listener: TcpListener, router: Router) {
    let service = TowerToHyperService::new(router);
    // joined: dropped with this future, which ends them.
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= bounds.connections {
            connections.join_next().await;
        }
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.map(|(stream, _)| stream),
            Some(_) = connections.join_next() => continue,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a question for metrics is not taken");
                // Out of files, perhaps: others may close some.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = service.clone();
        connections.spawn(async move {
            let mut http = http1::Builder::new();
            let connection = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
            // What is no HTTP, too slow or broken off is its sender's matter.
            let _ = tokio::time::timeout(bounds.lifetime, connection).await;
        });
    }
}

async fn answer(metrics: Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.chain()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    async fn ask(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_are_few_and_make_way() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds { connections: 4, lifetime: Duration::from_millis(300) };
        let router = Router::new().route("/", get(|| async { "here" }));
        let serving = serve_within(bounds, listener, router);
        let asking = async {
            let mut silent = Vec::new();
            for n in 0..8 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // Some stop in the middle of a head.
                stream.write_all(&b"GET / HT"[..n]).await.unwrap();
                silent.push(stream);
            }
            let answer = tokio::time::timeout(Duration::from_secs(60), ask(address)).await;
            let answer = answer.expect("silent connections keep their places");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
            for mut stream in silent {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        };
        tokio::select! {
            () = serving => unreachable!("it has no end"),
            () = asking => {}
        }
    }

    #[tokio::test]
    async fn no_more_connections_than_the_bound_are_taken() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds { connections: 1, lifetime: Duration::from_secs(3600) };
        let router = Router::new().route("/", get(|| async { "here" }));
        let serving = serve_within(bounds, listener, router);
        let asking = async {
            let first = TcpStream::connect(address).await.unwrap();
            let second = tokio::time::timeout(Duration::from_millis(300), ask(address)).await;
            assert!(second.is_err(), "{second:?}");
            drop(first);
            assert!(ask(address).await.ends_with("here"));
        };
        tokio::select! {
            () = serving => unreachable!("it has no end"),
            () = asking => {}
        }
    }
}
