//! Where Prometheus asks: HTTP on a TCP address, `/v1/metrics`, as containerd has it.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use lamina_core::{Error, Result};
use tokio::net::TcpListener;
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

/// Answers until the daemon stops. Who asks then is not waited for.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics, stopping: CancellationToken) {
    let router = Router::new().route("/v1/metrics", get(move || answer(metrics.clone())));
    tokio::select! {
        ended = axum::serve(listener, router) => {
            if let Err(error) = ended {
                tracing::warn!(%error, "metrics are not served any more");
            }
        }
        () = stopping.cancelled() => {}
    }
}

async fn answer(metrics: Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.chain()).into_response(),
    }
}
