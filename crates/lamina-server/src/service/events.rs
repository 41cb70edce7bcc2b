//! `containerd.services.events.v1.Events`: a subscriber sees all namespaces, and needs none.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use lamina_api::convert::event::check_topic;
use lamina_api::convert::timestamp;
use lamina_api::proto::containerd::services::events::v1 as proto;
use lamina_api::proto::containerd::types::Envelope;
use lamina_core::Filters;
use proto::events_server::EventsServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Events(Parts);

pub(super) fn server(parts: &Parts) -> EventsServer<Events> {
    EventsServer::new(Events(parts.clone()))
}

#[tonic::async_trait]
impl proto::events_server::Events for Events {
    async fn publish(&self, request: Request<proto::PublishRequest>) -> Answer<()> {
        let namespace = scope(&request)?.namespace.to_string();
        let proto::PublishRequest { topic, event } = request.into_inner();
        check_topic(&topic).map_err(status)?;
        let timestamp = Some(timestamp::encode(jiff::Timestamp::now()));
        self.0.events.publish(Envelope { timestamp, namespace, topic, event });
        Ok(Response::new(()))
    }

    async fn forward(&self, request: Request<proto::ForwardRequest>) -> Answer<()> {
        self.0.events.forward(request.into_inner().envelope).map_err(status)?;
        Ok(Response::new(()))
    }

    type SubscribeStream = BoxStream<'static, Result<Envelope, Status>>;

    async fn subscribe(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Answer<Self::SubscribeStream> {
        let filters = Filters::parse_all(&request.into_inner().filters).map_err(status)?;
        let events = self.0.events.subscribe(filters);
        let events = events.map(|event| event.map(|event| (*event).clone()).map_err(status));
        let stopping = self.0.stopping.clone().cancelled_owned();
        Ok(Response::new(events.take_until(stopping).boxed()))
    }
}
