//! `containerd.services.sandbox.v1.Store`

use std::sync::Arc;

use lamina_api::convert::{field, sandbox};
use lamina_api::proto::containerd::services::sandbox::v1 as proto;
use lamina_core::{Host as _, SandboxStore};
use proto::store_server::StoreServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status, whole};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Store(Parts);

pub(super) fn server(parts: &Parts) -> StoreServer<Store> {
    StoreServer::new(Store(parts.clone()))
}

impl Store {
    fn store<T>(&self, request: &Request<T>) -> Result<Arc<dyn SandboxStore>, Status> {
        Ok(self.0.store.sandboxes(&scope(request)?))
    }
}

#[tonic::async_trait]
impl proto::store_server::Store for Store {
    async fn create(
        &self,
        request: Request<proto::StoreCreateRequest>,
    ) -> Answer<proto::StoreCreateResponse> {
        let store = self.store(&request)?;
        let asked = field::required("sandbox", request.into_inner().sandbox);
        let asked = asked.and_then(sandbox::decode).map_err(status)?;
        let made = store.create(asked).await.map_err(status)?;
        Ok(Response::new(proto::StoreCreateResponse { sandbox: Some(sandbox::encode(made)) }))
    }

    async fn update(
        &self,
        request: Request<proto::StoreUpdateRequest>,
    ) -> Answer<proto::StoreUpdateResponse> {
        let store = self.store(&request)?;
        let request = request.into_inner();
        let asked = field::required("sandbox", request.sandbox);
        let asked = asked.and_then(sandbox::decode).map_err(status)?;
        let changed = store.update(asked, &request.fields).await.map_err(status)?;
        Ok(Response::new(proto::StoreUpdateResponse { sandbox: Some(sandbox::encode(changed)) }))
    }

    async fn delete(
        &self,
        request: Request<proto::StoreDeleteRequest>,
    ) -> Answer<proto::StoreDeleteResponse> {
        let store = self.store(&request)?;
        store.delete(&request.into_inner().sandbox_id).await.map_err(status)?;
        Ok(Response::new(proto::StoreDeleteResponse {}))
    }

    async fn list(
        &self,
        request: Request<proto::StoreListRequest>,
    ) -> Answer<proto::StoreListResponse> {
        let store = self.store(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        let found = store.list(filters).await.map_err(status)?;
        let list = found.into_iter().map(sandbox::encode).collect();
        whole("sandboxes", proto::StoreListResponse { list })
    }

    async fn get(
        &self,
        request: Request<proto::StoreGetRequest>,
    ) -> Answer<proto::StoreGetResponse> {
        let store = self.store(&request)?;
        let found = store.get(&request.into_inner().sandbox_id).await.map_err(status)?;
        Ok(Response::new(proto::StoreGetResponse { sandbox: Some(sandbox::encode(found)) }))
    }
}
