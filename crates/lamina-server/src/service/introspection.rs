//! `containerd.services.introspection.v1.Introspection`: needs no namespace.

use std::sync::Arc;

use lamina_api::convert::{any, introspection as convert};
use lamina_api::proto::containerd::services::introspection::v1 as proto;
use lamina_core::Filters;
use lamina_core::introspection::Introspection;
use proto::introspection_server::IntrospectionServer;
use tonic::{Request, Response};

use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Service(Arc<dyn Introspection>);

pub(super) fn server(parts: &Parts) -> IntrospectionServer<Service> {
    IntrospectionServer::new(Service(Arc::clone(&parts.introspection)))
}

#[tonic::async_trait]
impl proto::introspection_server::Introspection for Service {
    async fn plugins(
        &self,
        request: Request<proto::PluginsRequest>,
    ) -> Answer<proto::PluginsResponse> {
        let filters = Filters::parse_all(&request.into_inner().filters).map_err(status)?;
        let plugins = self.0.plugins(filters).await.map_err(status)?;
        let plugins = plugins.into_iter().map(convert::encode_plugin).collect();
        Ok(Response::new(proto::PluginsResponse { plugins }))
    }

    async fn server(&self, _: Request<()>) -> Answer<proto::ServerResponse> {
        let server = self.0.server().await.map_err(status)?;
        Ok(Response::new(convert::encode_server(server)))
    }

    async fn plugin_info(
        &self,
        request: Request<proto::PluginInfoRequest>,
    ) -> Answer<proto::PluginInfoResponse> {
        let asked = request.into_inner();
        let options = asked.options.map(any::decode);
        let details = self.0.plugin(&asked.r#type, &asked.id, options).await.map_err(status)?;
        Ok(Response::new(convert::encode_details(details)))
    }
}
