//! `containerd.services.containers.v1.Containers`

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use lamina_api::convert::{container, field};
use lamina_api::proto::containerd::services::containers::v1 as proto;
use lamina_core::{Container, ContainerStore, Host as _};
use proto::containers_server::ContainersServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status, whole};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Containers(Parts);

pub(super) fn server(parts: &Parts) -> ContainersServer<Containers> {
    ContainersServer::new(Containers(parts.clone()))
}

impl Containers {
    fn store<T>(&self, request: &Request<T>) -> Result<Arc<dyn ContainerStore>, Status> {
        Ok(self.0.store.containers(&scope(request)?))
    }

    async fn found(
        &self,
        request: Request<proto::ListContainersRequest>,
    ) -> Result<Vec<Container>, Status> {
        let store = self.store(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        store.list(filters).await.map_err(status)
    }
}

#[tonic::async_trait]
impl proto::containers_server::Containers for Containers {
    async fn get(
        &self,
        request: Request<proto::GetContainerRequest>,
    ) -> Answer<proto::GetContainerResponse> {
        let store = self.store(&request)?;
        let found = store.get(&request.into_inner().id).await.map_err(status)?;
        let container = Some(container::encode(found));
        Ok(Response::new(proto::GetContainerResponse { container }))
    }

    async fn list(
        &self,
        request: Request<proto::ListContainersRequest>,
    ) -> Answer<proto::ListContainersResponse> {
        let found = self.found(request).await?;
        let containers = found.into_iter().map(container::encode).collect();
        whole("containers", proto::ListContainersResponse { containers })
    }

    type ListStreamStream = BoxStream<'static, Result<proto::ListContainerMessage, Status>>;

    async fn list_stream(
        &self,
        request: Request<proto::ListContainersRequest>,
    ) -> Answer<Self::ListStreamStream> {
        let found = stream::iter(self.found(request).await?);
        let message = |found| {
            let container = Some(container::encode(found));
            Ok(proto::ListContainerMessage { container })
        };
        Ok(Response::new(found.map(message).boxed()))
    }

    async fn create(
        &self,
        request: Request<proto::CreateContainerRequest>,
    ) -> Answer<proto::CreateContainerResponse> {
        let store = self.store(&request)?;
        let asked = field::required("container", request.into_inner().container);
        let asked = asked.and_then(container::decode).map_err(status)?;
        let made = store.create(asked).await.map_err(status)?;
        let container = Some(container::encode(made));
        Ok(Response::new(proto::CreateContainerResponse { container }))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateContainerRequest>,
    ) -> Answer<proto::UpdateContainerResponse> {
        let store = self.store(&request)?;
        let request = request.into_inner();
        let paths = field::decode_mask(request.update_mask);
        let asked = field::required("container", request.container);
        let asked = asked.and_then(container::decode).map_err(status)?;
        let changed = store.update(asked, &paths).await.map_err(status)?;
        let container = Some(container::encode(changed));
        Ok(Response::new(proto::UpdateContainerResponse { container }))
    }

    async fn delete(&self, request: Request<proto::DeleteContainerRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        store.delete(&request.into_inner().id).await.map_err(status).map(Response::new)
    }
}
