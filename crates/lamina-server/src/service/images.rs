//! `containerd.services.images.v1.Images`

use std::sync::Arc;

use lamina_api::convert::{field, image, timestamp};
use lamina_api::proto::containerd::services::images::v1 as proto;
use lamina_core::{Host as _, ImageStore};
use proto::images_server::ImagesServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status, whole};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Images(Parts);

pub(super) fn server(parts: &Parts) -> ImagesServer<Images> {
    ImagesServer::new(Images(parts.clone()))
}

impl Images {
    fn store<T>(&self, request: &Request<T>) -> Result<Arc<dyn ImageStore>, Status> {
        Ok(self.0.store.images(&scope(request)?))
    }

    /// Records that say they were made, or changed, at `date`, if that is given.
    fn dated<T>(
        &self,
        request: &Request<T>,
        date: Option<prost_types::Timestamp>,
    ) -> Result<lamina_store::Images, Status> {
        let date = timestamp::decode_optional("source_date_epoch", date).map_err(status)?;
        Ok(self.0.store.images_at(&scope(request)?, date))
    }
}

#[tonic::async_trait]
impl proto::images_server::Images for Images {
    async fn get(
        &self,
        request: Request<proto::GetImageRequest>,
    ) -> Answer<proto::GetImageResponse> {
        let store = self.store(&request)?;
        let found = store.get(&request.into_inner().name).await.map_err(status)?;
        Ok(Response::new(proto::GetImageResponse { image: Some(image::encode(found)) }))
    }

    async fn list(
        &self,
        request: Request<proto::ListImagesRequest>,
    ) -> Answer<proto::ListImagesResponse> {
        let store = self.store(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        let found = store.list(filters).await.map_err(status)?;
        let images = found.into_iter().map(image::encode).collect();
        whole("images", proto::ListImagesResponse { images })
    }

    async fn create(
        &self,
        request: Request<proto::CreateImageRequest>,
    ) -> Answer<proto::CreateImageResponse> {
        let store = self.dated(&request, request.get_ref().source_date_epoch)?;
        let asked = field::required("image", request.into_inner().image).map_err(status)?;
        let asked = image::decode(asked).map_err(status)?;
        let made = store.create(asked).await.map_err(status)?;
        Ok(Response::new(proto::CreateImageResponse { image: Some(image::encode(made)) }))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateImageRequest>,
    ) -> Answer<proto::UpdateImageResponse> {
        let store = self.dated(&request, request.get_ref().source_date_epoch)?;
        let request = request.into_inner();
        let paths = field::decode_mask(request.update_mask);
        let asked = field::required("image", request.image).map_err(status)?;
        let asked = image::decode_update(asked, &paths).map_err(status)?;
        let changed = store.update(asked, &paths).await.map_err(status)?;
        Ok(Response::new(proto::UpdateImageResponse { image: Some(image::encode(changed)) }))
    }

    async fn delete(&self, request: Request<proto::DeleteImageRequest>) -> Answer<()> {
        let store = self.store(&request)?;
        let (name, options) = image::decode_delete(request.into_inner()).map_err(status)?;
        store.delete(&name, options).await.map_err(status).map(Response::new)
    }
}
