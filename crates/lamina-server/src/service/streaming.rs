//! `containerd.services.streaming.v1.Streaming`: the first message names the stream, an empty one
//! answers it, and what follows is between the client and the transfer that takes the stream.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use lamina_api::convert::any;
use lamina_api::proto::containerd::services::streaming::v1 as proto;
use lamina_api::status::from_status;
use prost_types::Any;
use proto::streaming_server::StreamingServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Streaming(Parts);

pub(super) fn server(parts: &Parts) -> StreamingServer<Streaming> {
    StreamingServer::new(Streaming(parts.clone()))
}

#[tonic::async_trait]
impl proto::streaming_server::Streaming for Streaming {
    type StreamStream = BoxStream<'static, Result<Any, Status>>;

    async fn stream(&self, request: Request<tonic::Streaming<Any>>) -> Answer<Self::StreamStream> {
        let namespace = scope(&request)?.namespace;
        let mut incoming = request.into_inner();
        let stopping = self.0.stopping.clone();
        let first = tokio::select! {
            first = incoming.message() => first?,
            () = stopping.cancelled() => return Err(Status::unavailable("the daemon is stopping")),
        };
        let first = first.ok_or_else(|| Status::invalid_argument("a stream without StreamInit"))?;
        let init: proto::StreamInit = any::unpack("the first message", &first).map_err(status)?;
        let incoming = incoming.map(|message| message.map_err(|error| from_status(&error)));
        let outgoing = self.0.streams.open(&namespace, &init.id, incoming).map_err(status)?;
        let answers = stream::iter([any::pack(&())]).chain(outgoing).map(Ok);
        Ok(Response::new(answers.take_until(stopping.cancelled_owned()).boxed()))
    }
}
