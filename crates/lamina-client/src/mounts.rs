//! The mount manager of a daemon.

use async_trait::async_trait;
use lamina_api::convert::{field, mount as convert};
use lamina_api::proto::containerd::services::mounts::v1 as proto;
use lamina_api::proto::containerd::types;
use lamina_core::mount::{ActivateOptions, Activation};
use lamina_core::{Mount, MountManager, Result};
use proto::mounts_client::MountsClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Mounts(pub(crate) Link);

impl Mounts {
    fn activation(&self, info: Option<types::ActivationInfo>) -> Result<Activation> {
        self.0.read(field::required("info", info).and_then(convert::decode_activation))
    }
}

#[async_trait]
impl MountManager for Mounts {
    /// The API cannot say what the caller could mount itself, so `options.allow` is not heard and the
    /// daemon mounts these too.
    async fn activate(
        &self,
        name: &str,
        mounts: &[Mount],
        options: ActivateOptions,
    ) -> Result<Activation> {
        let asked = proto::ActivateRequest {
            name: name.to_owned(),
            mounts: convert::encode_all(mounts.to_vec()),
            labels: options.labels,
            temporary: options.temporary,
        };
        let answer = ask!(self.0, MountsClient.activate(asked))?;
        self.activation(answer.info)
    }

    async fn deactivate(&self, name: &str) -> Result<()> {
        let asked = proto::DeactivateRequest { name: name.to_owned() };
        ask!(self.0, MountsClient.deactivate(asked))
    }

    async fn info(&self, name: &str) -> Result<Activation> {
        let asked = proto::InfoRequest { name: name.to_owned() };
        let answer = ask!(self.0, MountsClient.info(asked))?;
        self.activation(answer.info)
    }

    async fn list(&self) -> Result<Vec<Activation>> {
        let asked = proto::ListRequest::default();
        let mut found = ask!(self.0, MountsClient.list(asked))?;
        let mut activations = Vec::new();
        while let Some(next) = found.message().await.map_err(|status| self.0.failed(&status))? {
            activations.push(self.activation(next.info)?);
        }
        Ok(activations)
    }
}
