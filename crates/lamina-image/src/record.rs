//! Image records: the last step of whatever makes images.

use jiff::Timestamp;
use lamina_core::image::{Image, ImageStore};
use lamina_core::{Descriptor, Labels, Result};

/// Makes a record. One that there is gets this target and these labels; its other labels stay.
///
/// # Errors
/// Those of the store.
pub async fn put(
    images: &dyn ImageStore,
    name: &str,
    target: &Descriptor,
    labels: &Labels,
) -> Result<Image> {
    let (created, updated) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    let (name, target, labels) = (name.to_owned(), target.clone(), labels.clone());
    let image = Image { name, target, labels, created, updated };
    loop {
        match images.create(image.clone()).await {
            Err(error) if error.is_already_exists() => {}
            created => return created,
        }
        let mut paths = vec!["target".to_owned()];
        paths.extend(image.labels.keys().map(|key| format!("labels.{key}")));
        match images.update(image.clone(), &paths).await {
            // Somebody removed it in between.
            Err(error) if error.is_not_found() => {}
            updated => return updated,
        }
    }
}
