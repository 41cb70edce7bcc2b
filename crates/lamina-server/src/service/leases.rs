//! `containerd.services.leases.v1.Leases`

use std::sync::Arc;

use lamina_api::proto::containerd::services::leases::v1 as proto;
use lamina_core::lease::{Lease, LeaseStore, Resource, ResourceType};
use lamina_core::{Filters, Host as _};
use proto::leases_server::LeasesServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status};
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
        let lease = store.create(&asked.id, asked.labels).await.map_err(status)?;
        Ok(Response::new(proto::CreateResponse { lease: Some(message(lease)) }))
    }

    async fn delete(&self, request: Request<proto::DeleteRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        let asked = request.into_inner();
        store.delete(&asked.id, asked.sync).await.map_err(status).map(Response::new)
    }

    async fn list(&self, request: Request<proto::ListRequest>) -> Answer<proto::ListResponse> {
        let store = self.store(&request)?;
        let filters = Filters::parse_all(&request.into_inner().filters).map_err(status)?;
        let leases = store.list(filters).await.map_err(status)?;
        let leases = leases.into_iter().map(message).collect();
        Ok(Response::new(proto::ListResponse { leases }))
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
        let message =
            |held: Resource| proto::Resource { id: held.id, r#type: held.kind.to_string() };
        let resources = found.into_iter().map(message).collect();
        Ok(Response::new(proto::ListResourcesResponse { resources }))
    }
}

fn message(lease: Lease) -> proto::Lease {
    let created_at = lease.created;
    let created_at = prost_types::Timestamp {
        seconds: created_at.as_second(),
        nanos: created_at.subsec_nanosecond(),
    };
    proto::Lease { id: lease.id, created_at: Some(created_at), labels: lease.labels }
}

fn resource(asked: Option<proto::Resource>) -> Result<Resource, Status> {
    let asked = asked.unwrap_or_default();
    let kind = ResourceType::parse(&asked.r#type).map_err(status)?;
    Ok(Resource { kind, id: asked.id })
}
