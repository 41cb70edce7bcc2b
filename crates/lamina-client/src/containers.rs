//! Container records of a daemon.

use async_trait::async_trait;
use lamina_api::convert::{container as convert, field};
use lamina_api::proto::containerd::services::containers::v1 as proto;
use lamina_core::{Container, ContainerStore, Filters, Result};
use proto::containers_client::ContainersClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Containers(pub(crate) Link);

impl Containers {
    fn container(&self, container: Option<proto::Container>) -> Result<Container> {
        self.0.read(field::required("container", container).and_then(convert::decode))
    }
}

#[async_trait]
impl ContainerStore for Containers {
    async fn get(&self, id: &str) -> Result<Container> {
        let asked = proto::GetContainerRequest { id: id.to_owned() };
        let answer = ask!(self.0, ContainersClient.get(asked))?;
        self.container(answer.container)
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Container>> {
        let asked = proto::ListContainersRequest { filters: field::encode_filters(&filters) };
        // Many containers with large specs do not fit one message, so they come as a stream.
        let mut found = ask!(self.0, ContainersClient.list_stream(asked))?;
        let mut containers = Vec::new();
        while let Some(next) = found.message().await.map_err(|status| self.0.failed(&status))? {
            containers.push(self.container(next.container)?);
        }
        Ok(containers)
    }

    async fn create(&self, container: Container) -> Result<Container> {
        let container = Some(convert::encode(container));
        let asked = proto::CreateContainerRequest { container };
        let answer = ask!(self.0, ContainersClient.create(asked))?;
        self.container(answer.container)
    }

    async fn update(&self, container: Container, paths: &[String]) -> Result<Container> {
        let asked = proto::UpdateContainerRequest {
            container: Some(convert::encode(container)),
            update_mask: field::encode_mask(paths),
        };
        let answer = ask!(self.0, ContainersClient.update(asked))?;
        self.container(answer.container)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let asked = proto::DeleteContainerRequest { id: id.to_owned() };
        ask!(self.0, ContainersClient.delete(asked))
    }
}
