//! Transfers: images on their way from one place to another, as one piece of work.
//!
//! Which work it is follows from the two ends:
//!
//! | from | to | is |
//! |---|---|---|
//! | [`Source::Registry`] | [`Destination::Images`] | a pull |
//! | [`Source::Images`] | [`Destination::Registry`] | a push |
//! | [`Source::Stream`] | [`Destination::Images`] | an import |
//! | [`Source::Images`] | [`Destination::Stream`] | an export |
//! | [`Source::Images`] | [`Destination::Images`] | a new name (tag) |

mod progress;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;

pub use progress::{Progress, ProgressSink, Stage};

use crate::credentials::{Anonymous, Credentials, Secret};
use crate::labels::Labels;
use crate::{Platform, Result};

/// Where images come from.
#[derive(Debug)]
pub enum Source {
    /// One image of a registry.
    Registry(RegistryEnd),
    /// Images that are here.
    Images(StoredImages),
    /// An archive.
    Stream(ImportStream),
}

/// Where images go.
#[derive(Debug)]
pub enum Destination {
    /// A repository of a registry.
    Registry(RegistryEnd),
    /// Here.
    Images(NewImages),
    /// An archive.
    Stream(ExportStream),
}

/// An image in a registry, and how the registry is spoken to.
#[derive(Debug)]
pub struct RegistryEnd {
    /// The image, as written.
    pub reference: String,
    /// Asked when a host demands to know who we are.
    pub credentials: Arc<dyn Credentials>,
    /// Sent with each request to the host of `reference`. May hold secrets.
    pub headers: BTreeMap<String, Secret>,
    /// The directory of `hosts.toml` files to go by; empty for the one configured.
    pub host_dir: String,
    /// `http` or `https` for hosts that no `hosts.toml` speaks of; empty for what is usual.
    pub default_scheme: String,
}

impl RegistryEnd {
    /// An image for everybody, in a registry that is spoken to as usual.
    pub fn new(reference: impl Into<String>) -> Self {
        RegistryEnd {
            reference: reference.into(),
            credentials: Arc::new(Anonymous),
            headers: BTreeMap::new(),
            host_dir: String::new(),
            default_scheme: String::new(),
        }
    }
}

/// Images that are here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredImages {
    /// Their names: one for a push and a tag, any number for an export.
    pub names: Vec<String>,
    /// The platforms wanted; none for all there are.
    pub platforms: Vec<Platform>,
}

/// Image records to make, and what to make of their content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewImages {
    /// The name of the record. An image that has the name already gets the new target. Empty where
    /// only `references` name what an import holds.
    pub name: String,
    /// Labels of the records.
    pub labels: Labels,
    /// The platforms to get; none for all there are.
    pub platforms: Vec<Platform>,
    /// Get the manifests and configs of all platforms, though the layers of `platforms` only.
    pub all_metadata: bool,
    /// The most manifests of an index to get layers of, best match first; 0 for all.
    pub manifest_limit: u32,
    /// How the images inside an imported index are to be named.
    pub references: Vec<NewReference>,
    /// What to unpack, and into what.
    pub unpacks: Vec<Unpack>,
}

/// How one image inside an import is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewReference {
    /// By exactly this name.
    Name(String),
    /// By this and what the image brings.
    Prefix {
        /// A repository, without tag or digest.
        prefix: String,
        /// A full name that the image itself brings may stand instead.
        allow_overwrite: bool,
        /// Also name it by its digest: `prefix@sha256:…`.
        add_digest: bool,
        /// But not when it has got a name by a tag.
        skip_named_digest: bool,
    },
}

/// One platform to unpack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpack {
    /// The platform; the host's when not given.
    pub platform: Option<Platform>,
    /// The snapshotter; the platform's default when empty.
    pub snapshotter: String,
}

/// Bytes that come; the last item is an error or they are whole.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// An archive of images to read: an OCI layout or Docker's, in a tar.
pub struct ImportStream {
    /// Its bytes.
    pub bytes: ByteStream,
    /// Its media type; found out when empty.
    pub media_type: String,
    /// Compress layers that come uncompressed.
    pub force_compress: bool,
}

impl fmt::Debug for ImportStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportStream")
            .field("media_type", &self.media_type)
            .field("force_compress", &self.force_compress)
            .finish_non_exhaustive()
    }
}

/// An archive of images to write.
#[derive(Debug)]
pub struct ExportStream {
    /// Takes its bytes.
    pub bytes: Box<dyn ByteSink>,
    /// Its media type; an OCI layout in a plain tar when empty.
    pub media_type: String,
    /// The platforms wanted; none for the host's, unless `all_platforms`.
    pub platforms: Vec<Platform>,
    /// Every platform. What is not here of it is an error.
    pub all_platforms: bool,
    /// Leave out the `manifest.json` that `docker load` reads.
    pub skip_docker_manifest: bool,
    /// Leave out layers that may not be passed on.
    pub skip_non_distributable: bool,
}

/// Takes bytes. Dropped before [`finish`](Self::finish), what was written is to be thrown away.
#[async_trait]
pub trait ByteSink: Send + fmt::Debug {
    /// Takes the next bytes; waits while the other side is behind.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// That was all.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// How to transfer.
#[derive(Clone, Debug, Default)]
pub struct TransferOptions {
    /// Hears how far it is.
    pub progress: Option<Arc<dyn ProgressSink>>,
}

/// Transfers images from and to one namespace.
#[async_trait]
pub trait Transfer: Send + Sync + fmt::Debug {
    /// Does the whole piece of work. Records are made last, of content that is whole and durable; so
    /// they are there with a success, and one that was replaced was never absent. A caller that drops
    /// the future stops the work, unless others wait for the same content.
    ///
    /// # Errors
    /// Unimplemented for any pair that is not in the table above. NotFound when the source has no
    /// such image, InvalidArgument for a name or platform that is none, Unauthenticated and
    /// PermissionDenied as a registry answers. What a failure leaves is content that nothing refers
    /// to: the next attempt goes on with it, or it is collected.
    async fn transfer(
        &self,
        source: Source,
        destination: Destination,
        options: TransferOptions,
    ) -> Result<()>;
}
