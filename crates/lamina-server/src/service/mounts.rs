//! `containerd.services.mounts.v1.Mounts`

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use lamina_api::convert::{field, mount};
use lamina_api::proto::containerd::services::mounts::v1 as proto;
use lamina_core::mount::ActivateOptions;
use lamina_core::{Error, Host as _, MountManager};
use proto::mounts_server::MountsServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Mounts(Parts);

pub(super) fn server(parts: &Parts) -> MountsServer<Mounts> {
    MountsServer::new(Mounts(parts.clone()))
}

impl Mounts {
    fn manager<T>(&self, request: &Request<T>) -> Result<Arc<dyn MountManager>, Status> {
        Ok(self.0.store.mounts(&scope(request)?))
    }
}

#[tonic::async_trait]
impl proto::mounts_server::Mounts for Mounts {
    async fn activate(
        &self,
        request: Request<proto::ActivateRequest>,
    ) -> Answer<proto::ActivateResponse> {
        let manager = self.manager(&request)?;
        let asked = request.into_inner();
        let mounts = mount::decode_all(asked.mounts);
        // What a client can mount by itself it cannot say over the wire.
        let options = ActivateOptions {
            labels: asked.labels,
            temporary: asked.temporary,
            ..Default::default()
        };
        let made = manager.activate(&asked.name, &mounts, options).await.map_err(status)?;
        let info = Some(mount::encode_activation(made));
        Ok(Response::new(proto::ActivateResponse { info }))
    }

    async fn deactivate(&self, request: Request<proto::DeactivateRequest>) -> Answer<()> {
        let manager = self.manager(&request)?;
        manager.deactivate(&request.into_inner().name).await.map_err(status).map(Response::new)
    }

    async fn info(&self, request: Request<proto::InfoRequest>) -> Answer<proto::InfoResponse> {
        let manager = self.manager(&request)?;
        let found = manager.info(&request.into_inner().name).await.map_err(status)?;
        let info = Some(mount::encode_activation(found));
        Ok(Response::new(proto::InfoResponse { info }))
    }

    /// An activation is what it was made as: containerd's mount manager changes none either.
    async fn update(
        &self,
        request: Request<proto::UpdateRequest>,
    ) -> Answer<proto::UpdateResponse> {
        self.manager(&request)?;
        let name = request.into_inner().info.unwrap_or_default().name;
        Err(status(Error::unimplemented(format!("change the activation {name:?}"))))
    }

    type ListStream = BoxStream<'static, Result<proto::ListMessage, Status>>;

    async fn list(&self, request: Request<proto::ListRequest>) -> Answer<Self::ListStream> {
        let manager = self.manager(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        let mut found = manager.list().await.map_err(status)?;
        found.retain(|activation| filters.matches(activation));
        let message = |activation| {
            let info = Some(mount::encode_activation(activation));
            Ok(proto::ListMessage { info })
        };
        Ok(Response::new(stream::iter(found).map(message).boxed()))
    }
}
