//! Sandbox records of a daemon.

use async_trait::async_trait;
use lamina_api::convert::{field, sandbox as convert};
use lamina_api::proto::containerd::services::sandbox::v1 as proto;
use lamina_api::proto::containerd::types;
use lamina_core::{Filters, Result, Sandbox, SandboxStore};
use proto::store_client::StoreClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Sandboxes(pub(crate) Link);

impl Sandboxes {
    fn sandbox(&self, sandbox: Option<types::Sandbox>) -> Result<Sandbox> {
        self.0.read(field::required("sandbox", sandbox).and_then(convert::decode))
    }
}

#[async_trait]
impl SandboxStore for Sandboxes {
    async fn get(&self, id: &str) -> Result<Sandbox> {
        let asked = proto::StoreGetRequest { sandbox_id: id.to_owned() };
        let answer = ask!(self.0, StoreClient.get(asked))?;
        self.sandbox(answer.sandbox)
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Sandbox>> {
        let asked = proto::StoreListRequest { filters: field::encode_filters(&filters) };
        let answer = ask!(self.0, StoreClient.list(asked))?;
        answer.list.into_iter().map(|found| self.sandbox(Some(found))).collect()
    }

    async fn create(&self, sandbox: Sandbox) -> Result<Sandbox> {
        let sandbox = Some(convert::encode(sandbox));
        let asked = proto::StoreCreateRequest { sandbox };
        let answer = ask!(self.0, StoreClient.create(asked))?;
        self.sandbox(answer.sandbox)
    }

    async fn update(&self, sandbox: Sandbox, paths: &[String]) -> Result<Sandbox> {
        let sandbox = Some(convert::encode(sandbox));
        let asked = proto::StoreUpdateRequest { sandbox, fields: paths.to_vec() };
        let answer = ask!(self.0, StoreClient.update(asked))?;
        self.sandbox(answer.sandbox)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let asked = proto::StoreDeleteRequest { sandbox_id: id.to_owned() };
        ask!(self.0, StoreClient.delete(asked)).map(drop)
    }
}
