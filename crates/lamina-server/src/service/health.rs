//! `grpc.health.v1.Health`: serving for as long as the socket answers, of the server as a whole (the
//! empty name). `https://github.com/grpc/grpc/blob/master/doc/health-checking.md`

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use lamina_api::proto::grpc::health::v1 as proto;
use lamina_core::Error;
use proto::health_check_response::ServingStatus;
use proto::health_server::HealthServer;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Health {
    stopping: CancellationToken,
}

pub(super) fn server(parts: &Parts) -> HealthServer<Health> {
    HealthServer::new(Health { stopping: parts.stopping.clone() })
}

#[tonic::async_trait]
impl proto::health_server::Health for Health {
    async fn check(
        &self,
        request: Request<proto::HealthCheckRequest>,
    ) -> Answer<proto::HealthCheckResponse> {
        let service = request.into_inner().service;
        if !service.is_empty() {
            return Err(status(Error::not_found(format!("service {service:?}"))));
        }
        Ok(Response::new(response(ServingStatus::Serving)))
    }

    type WatchStream = BoxStream<'static, Result<proto::HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<proto::HealthCheckRequest>,
    ) -> Answer<Self::WatchStream> {
        // A service that is not known now may be one day, so a watcher is told and kept.
        let now = match request.into_inner().service.is_empty() {
            true => ServingStatus::Serving,
            false => ServingStatus::ServiceUnknown,
        };
        let stopping = self.stopping.clone().cancelled_owned();
        let end = stream::once(stopping).map(|()| Ok(response(ServingStatus::NotServing)));
        Ok(Response::new(stream::iter([Ok(response(now))]).chain(end).boxed()))
    }
}

fn response(status: ServingStatus) -> proto::HealthCheckResponse {
    proto::HealthCheckResponse { status: status.into() }
}
