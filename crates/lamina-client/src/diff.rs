//! The differ of a daemon.

use async_trait::async_trait;
use lamina_api::convert::{any, descriptor, mount, timestamp};
use lamina_api::proto::containerd::services::diff::v1 as proto;
use lamina_api::proto::containerd::types;
use lamina_core::diff::{ApplyOptions, CompareOptions};
use lamina_core::{Descriptor, Differ, Mount, Result};
use proto::diff_client::DiffClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Diff(pub(crate) Link);

impl Diff {
    fn descriptor(&self, found: Option<types::Descriptor>) -> Result<Descriptor> {
        self.0.read(descriptor::decode("descriptor", found.unwrap_or_default()))
    }
}

#[async_trait]
impl Differ for Diff {
    /// The API tells nothing on the way: `options.progress` hears of the start and of the end.
    async fn apply(
        &self,
        layer: &Descriptor,
        mounts: &[Mount],
        options: ApplyOptions,
    ) -> Result<Descriptor> {
        let asked = proto::ApplyRequest {
            diff: Some(descriptor::encode(layer.clone())),
            mounts: mount::encode_all(mounts.to_vec()),
            payloads: any::encode_map(options.payloads),
            sync_fs: options.sync,
        };
        let heard = |bytes| options.progress.iter().for_each(|progress| progress.applied(bytes));
        heard(0);
        let answer = ask!(self.0, DiffClient.apply(asked))?;
        heard(layer.size);
        self.descriptor(answer.applied)
    }

    async fn compare(
        &self,
        lower: &[Mount],
        upper: &[Mount],
        options: CompareOptions,
    ) -> Result<Descriptor> {
        let asked = proto::DiffRequest {
            left: mount::encode_all(lower.to_vec()),
            right: mount::encode_all(upper.to_vec()),
            media_type: options.media_type,
            r#ref: options.reference,
            labels: options.labels,
            source_date_epoch: options.source_date_epoch.map(timestamp::encode),
        };
        let answer = ask!(self.0, DiffClient.diff(asked))?;
        self.descriptor(answer.diff)
    }
}
