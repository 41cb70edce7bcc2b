//! Image records that a transfer makes, and how they are named.

use jiff::Timestamp;
use lamina_core::image::{Image, ImageStore};
use lamina_core::transfer::{NewImages, NewReference, StoredImages};
use lamina_core::{Descriptor, Error, Host as _, Labels, Result};

use super::Transfers;

impl Transfers {
    /// Gives an image another name.
    pub(super) async fn tag(&self, from: StoredImages, to: NewImages) -> Result<()> {
        let [source] = from.names.as_slice() else {
            let count = from.names.len();
            return Err(Error::invalid_argument(format!("a tag is of one image, not of {count}")));
        };
        let images = self.store.images(&self.scope);
        let image = images.get(source).await?;
        let mut names: Vec<String> =
            Some(to.name.clone()).filter(|n| !n.is_empty()).into_iter().collect();
        names.extend(other_names(&to, &image));
        if names.is_empty() {
            return Err(Error::invalid_argument("the image store names no image to make"));
        }
        for name in names {
            put(&*images, name, &image.target, &to.labels).await?;
        }
        Ok(())
    }
}

/// The name of the record that a pull makes.
pub(super) fn first_name(to: &NewImages) -> Option<String> {
    if !to.name.is_empty() {
        return Some(to.name.clone());
    }
    to.references.iter().find_map(|reference| match reference {
        NewReference::Name(name) => Some(name.clone()),
        NewReference::Prefix { .. } => None,
    })
}

/// The other names of what has become `image`. A prefix names it only by its digest: it brought no
/// name of its own.
pub(super) fn other_names(to: &NewImages, image: &Image) -> Vec<String> {
    let names = to.references.iter().filter_map(|reference| match reference {
        NewReference::Name(name) => Some(name.clone()),
        NewReference::Prefix { prefix, add_digest: true, .. } => {
            Some(format!("{prefix}@{}", image.target.digest))
        }
        NewReference::Prefix { .. } => None,
    });
    names.filter(|name| *name != image.name).collect()
}

/// Makes a record, or gives the one there is this target and these labels.
pub(super) async fn put(
    images: &dyn ImageStore,
    name: String,
    target: &Descriptor,
    labels: &Labels,
) -> Result<Image> {
    let (created, updated) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    let image = Image { name, target: target.clone(), labels: labels.clone(), created, updated };
    loop {
        match images.create(image.clone()).await {
            Err(error) if error.is_already_exists() => {}
            created => return created,
        }
        match images.update(image.clone(), &[]).await {
            // Somebody removed it in between.
            Err(error) if error.is_not_found() => {}
            updated => return updated,
        }
    }
}
