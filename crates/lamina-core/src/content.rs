//! Content: immutable blobs named by their digest, and the ingests they are written through.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::filter::{Fields, Filters};
use crate::labels::Labels;
use crate::snapshot::Pages;
use crate::{Digest, Result};

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its labels in this namespace.
    pub labels: Labels,
    /// When this namespace got it.
    pub created: Timestamp,
    /// When its labels last changed.
    pub updated: Timestamp,
}

impl Fields for Info {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["digest"] => Some(self.digest.as_str().into()),
            ["labels", key @ ..] => crate::filter::label(&self.labels, key),
            _ => None,
        }
    }
}

/// The state of an ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The caller's name for it.
    pub reference: String,
    /// Bytes written so far.
    pub offset: u64,
    /// Bytes expected in all; 0 when unknown.
    pub total: u64,
    /// The digest expected, if one was given.
    pub expected: Option<Digest>,
    /// When it was begun.
    pub started: Timestamp,
    /// When it was last written to.
    pub updated: Timestamp,
}

impl Fields for Status {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["ref"] => Some(self.reference.as_str().into()),
            _ => None,
        }
    }
}

/// How to open an ingest.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The digest the bytes must have; when the namespace has that blob, opening fails.
    pub expected: Option<Digest>,
    /// Bytes expected in all; 0 when unknown.
    pub total: u64,
}

/// How to commit an ingest.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// The size the bytes must have; `None` leaves it to the ingest's own total.
    pub size: Option<u64>,
    /// The digest the bytes must have; `None` leaves it to the ingest's own expectation.
    pub expected: Option<Digest>,
    /// Labels of the blob.
    pub labels: Labels,
}

/// The blobs and ingests of one namespace.
#[async_trait]
pub trait ContentStore: Send + Sync + fmt::Debug {
    /// What is known of a blob. NotFound when the namespace does not have it.
    async fn info(&self, digest: &Digest) -> Result<Info>;

    /// Changes labels of `info.digest` as [`Snapshotter::update`](crate::snapshot::Snapshotter::update)
    /// does. Returns the row after it.
    async fn update(&self, info: Info, paths: &[String]) -> Result<Info>;

    /// Every blob that `filters` match, by digest.
    fn list(&self, filters: Filters) -> Pages<'_, Info>;

    /// Takes the blob from the namespace; its bytes go when no namespace has it. NotFound when absent.
    async fn delete(&self, digest: &Digest) -> Result<()>;

    /// Opens a blob. NotFound when the namespace does not have it.
    async fn reader(&self, digest: &Digest) -> Result<Box<dyn ContentReader>>;

    /// Opens the ingest `reference`, new or where it was left.
    ///
    /// # Errors
    /// AlreadyExists when `expected` is in this namespace; Unavailable (`ref … locked`) while another
    /// writer has it open.
    async fn writer(
        &self,
        reference: &str,
        options: WriteOptions,
    ) -> Result<Box<dyn ContentWriter>>;

    /// The state of one ingest. NotFound when absent.
    async fn status(&self, reference: &str) -> Result<Status>;

    /// The state of every ingest that `filters` match, by reference.
    async fn statuses(&self, filters: Filters) -> Result<Vec<Status>>;

    /// Drops an ingest and its bytes. NotFound when absent, Unavailable while it is open.
    async fn abort(&self, reference: &str) -> Result<()>;
}

/// An open blob; stays readable when the blob is deleted meanwhile.
#[async_trait]
pub trait ContentReader: Send + Sync + fmt::Debug {
    /// The blob's length in bytes.
    fn size(&self) -> u64;

    /// Reads up to `len` bytes at `offset`; fewer only at the end, none behind it.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes>;
}

/// An open ingest. Dropping it keeps what is durable, for the next writer to go on with.
#[async_trait]
pub trait ContentWriter: Send + fmt::Debug {
    /// The state as of the last call.
    fn status(&self) -> Status;

    /// The digest of the bytes written so far, where the writer knows it.
    fn digest(&self) -> Option<Digest> {
        None
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// ResourceExhausted for a full disk; what was written before stays.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Shortens the ingest to `size` bytes. OutOfRange when it has fewer.
    async fn truncate(&mut self, size: u64) -> Result<()>;

    /// Checks size and digest, makes the bytes durable, and then the blob exists. The ingest is
    /// gone after a success, and when its bytes are not what it was opened for. It stays when only
    /// this commit expected something else: clients of containerd try again with other options.
    ///
    /// # Errors
    /// FailedPrecondition for another size or digest than expected; AlreadyExists when the
    /// namespace has the blob.
    async fn commit(self: Box<Self>, options: CommitOptions) -> Result<Digest>;
}
