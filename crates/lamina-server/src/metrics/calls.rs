//! Calls of gRPC: how many began, how they ended, how long they took.
//!
//! Counts are per method of a service that is described in our API, and one more for every other
//! path: what clients make up takes no memory here.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use lamina_core::{Error, Result};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Code, Status};

/// Seconds, as Prometheus' clients have them.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts of calls, and the layer that counts. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    methods: Arc<HashMap<String, Method>>,
    started: Family<Method, Counter>,
    handled: Family<Handled, Counter>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
    open: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Method {
    grpc_type: &'static str,
    grpc_service: String,
    grpc_method: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handled {
    grpc_type: &'static str,
    grpc_service: String,
    grpc_method: String,
    grpc_code: String,
}

impl Calls {
    pub(super) fn new(registry: &mut Registry) -> Result<Calls> {
        let calls = Calls {
            methods: Arc::new(methods()?),
            started: Family::default(),
            handled: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            open: Gauge::default(),
        };
        registry.register("grpc_server_started", "Calls that began", calls.started.clone());
        registry.register("grpc_server_handled", "Calls that ended", calls.handled.clone());
        registry.register(
            "grpc_server_handling_seconds",
            "Time of calls, from their first byte to their status",
            calls.seconds.clone(),
        );
        registry.register("lamina_grpc_open_calls", "Calls in progress", calls.open.clone());
        Ok(calls)
    }

    /// How many are in progress.
    pub(crate) fn open(&self) -> i64 {
        self.open.get()
    }

    fn began(&self, path: &str) -> Call {
        let method = match self.methods.get(path) {
            Some(method) => method.clone(),
            None => Method {
                grpc_type: "unary",
                grpc_service: "unknown".to_owned(),
                grpc_method: "unknown".to_owned(),
            },
        };
        self.started.get_or_create(&method).inc();
        self.open.inc();
        Call { calls: self.clone(), method, began: Instant::now(), code: None }
    }
}

/// By path, every method that our API describes.
fn methods() -> Result<HashMap<String, Method>> {
    let files = FileDescriptorSet::decode(lamina_api::proto::DESCRIPTORS)
        .map_err(|error| Error::internal("read the services' descriptions").with_source(error))?;
    let mut methods = HashMap::new();
    for file in files.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                methods.insert(format!("/{name}/{}", method.name()), labels(&name, method));
            }
        }
    }
    Ok(methods)
}

fn labels(service: &str, method: &MethodDescriptorProto) -> Method {
    let grpc_type = match (method.client_streaming(), method.server_streaming()) {
        (false, false) => "unary",
        (true, false) => "client_stream",
        (false, true) => "server_stream",
        (true, true) => "bidi_stream",
    };
    let (grpc_service, grpc_method) = (service.to_owned(), method.name().to_owned());
    Method { grpc_type, grpc_service, grpc_method }
}

/// One call, counted when it is dropped: whoever goes early has cancelled it.
#[derive(Debug)]
struct Call {
    calls: Calls,
    method: Method,
    began: Instant,
    code: Option<Code>,
}

impl Call {
    fn look(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = Some(status.code());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Method { grpc_type, grpc_service, grpc_method } = self.method.clone();
        let grpc_code = name(self.code.unwrap_or(Code::Cancelled));
        let handled = Handled { grpc_type, grpc_service, grpc_method, grpc_code };
        self.calls.handled.get_or_create(&handled).inc();
        let seconds = self.began.elapsed().as_secs_f64();
        self.calls.seconds.get_or_create(&self.method).observe(seconds);
        self.calls.open.dec();
    }
}

/// As Go has it.
fn name(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    }
}

impl<S> tower_layer::Layer<S> for Calls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { calls: self.clone(), inner }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    calls: Calls,
    inner: S,
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<CountedBody>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut call = self.calls.began(request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            call.look(response.headers());
            Ok(response.map(|body| CountedBody { body, call }))
        })
    }
}

/// An answer on its way, whose last headers have the status.
#[derive(Debug)]
pub(crate) struct CountedBody {
    body: Body,
    call: Call,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &next
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.look(trailers);
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
