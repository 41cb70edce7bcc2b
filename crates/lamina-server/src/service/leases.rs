//! `containerd.services.leases.v1.Leases`

use std::sync::Arc;

use lamina_api::convert::{field, lease};
use lamina_api::proto::containerd::services::leases::v1 as proto;
use lamina_core::lease::Resource;
use lamina_core::{Host as _, LeaseStore};
use proto::leases_server::LeasesServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status, whole};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Leases(Parts);

pub(super) fn server(parts: &Parts) -> LeasesServer<Leases> {
    LeasesServer::new(Leases(parts.clone()))
}

impl Leases {
    fn store<T>(&self, request: &Request<T>) -> Result<Arc<dyn LeaseStore>, Status> {
        Ok(self.0.store.leases(&scope(request)?))
    }
}

#[tonic::async_trait]
impl proto::leases_server::Leases for Leases {
    async fn create(
        &self,
        request: Request<proto::CreateRequest>,
    ) -> Answer<proto::CreateResponse> {
        let store = self.store(&request)?;
        let asked = request.into_inner();
        let made = store.create(&asked.id, asked.labels).await.map_err(status)?;
        Ok(Response::new(proto::CreateResponse { lease: Some(lease::encode(made)) }))
    }

    async fn delete(&self, request: Request<proto::DeleteRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        let asked = request.into_inner();
        store.delete(&asked.id, asked.sync).await.map_err(status).map(Response::new)
    }

    async fn list(&self, request: Request<proto::ListRequest>) -> Answer<proto::ListResponse> {
        let store = self.store(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        let found = store.list(filters).await.map_err(status)?;
        let leases = found.into_iter().map(lease::encode).collect();
        whole("leases", proto::ListResponse { leases })
    }

    async fn add_resource(&self, request: Request<proto::AddResourceRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        let asked = request.into_inner();
        let resource = resource(asked.resource)?;
        store.add(&asked.id, resource).await.map_err(status).map(Response::new)
    }

    async fn delete_resource(&self, request: Request<proto::DeleteResourceRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        let asked = request.into_inner();
        let resource = resource(asked.resource)?;
        store.remove(&asked.id, resource).await.map_err(status).map(Response::new)
    }

    async fn list_resources(
        &self,
        request: Request<proto::ListResourcesRequest>,
    ) -> Answer<proto::ListResourcesResponse> {
        let store = self.store(&request)?;
        let found = store.resources(&request.into_inner().id).await.map_err(status)?;
        let resources = found.into_iter().map(lease::encode_resource).collect();
        whole("resources", proto::ListResourcesResponse { resources })
    }
}

fn resource(asked: Option<proto::Resource>) -> Result<Resource, Status> {
    field::required("resource", asked).and_then(lease::decode_resource).map_err(status)
}
