//! `containerd.services.snapshots.v1.Snapshots`

use std::sync::Arc;

use lamina_api::convert::{field, mount, snapshot as convert};
use lamina_api::proto::containerd::services::snapshots::v1 as proto;
use lamina_core::snapshot::{CommitOptions, Snapshotter};
use lamina_core::{Error, Host as _};
use proto::snapshots_server::SnapshotsServer;
use tonic::{Request, Response, Status};

use super::pages::{self, Messages};
use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;

/// Which snapshotters there are.
#[derive(Debug)]
pub(super) enum Snapshots {
    /// Those of a host, by name, in the namespace that a call names.
    Host(Parts),
    /// One, whatever name and namespace a call says.
    One(Arc<dyn Snapshotter>),
}

pub(super) fn server(parts: &Parts) -> SnapshotsServer<Snapshots> {
    SnapshotsServer::new(Snapshots::Host(parts.clone()))
}

pub(super) fn server_of_one(snapshotter: Arc<dyn Snapshotter>) -> SnapshotsServer<Snapshots> {
    SnapshotsServer::new(Snapshots::One(snapshotter))
}

impl Snapshots {
    /// The snapshotter that `name` takes from the request, and the rest of the request.
    async fn open<T>(
        &self,
        request: Request<T>,
        name: impl FnOnce(&mut T) -> &mut String,
    ) -> Result<(Arc<dyn Snapshotter>, T), Status> {
        let parts = match self {
            Snapshots::One(one) => return Ok((Arc::clone(one), request.into_inner())),
            Snapshots::Host(parts) => parts,
        };
        let scope = scope(&request)?;
        let mut asked = request.into_inner();
        let (store, name) = (parts.store.clone(), std::mem::take(name(&mut asked)));
        if let Some(open) = store.open_snapshots(&scope, &name) {
            return Ok((Arc::new(open), asked));
        }
        // The first use opens it, which reads its directories.
        let opening = tokio::task::spawn_blocking(move || store.snapshotter(&scope, &name));
        let opened = opening
            .await
            .map_err(|error| Error::internal("open a snapshotter").with_source(error))
            .and_then(|opened| opened);
        Ok((opened.map_err(status)?, asked))
    }
}

#[tonic::async_trait]
impl proto::snapshots_server::Snapshots for Snapshots {
    async fn prepare(
        &self,
        request: Request<proto::PrepareSnapshotRequest>,
    ) -> Answer<proto::PrepareSnapshotResponse> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let mounts = snapshotter.prepare(&asked.key, &asked.parent, asked.labels).await;
        let mounts = mount::encode_all(mounts.map_err(status)?);
        Ok(Response::new(proto::PrepareSnapshotResponse { mounts }))
    }

    async fn view(
        &self,
        request: Request<proto::ViewSnapshotRequest>,
    ) -> Answer<proto::ViewSnapshotResponse> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let mounts = snapshotter.view(&asked.key, &asked.parent, asked.labels).await;
        let mounts = mount::encode_all(mounts.map_err(status)?);
        Ok(Response::new(proto::ViewSnapshotResponse { mounts }))
    }

    async fn mounts(
        &self,
        request: Request<proto::MountsRequest>,
    ) -> Answer<proto::MountsResponse> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let mounts = snapshotter.mounts(&asked.key).await.map_err(status)?;
        Ok(Response::new(proto::MountsResponse { mounts: mount::encode_all(mounts) }))
    }

    async fn commit(&self, request: Request<proto::CommitSnapshotRequest>) -> Answer<()> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let parent = (!asked.parent.is_empty()).then_some(asked.parent);
        let options = CommitOptions { labels: asked.labels, parent };
        let committed = snapshotter.commit(&asked.name, &asked.key, options).await;
        committed.map_err(status).map(Response::new)
    }

    async fn remove(&self, request: Request<proto::RemoveSnapshotRequest>) -> Answer<()> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        snapshotter.remove(&asked.key).await.map_err(status).map(Response::new)
    }

    async fn stat(
        &self,
        request: Request<proto::StatSnapshotRequest>,
    ) -> Answer<proto::StatSnapshotResponse> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let info = snapshotter.stat(&asked.key).await.map_err(status)?;
        Ok(Response::new(proto::StatSnapshotResponse { info: Some(convert::encode_info(info)) }))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateSnapshotRequest>,
    ) -> Answer<proto::UpdateSnapshotResponse> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let info = field::required("info", asked.info).and_then(convert::decode_info);
        let paths = field::decode_mask(asked.update_mask);
        let info = snapshotter.update(info.map_err(status)?, &paths).await.map_err(status)?;
        Ok(Response::new(proto::UpdateSnapshotResponse { info: Some(convert::encode_info(info)) }))
    }

    type ListStream = Messages<proto::ListSnapshotsResponse>;

    async fn list(
        &self,
        request: Request<proto::ListSnapshotsRequest>,
    ) -> Answer<Self::ListStream> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let filters = field::decode_filters(&asked.filters).map_err(status)?;
        let message = |info| proto::ListSnapshotsResponse { info };
        Ok(Response::new(pages::messages(
            snapshotter,
            |store| store.walk(filters),
            convert::encode_info,
            message,
        )))
    }

    async fn usage(&self, request: Request<proto::UsageRequest>) -> Answer<proto::UsageResponse> {
        let (snapshotter, asked) = self.open(request, |r| &mut r.snapshotter).await?;
        let usage = snapshotter.usage(&asked.key).await.map_err(status)?;
        Ok(Response::new(convert::encode_usage(usage)))
    }

    async fn cleanup(&self, request: Request<proto::CleanupRequest>) -> Answer<()> {
        let (snapshotter, _) = self.open(request, |r| &mut r.snapshotter).await?;
        snapshotter.cleanup().await.map_err(status).map(Response::new)
    }
}
