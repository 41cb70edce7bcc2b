//! A snapshotter of a daemon.

use async_trait::async_trait;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use lamina_api::convert::{field, mount, snapshot as convert};
use lamina_api::proto::containerd::services::snapshots::v1 as proto;
use lamina_core::snapshot::{CommitOptions, Info, Pages, Usage};
use lamina_core::{Filters, Labels, Mount, Result, Snapshotter};
use proto::snapshots_client::SnapshotsClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Snapshots {
    pub(crate) link: Link,
    pub(crate) name: String,
}

impl Snapshots {
    fn info(&self, info: Option<proto::Info>) -> Result<Info> {
        self.link.read(field::required("info", info).and_then(convert::decode_info))
    }
}

#[async_trait]
impl Snapshotter for Snapshots {
    async fn stat(&self, key: &str) -> Result<Info> {
        let (snapshotter, key) = (self.name.clone(), key.to_owned());
        let asked = proto::StatSnapshotRequest { snapshotter, key };
        let answer = ask!(self.link, SnapshotsClient.stat(asked))?;
        self.info(answer.info)
    }

    async fn update(&self, info: Info, paths: &[String]) -> Result<Info> {
        let asked = proto::UpdateSnapshotRequest {
            snapshotter: self.name.clone(),
            info: Some(convert::encode_info(info)),
            update_mask: field::encode_mask(paths),
        };
        let answer = ask!(self.link, SnapshotsClient.update(asked))?;
        self.info(answer.info)
    }

    async fn usage(&self, key: &str) -> Result<Usage> {
        let (snapshotter, key) = (self.name.clone(), key.to_owned());
        let asked = proto::UsageRequest { snapshotter, key };
        let answer = ask!(self.link, SnapshotsClient.usage(asked))?;
        self.link.read(convert::decode_usage(answer))
    }

    async fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let (snapshotter, key) = (self.name.clone(), key.to_owned());
        let asked = proto::MountsRequest { snapshotter, key };
        Ok(mount::decode_all(ask!(self.link, SnapshotsClient.mounts(asked))?.mounts))
    }

    async fn prepare(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let (snapshotter, key, parent) = (self.name.clone(), key.to_owned(), parent.to_owned());
        let asked = proto::PrepareSnapshotRequest { snapshotter, key, parent, labels };
        Ok(mount::decode_all(ask!(self.link, SnapshotsClient.prepare(asked))?.mounts))
    }

    async fn view(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let (snapshotter, key, parent) = (self.name.clone(), key.to_owned(), parent.to_owned());
        let asked = proto::ViewSnapshotRequest { snapshotter, key, parent, labels };
        Ok(mount::decode_all(ask!(self.link, SnapshotsClient.view(asked))?.mounts))
    }

    async fn commit(&self, name: &str, key: &str, options: CommitOptions) -> Result<()> {
        let asked = proto::CommitSnapshotRequest {
            snapshotter: self.name.clone(),
            name: name.to_owned(),
            key: key.to_owned(),
            labels: options.labels,
            parent: options.parent.unwrap_or_default(),
        };
        ask!(self.link, SnapshotsClient.commit(asked))
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let (snapshotter, key) = (self.name.clone(), key.to_owned());
        let asked = proto::RemoveSnapshotRequest { snapshotter, key };
        ask!(self.link, SnapshotsClient.remove(asked))
    }

    fn walk(&self, filters: Filters) -> Pages<'_, Info> {
        let (snapshotter, filters) = (self.name.clone(), field::encode_filters(&filters));
        let asked = proto::ListSnapshotsRequest { snapshotter, filters };
        let opened = async move { ask!(self.link, SnapshotsClient.list(asked)) };
        let pages = futures_util::stream::once(opened)
            .map_ok(|pages| pages.map_err(|status| self.link.failed(&status)))
            .try_flatten();
        let page = |page: proto::ListSnapshotsResponse| {
            page.info.into_iter().map(|info| self.info(Some(info))).collect()
        };
        pages.map(move |found| found.and_then(page)).boxed()
    }

    async fn cleanup(&self) -> Result<()> {
        let asked = proto::CleanupRequest { snapshotter: self.name.clone() };
        ask!(self.link, SnapshotsClient.cleanup(asked))
    }

    /// What the daemon holds for this handle ends with each call.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
