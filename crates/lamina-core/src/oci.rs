//! Image documents: index, manifest, image config (OCI image spec 1.1; Docker's schema 2 is the same
//! but for its media types).
//!
//! Whoever pushed an image wrote these bytes, so they are read with bounds, and a document that one
//! reader could take for an index and another for a manifest is refused (CVE-2021-41190). What has a
//! digest is stored and passed on as the bytes it came as: these types are for reading, and for
//! writing new documents. Unknown fields are ignored when reading. Errors do not know which document
//! they are about; the caller adds its digest with [`Error::context`].

mod config;
mod envelope;
mod index;
mod manifest;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use config::{ExecConfig, History, ImageConfig, RootFs};
pub use index::Index;
pub use manifest::Manifest;

use crate::{Error, Result, media_type};

/// Bounds for one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes.
    pub bytes: usize,
    /// The most manifests of an index, layers of a manifest or diff IDs of a config.
    pub entries: usize,
}

impl Limits {
    /// Far beyond any image: registries refuse manifests above 4 MiB, overlayfs more than 500 layers.
    pub const STANDARD: Limits = Limits { bytes: 16 << 20, entries: 10_000 };
}

/// What a name in a registry can point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Images for several platforms.
    Index(Index),
    /// One image.
    Manifest(Box<Manifest>),
}

impl Document {
    /// Reads an index or a manifest, whichever `media_type` says it is.
    ///
    /// # Errors
    /// As [`Index::parse`] and [`Manifest::parse`]; InvalidArgument for any other media type.
    pub fn parse(bytes: &[u8], media_type: &str, limits: Limits) -> Result<Self> {
        if media_type::is_index(media_type) {
            Index::parse(bytes, limits).map(Document::Index)
        } else if media_type::is_manifest(media_type) {
            Manifest::parse(bytes, limits).map(|manifest| Document::Manifest(Box::new(manifest)))
        } else if media_type::is_schema1(media_type) {
            Err(schema1())
        } else {
            Err(Error::invalid_argument(format!(
                "media type {:?} is neither an index nor a manifest",
                crate::digest::clip(media_type)
            )))
        }
    }
}

/// The media type of an index or manifest that came without one: the one it states itself, else OCI's
/// for the fields it has.
///
/// # Errors
/// As [`Document::parse`]; InvalidArgument if it is neither.
pub fn detect(bytes: &[u8], limits: Limits) -> Result<String> {
    envelope::read(bytes, limits, "document")?.detect()
}

/// The field `schemaVersion`, which is 2. Missing is accepted, as all readers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaVersion;

impl Serialize for SchemaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(2)
    }
}

impl<'de> Deserialize<'de> for SchemaVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            2 => Ok(SchemaVersion),
            other => Err(serde::de::Error::custom(format!("schema version {other} is not 2"))),
        }
    }
}

/// Reads JSON whose size was checked.
fn from_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid_argument(format!("{what} is malformed: {error}")))
}

/// Refuses what is not worth parsing, each with a message of its own.
fn check_bytes(bytes: &[u8], limits: Limits, what: &str) -> Result<()> {
    if bytes.len() > limits.bytes {
        return Err(Error::resource_exhausted(format!(
            "{what} of {} bytes is larger than the limit of {} bytes",
            bytes.len(),
            limits.bytes
        )));
    }
    match bytes.trim_ascii_start().first() {
        None => Err(Error::invalid_argument(format!("{what} is empty"))),
        Some(b'<') => Err(Error::invalid_argument(format!(
            "{what} is an HTML or XML page, not JSON; is this the address of a registry?"
        ))),
        Some(_) => Ok(()),
    }
}

fn check_entries(count: usize, limits: Limits, what: &str) -> Result<()> {
    if count > limits.entries {
        return Err(Error::resource_exhausted(format!(
            "{count} {what} are more than the limit of {}",
            limits.entries
        )));
    }
    Ok(())
}

fn schema1() -> Error {
    Error::unimplemented(
        "this is a Docker image manifest of schema 1, which cannot be verified and is not supported; \
         push the image again with a client of 2017 or later",
    )
}

#[cfg(test)]
mod tests;
