//! Content of a daemon.

mod reader;
mod writer;

use async_trait::async_trait;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use lamina_api::convert::{content as convert, field};
use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_core::content::{Info, Status, WriteOptions};
use lamina_core::snapshot::Pages;
use lamina_core::{ContentReader, ContentStore, ContentWriter, Digest, Filters, Result};
use proto::content_client::ContentClient;

use crate::link::Link;
pub(crate) use writer::Closing;

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) link: Link,
    pub(crate) closing: Closing,
}

impl Content {
    fn read_info(&self, info: Option<proto::Info>) -> Result<Info> {
        self.link.read(field::required("info", info).and_then(convert::decode_info))
    }

    async fn ask_status(&self, reference: &str) -> Result<Status> {
        let asked = proto::StatusRequest { r#ref: reference.to_owned() };
        let answer = ask!(self.link, ContentClient.status(asked))?;
        self.link.read(field::required("status", answer.status).and_then(convert::decode_status))
    }
}

#[async_trait]
impl ContentStore for Content {
    async fn info(&self, digest: &Digest) -> Result<Info> {
        let asked = proto::InfoRequest { digest: digest.to_string() };
        let answer = ask!(self.link, ContentClient.info(asked))?;
        self.read_info(answer.info)
    }

    async fn update(&self, info: Info, paths: &[String]) -> Result<Info> {
        let asked = proto::UpdateRequest {
            info: Some(convert::encode_info(info)),
            update_mask: field::encode_mask(paths),
        };
        let answer = ask!(self.link, ContentClient.update(asked))?;
        self.read_info(answer.info)
    }

    fn list(&self, filters: Filters) -> Pages<'_, Info> {
        let asked = proto::ListContentRequest { filters: field::encode_filters(&filters) };
        let opened = async move { ask!(self.link, ContentClient.list(asked)) };
        let pages = futures_util::stream::once(opened)
            .map_ok(|pages| pages.map_err(|status| self.link.failed(&status)))
            .try_flatten();
        let page = |page: proto::ListContentResponse| {
            page.info.into_iter().map(|info| self.read_info(Some(info))).collect()
        };
        pages.map(move |found| found.and_then(page)).boxed()
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        let asked = proto::DeleteContentRequest { digest: digest.to_string() };
        ask!(self.link, ContentClient.delete(asked))
    }

    async fn reader(&self, digest: &Digest) -> Result<Box<dyn ContentReader>> {
        let size = self.info(digest).await?.size;
        Ok(Box::new(reader::Reader { link: self.link.clone(), digest: digest.clone(), size }))
    }

    async fn writer(
        &self,
        reference: &str,
        options: WriteOptions,
    ) -> Result<Box<dyn ContentWriter>> {
        self.closing.wait(&self.link, reference).await;
        let (link, closing) = (self.link.clone(), self.closing.clone());
        let unknown = options.expected.is_none();
        let mut writer = writer::Writer::open(link, closing, reference, options).await?;
        if unknown {
            // What an earlier writer expected is not in the answer to opening.
            writer.set_status(self.ask_status(reference).await?);
        }
        Ok(Box::new(writer))
    }

    async fn status(&self, reference: &str) -> Result<Status> {
        self.closing.wait(&self.link, reference).await;
        self.ask_status(reference).await
    }

    async fn statuses(&self, filters: Filters) -> Result<Vec<Status>> {
        let asked = proto::ListStatusesRequest { filters: field::encode_filters(&filters) };
        let answer = ask!(self.link, ContentClient.list_statuses(asked))?;
        let found = answer.statuses.into_iter();
        found.map(|status| self.link.read(convert::decode_status(status))).collect()
    }

    async fn abort(&self, reference: &str) -> Result<()> {
        self.closing.wait(&self.link, reference).await;
        let asked = proto::AbortRequest { r#ref: reference.to_owned() };
        ask!(self.link, ContentClient.abort(asked))
    }
}
