//! `containerd.services.version.v1.Version`: needs no namespace.

use lamina_api::proto::containerd::services::version::v1 as proto;
use proto::version_server::VersionServer;
use tonic::{Request, Response};

use super::Answer;
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Version;

pub(super) fn server(_: &Parts) -> VersionServer<Version> {
    VersionServer::new(Version)
}

#[tonic::async_trait]
impl proto::version_server::Version for Version {
    async fn version(&self, _: Request<()>) -> Answer<proto::VersionResponse> {
        let version = crate::VERSION.to_owned();
        Ok(Response::new(proto::VersionResponse { version, revision: String::new() }))
    }
}
