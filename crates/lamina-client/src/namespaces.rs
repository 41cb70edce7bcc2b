//! Namespaces of a daemon.

use async_trait::async_trait;
use lamina_api::convert::{field, namespace as convert};
use lamina_api::proto::containerd::services::namespaces::v1 as proto;
use lamina_core::{Labels, Namespace, NamespaceStore, Result};
use proto::namespaces_client::NamespacesClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Namespaces(pub(crate) Link);

#[async_trait]
impl NamespaceStore for Namespaces {
    async fn list(&self) -> Result<Vec<(Namespace, Labels)>> {
        let asked = proto::ListNamespacesRequest::default();
        let answer = ask!(self.0, NamespacesClient.list(asked))?;
        answer.namespaces.into_iter().map(|found| self.0.read(convert::decode(found))).collect()
    }

    async fn labels(&self, name: &Namespace) -> Result<Labels> {
        let asked = proto::GetNamespaceRequest { name: name.to_string() };
        let answer = ask!(self.0, NamespacesClient.get(asked))?;
        Ok(answer.namespace.unwrap_or_default().labels)
    }

    async fn create(&self, name: &Namespace, labels: Labels) -> Result<()> {
        let namespace = Some(convert::encode(name, labels));
        let asked = proto::CreateNamespaceRequest { namespace };
        ask!(self.0, NamespacesClient.create(asked)).map(drop)
    }

    async fn update(&self, name: &Namespace, labels: Labels, paths: &[String]) -> Result<Labels> {
        let asked = proto::UpdateNamespaceRequest {
            namespace: Some(convert::encode(name, labels)),
            update_mask: field::encode_mask(paths),
        };
        let answer = ask!(self.0, NamespacesClient.update(asked))?;
        Ok(answer.namespace.unwrap_or_default().labels)
    }

    async fn delete(&self, name: &Namespace) -> Result<()> {
        let asked = proto::DeleteNamespaceRequest { name: name.to_string() };
        ask!(self.0, NamespacesClient.delete(asked))
    }
}
