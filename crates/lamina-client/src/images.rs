//! Image records of a daemon.

use async_trait::async_trait;
use lamina_api::convert::{field, image as convert};
use lamina_api::proto::containerd::services::images::v1 as proto;
use lamina_core::image::DeleteOptions;
use lamina_core::{Filters, Image, ImageStore, Result};
use proto::images_client::ImagesClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Images(pub(crate) Link);

impl Images {
    fn image(&self, image: Option<proto::Image>) -> Result<Image> {
        self.0.read(field::required("image", image).and_then(convert::decode))
    }
}

#[async_trait]
impl ImageStore for Images {
    async fn get(&self, name: &str) -> Result<Image> {
        let asked = proto::GetImageRequest { name: name.to_owned() };
        let answer = ask!(self.0, ImagesClient.get(asked))?;
        self.image(answer.image)
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Image>> {
        let asked = proto::ListImagesRequest { filters: field::encode_filters(&filters) };
        let answer = ask!(self.0, ImagesClient.list(asked))?;
        answer.images.into_iter().map(|found| self.image(Some(found))).collect()
    }

    async fn create(&self, image: Image) -> Result<Image> {
        let image = Some(convert::encode(image));
        let asked = proto::CreateImageRequest { image, ..Default::default() };
        let answer = ask!(self.0, ImagesClient.create(asked))?;
        self.image(answer.image)
    }

    async fn update(&self, image: Image, paths: &[String]) -> Result<Image> {
        let asked = proto::UpdateImageRequest {
            image: Some(convert::encode(image)),
            update_mask: field::encode_mask(paths),
            ..Default::default()
        };
        let answer = ask!(self.0, ImagesClient.update(asked))?;
        self.image(answer.image)
    }

    async fn delete(&self, name: &str, options: DeleteOptions) -> Result<()> {
        let asked = convert::encode_delete(name, options);
        ask!(self.0, ImagesClient.delete(asked))
    }
}
