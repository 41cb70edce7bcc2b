//! What a daemon tells about itself.

use async_trait::async_trait;
use lamina_api::convert::{any, field, introspection as convert};
use lamina_api::proto::containerd::services::introspection::v1 as proto;
use lamina_core::introspection::{PluginDetails, PluginInfo, Server};
use lamina_core::{Any, Filters, Introspection, Result};
use proto::introspection_client::IntrospectionClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Daemon(pub(crate) Link);

#[async_trait]
impl Introspection for Daemon {
    async fn plugins(&self, filters: Filters) -> Result<Vec<PluginInfo>> {
        let asked = proto::PluginsRequest { filters: field::encode_filters(&filters) };
        let answer = ask!(self.0, IntrospectionClient.plugins(asked))?;
        Ok(answer.plugins.into_iter().map(convert::decode_plugin).collect())
    }

    async fn plugin(&self, kind: &str, id: &str, options: Option<Any>) -> Result<PluginDetails> {
        let asked = proto::PluginInfoRequest {
            r#type: kind.to_owned(),
            id: id.to_owned(),
            options: options.map(any::encode),
        };
        let answer = ask!(self.0, IntrospectionClient.plugin_info(asked))?;
        self.0.read(convert::decode_details(answer))
    }

    async fn server(&self) -> Result<Server> {
        let answer = ask!(self.0, IntrospectionClient.server(()))?;
        self.0.read(convert::decode_server(answer))
    }
}
