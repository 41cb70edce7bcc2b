//! Image records: names that point at a descriptor in the content store.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::descriptor::Descriptor;
use crate::filter::{Fields, Filters};
use crate::labels::Labels;
use crate::{Digest, Result};

/// A name and what it points at.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its name; any non-empty text, by custom a full reference.
    pub name: String,
    /// The manifest or index.
    pub target: Descriptor,
    /// Its labels.
    pub labels: Labels,
    /// When the record was made.
    pub created: Timestamp,
    /// When the record last changed.
    pub updated: Timestamp,
}

impl Fields for Image {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["name"] => Some(self.name.as_str().into()),
            ["target", "digest"] => Some(self.target.digest.as_str().into()),
            ["target", "mediatype"] => Some(self.target.media_type.as_str().into()),
            ["labels", key @ ..] => crate::filter::label(&self.labels, key),
            ["annotations", key @ ..] => crate::filter::label(&self.target.annotations, key),
            _ => None,
        }
    }
}

/// How to delete an image record.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Return only when what nothing holds any more is gone.
    pub sync: bool,
    /// Delete only while it points at this digest; NotFound otherwise.
    pub target: Option<Digest>,
}

/// The image records of one namespace.
#[async_trait]
pub trait ImageStore: Send + Sync + fmt::Debug {
    /// One record. NotFound when absent.
    async fn get(&self, name: &str) -> Result<Image>;

    /// Every record that `filters` match, by name.
    async fn list(&self, filters: Filters) -> Result<Vec<Image>>;

    /// Makes a record; times are set by the store. AlreadyExists for a name in use,
    /// InvalidArgument for an empty name, size 0 or no media type.
    async fn create(&self, image: Image) -> Result<Image>;

    /// Changes `labels`, `labels.<key>`, `target`, `annotations`, `annotations.<key>`; all of them
    /// when `paths` is empty. NotFound when absent.
    async fn update(&self, image: Image, paths: &[String]) -> Result<Image>;

    /// Deletes a record. NotFound when absent.
    async fn delete(&self, name: &str, options: DeleteOptions) -> Result<()>;
}
