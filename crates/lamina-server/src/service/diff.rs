//! `containerd.services.diff.v1.Diff`

use lamina_api::convert::{any, descriptor, field, mount, timestamp};
use lamina_api::proto::containerd::services::diff::v1 as proto;
use lamina_core::diff::{ApplyOptions, CompareOptions};
use proto::diff_server::DiffServer;
use tonic::{Request, Response};

use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Diff(Parts);

pub(super) fn server(parts: &Parts) -> DiffServer<Diff> {
    DiffServer::new(Diff(parts.clone()))
}

#[tonic::async_trait]
impl proto::diff_server::Diff for Diff {
    async fn apply(&self, request: Request<proto::ApplyRequest>) -> Answer<proto::ApplyResponse> {
        let differ = self.0.differs.scoped(&self.0.store, &scope(&request)?);
        let asked = request.into_inner();
        let layer = field::required("diff", asked.diff)
            .and_then(|layer| descriptor::decode("diff", layer))
            .map_err(status)?;
        let mounts = mount::decode_all(asked.mounts);
        let payloads = any::decode_map(asked.payloads);
        let options = ApplyOptions { sync: asked.sync_fs, payloads, progress: None };
        let applied = differ.apply(&layer, &mounts, options).await.map_err(status)?;
        Ok(Response::new(proto::ApplyResponse { applied: Some(descriptor::encode(applied)) }))
    }

    async fn diff(&self, request: Request<proto::DiffRequest>) -> Answer<proto::DiffResponse> {
        let differ = self.0.differs.scoped(&self.0.store, &scope(&request)?);
        let asked = request.into_inner();
        let (lower, upper) = (mount::decode_all(asked.left), mount::decode_all(asked.right));
        let epoch = timestamp::decode_optional("source_date_epoch", asked.source_date_epoch);
        let options = CompareOptions {
            media_type: asked.media_type,
            reference: asked.r#ref,
            labels: asked.labels,
            source_date_epoch: epoch.map_err(status)?,
        };
        let layer = differ.compare(&lower, &upper, options).await.map_err(status)?;
        Ok(Response::new(proto::DiffResponse { diff: Some(descriptor::encode(layer)) }))
    }
}
