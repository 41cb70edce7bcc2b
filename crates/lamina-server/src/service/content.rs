//! `containerd.services.content.v1.Content`

mod read;
mod write;

use std::sync::Arc;

use lamina_api::convert::{content as convert, field};
use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_core::Host as _;
use lamina_core::content::ContentStore;
use proto::content_server::ContentServer;
use tonic::{Request, Response, Status, Streaming};

use super::pages::{self, Messages};
use super::scope::scope;
use super::{Answer, status, whole};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Content(Parts);

pub(super) fn server(parts: &Parts) -> ContentServer<Content> {
    ContentServer::new(Content(parts.clone()))
}

impl Content {
    fn store<T>(&self, request: &Request<T>) -> Result<Arc<dyn ContentStore>, Status> {
        Ok(self.0.store.content(&scope(request)?))
    }
}

#[tonic::async_trait]
impl proto::content_server::Content for Content {
    async fn info(&self, request: Request<proto::InfoRequest>) -> Answer<proto::InfoResponse> {
        let store = self.store(&request)?;
        let digest =
            field::decode_digest("digest", &request.into_inner().digest).map_err(status)?;
        let info = store.info(&digest).await.map_err(status)?;
        Ok(Response::new(proto::InfoResponse { info: Some(convert::encode_info(info)) }))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateRequest>,
    ) -> Answer<proto::UpdateResponse> {
        let store = self.store(&request)?;
        let proto::UpdateRequest { info, update_mask } = request.into_inner();
        let info = field::required("info", info).and_then(convert::decode_info).map_err(status)?;
        let paths = field::decode_mask(update_mask);
        let info = store.update(info, &paths).await.map_err(status)?;
        Ok(Response::new(proto::UpdateResponse { info: Some(convert::encode_info(info)) }))
    }

    type ListStream = Messages<proto::ListContentResponse>;

    async fn list(&self, request: Request<proto::ListContentRequest>) -> Answer<Self::ListStream> {
        let store = self.store(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        let message = |info| proto::ListContentResponse { info };
        Ok(Response::new(pages::messages(
            store,
            |store| store.list(filters),
            convert::encode_info,
            message,
        )))
    }

    async fn delete(&self, request: Request<proto::DeleteContentRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        let digest =
            field::decode_digest("digest", &request.into_inner().digest).map_err(status)?;
        store.delete(&digest).await.map_err(status).map(Response::new)
    }

    type ReadStream = Messages<proto::ReadContentResponse>;

    async fn read(&self, request: Request<proto::ReadContentRequest>) -> Answer<Self::ReadStream> {
        let store = self.store(&request)?;
        read::read(&*store, request.into_inner()).await.map_err(status).map(Response::new)
    }

    async fn status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Answer<proto::StatusResponse> {
        let store = self.store(&request)?;
        let found = store.status(&request.into_inner().r#ref).await.map_err(status)?;
        Ok(Response::new(proto::StatusResponse { status: Some(convert::encode_status(found)) }))
    }

    async fn list_statuses(
        &self,
        request: Request<proto::ListStatusesRequest>,
    ) -> Answer<proto::ListStatusesResponse> {
        let store = self.store(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        let found = store.statuses(filters).await.map_err(status)?;
        let statuses = found.into_iter().map(convert::encode_status).collect();
        whole("ingests", proto::ListStatusesResponse { statuses })
    }

    type WriteStream = Messages<proto::WriteContentResponse>;

    async fn write(
        &self,
        request: Request<Streaming<proto::WriteContentRequest>>,
    ) -> Answer<Self::WriteStream> {
        let store = self.store(&request)?;
        Ok(Response::new(write::answers(store, request.into_inner())))
    }

    async fn abort(&self, request: Request<proto::AbortRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        store.abort(&request.into_inner().r#ref).await.map_err(status).map(Response::new)
    }
}
