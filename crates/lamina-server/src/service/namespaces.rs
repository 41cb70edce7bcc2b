//! `containerd.services.namespaces.v1.Namespaces`: the only service of its own that needs no namespace.

use std::sync::Arc;

use lamina_api::convert::{field, namespace};
use lamina_api::proto::containerd::services::namespaces::v1 as proto;
use lamina_core::{Host as _, Namespace, NamespaceStore};
use proto::namespaces_server::NamespacesServer;
use tonic::{Request, Response, Status};

use super::{Answer, status, whole};
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
        let namespace = Some(namespace::encode(&name, labels));
        Ok(Response::new(proto::GetNamespaceResponse { namespace }))
    }

    async fn list(
        &self,
        _: Request<proto::ListNamespacesRequest>,
    ) -> Answer<proto::ListNamespacesResponse> {
        let found = self.0.list().await.map_err(status)?;
        let encode = |(name, labels)| namespace::encode(&name, labels);
        let namespaces = found.into_iter().map(encode).collect();
        whole("namespaces", proto::ListNamespacesResponse { namespaces })
    }

    async fn create(
        &self,
        request: Request<proto::CreateNamespaceRequest>,
    ) -> Answer<proto::CreateNamespaceResponse> {
        let asked = field::required("namespace", request.into_inner().namespace);
        let (name, labels) = asked.and_then(namespace::decode).map_err(status)?;
        self.0.create(&name, labels.clone()).await.map_err(status)?;
        let namespace = Some(namespace::encode(&name, labels));
        Ok(Response::new(proto::CreateNamespaceResponse { namespace }))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateNamespaceRequest>,
    ) -> Answer<proto::UpdateNamespaceResponse> {
        let request = request.into_inner();
        let paths = field::decode_mask(request.update_mask);
        let asked = field::required("namespace", request.namespace);
        let (name, labels) = asked.and_then(namespace::decode).map_err(status)?;
        let labels = self.0.update(&name, labels, &paths).await.map_err(status)?;
        let namespace = Some(namespace::encode(&name, labels));
        Ok(Response::new(proto::UpdateNamespaceResponse { namespace }))
    }

    async fn delete(&self, request: Request<proto::DeleteNamespaceRequest>) -> Answer<()> {
        let name = name(&request.into_inner().name)?;
        self.0.delete(&name).await.map_err(status).map(Response::new)
    }
}

fn name(text: &str) -> Result<Namespace, Status> {
    Namespace::new(text).map_err(status)
}
