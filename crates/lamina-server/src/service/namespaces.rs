//! `containerd.services.namespaces.v1.Namespaces`: the only service of its own that needs no namespace.

use lamina_api::proto::containerd::services::namespaces::v1 as proto;
use lamina_core::{Error, Host as _, Labels, Namespace, NamespaceStore};
use proto::namespaces_server::NamespacesServer;
use std::sync::Arc;
use tonic::{Request, Response, Status};

use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Namespaces(Arc<dyn NamespaceStore>);

pub(super) fn server(parts: &Parts) -> NamespacesServer<Namespaces> {
    NamespacesServer::new(Namespaces(parts.store.namespaces()))
}

#[tonic::async_trait]
impl proto::namespaces_server::Namespaces for Namespaces {
    async fn get(
        &self,
        request: Request<proto::GetNamespaceRequest>,
    ) -> Answer<proto::GetNamespaceResponse> {
        let name = name(&request.into_inner().name)?;
        let labels = self.0.labels(&name).await.map_err(status)?;
        Ok(Response::new(proto::GetNamespaceResponse { namespace: Some(message(&name, labels)) }))
    }

    async fn list(
        &self,
        _: Request<proto::ListNamespacesRequest>,
    ) -> Answer<proto::ListNamespacesResponse> {
        let found = self.0.list().await.map_err(status)?;
        let namespaces = found.into_iter().map(|(name, labels)| message(&name, labels)).collect();
        Ok(Response::new(proto::ListNamespacesResponse { namespaces }))
    }

    async fn create(
        &self,
        request: Request<proto::CreateNamespaceRequest>,
    ) -> Answer<proto::CreateNamespaceResponse> {
        let asked = request.into_inner().namespace.unwrap_or_default();
        let name = name(&asked.name)?;
        self.0.create(&name, asked.labels.clone()).await.map_err(status)?;
        Ok(Response::new(proto::CreateNamespaceResponse { namespace: Some(asked) }))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateNamespaceRequest>,
    ) -> Answer<proto::UpdateNamespaceResponse> {
        let request = request.into_inner();
        let asked = request.namespace.unwrap_or_default();
        let name = name(&asked.name)?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let labels = self.0.update(&name, asked.labels, &paths).await.map_err(status)?;
        let namespace = Some(message(&name, labels));
        Ok(Response::new(proto::UpdateNamespaceResponse { namespace }))
    }

    async fn delete(&self, request: Request<proto::DeleteNamespaceRequest>) -> Answer<()> {
        let name = name(&request.into_inner().name)?;
        self.0.delete(&name).await.map_err(status).map(Response::new)
    }
}

fn name(text: &str) -> Result<Namespace, Status> {
    Namespace::new(text).map_err(|error: Error| status(error))
}

fn message(name: &Namespace, labels: Labels) -> proto::Namespace {
    proto::Namespace { name: name.to_string(), labels }
}
