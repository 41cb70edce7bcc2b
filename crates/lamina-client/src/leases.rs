//! Leases of a daemon.

use async_trait::async_trait;
use lamina_api::convert::{field, lease as convert};
use lamina_api::proto::containerd::services::leases::v1 as proto;
use lamina_core::lease::Resource;
use lamina_core::{Filters, Labels, Lease, LeaseStore, Result};
use proto::leases_client::LeasesClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Leases(pub(crate) Link);

#[async_trait]
impl LeaseStore for Leases {
    async fn create(&self, id: &str, labels: Labels) -> Result<Lease> {
        let asked = proto::CreateRequest { id: id.to_owned(), labels };
        let answer = ask!(self.0, LeasesClient.create(asked))?;
        self.0.read(field::required("lease", answer.lease).and_then(convert::decode))
    }

    async fn delete(&self, id: &str, sync: bool) -> Result<()> {
        let asked = proto::DeleteRequest { id: id.to_owned(), sync };
        ask!(self.0, LeasesClient.delete(asked))
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Lease>> {
        let asked = proto::ListRequest { filters: field::encode_filters(&filters) };
        let answer = ask!(self.0, LeasesClient.list(asked))?;
        answer.leases.into_iter().map(|found| self.0.read(convert::decode(found))).collect()
    }

    async fn add(&self, id: &str, resource: Resource) -> Result<()> {
        let resource = Some(convert::encode_resource(resource));
        let asked = proto::AddResourceRequest { id: id.to_owned(), resource };
        ask!(self.0, LeasesClient.add_resource(asked))
    }

    async fn remove(&self, id: &str, resource: Resource) -> Result<()> {
        let resource = Some(convert::encode_resource(resource));
        let asked = proto::DeleteResourceRequest { id: id.to_owned(), resource };
        ask!(self.0, LeasesClient.delete_resource(asked))
    }

    async fn resources(&self, id: &str) -> Result<Vec<Resource>> {
        let asked = proto::ListResourcesRequest { id: id.to_owned() };
        let answer = ask!(self.0, LeasesClient.list_resources(asked))?;
        let held = answer.resources.into_iter();
        held.map(|held| self.0.read(convert::decode_resource(held))).collect()
    }
}
