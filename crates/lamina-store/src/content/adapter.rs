//! The async traits over the synchronous store.

use async_trait::async_trait;
use bytes::Bytes;
use lamina_core::content::{CommitOptions, Info, Status, WriteOptions};
use lamina_core::snapshot::{PAGE, Pages};
use lamina_core::{ContentReader, ContentStore, ContentWriter, Digest, Error, Filters, Result};

use super::handle::Handle;
use super::reader::Reader;
use super::writer::Writer;
use crate::blocking;

#[async_trait]
impl ContentStore for Handle {
    async fn info(&self, digest: &Digest) -> Result<Info> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking::run(move || this.info_now(&digest)).await
    }

    async fn update(&self, info: Info, paths: &[String]) -> Result<Info> {
        let (this, paths) = (self.clone(), paths.to_vec());
        blocking::run(move || this.update_now(info, &paths)).await
    }

    fn list(&self, filters: Filters) -> Pages<'_, Info> {
        let this = self.clone();
        blocking::pages(String::new(), move |after| this.page_now(after, &filters, PAGE))
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking::run(move || this.delete_now(&digest)).await
    }

    async fn reader(&self, digest: &Digest) -> Result<Box<dyn ContentReader>> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking::run(move || Ok(Box::new(this.reader_now(&digest)?) as Box<dyn ContentReader>))
            .await
    }

    async fn writer(
        &self,
        reference: &str,
        options: WriteOptions,
    ) -> Result<Box<dyn ContentWriter>> {
        let (this, reference) = (self.clone(), reference.to_owned());
        blocking::run(move || {
            let writer = this.writer_now(&reference, options)?;
            Ok(Box::new(AsyncWriter { status: writer.status(), writer: Some(writer) })
                as Box<dyn ContentWriter>)
        })
        .await
    }

    async fn status(&self, reference: &str) -> Result<Status> {
        let (this, reference) = (self.clone(), reference.to_owned());
        blocking::run(move || this.status_now(&reference)).await
    }

    async fn statuses(&self, filters: Filters) -> Result<Vec<Status>> {
        let this = self.clone();
        blocking::run(move || this.statuses_now(&filters)).await
    }

    async fn abort(&self, reference: &str) -> Result<()> {
        let (this, reference) = (self.clone(), reference.to_owned());
        blocking::run(move || this.abort_now(&reference)).await
    }
}

#[async_trait]
impl ContentReader for Reader {
    fn size(&self) -> u64 {
        self.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let this = self.clone();
        blocking::run(move || {
            // No more than there is, whatever is asked for.
            let left = usize::try_from(this.len().saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut buf = vec![0; len.min(left)];
            let got = this.read_into(offset, &mut buf)?;
            buf.truncate(got);
            Ok(buf.into())
        })
        .await
    }
}

/// A writer that moves to a blocking thread for each call, and back.
#[derive(Debug)]
struct AsyncWriter {
    /// Missing while a call runs, and for good if its future was dropped meanwhile: the writer then
    /// ended with the call, keeping what it had.
    writer: Option<Writer>,
    status: Status,
}

impl AsyncWriter {
    async fn with(
        &mut self,
        call: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut writer = self.take()?;
        let (writer, result) = blocking::run(move || {
            let result = call(&mut writer);
            Ok((writer, result))
        })
        .await?;
        self.status = writer.status();
        self.writer = Some(writer);
        result
    }

    fn take(&mut self) -> Result<Writer> {
        self.writer.take().ok_or_else(|| {
            Error::cancelled(format!(
                "the writer of ingest {:?} ended with a call that was given up",
                self.status.reference
            ))
        })
    }
}

#[async_trait]
impl ContentWriter for AsyncWriter {
    fn status(&self) -> Status {
        self.status.clone()
    }

    fn digest(&self) -> Option<Digest> {
        self.writer.as_ref().and_then(Writer::digest_now)
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.with(move |writer| writer.write(&bytes)).await
    }

    async fn truncate(&mut self, size: u64) -> Result<()> {
        self.with(move |writer| writer.truncate(size)).await
    }

    async fn commit(mut self: Box<Self>, options: CommitOptions) -> Result<Digest> {
        let writer = self.take()?;
        blocking::run(move || writer.commit(options)).await
    }
}

impl Drop for AsyncWriter {
    /// A writer makes durable what it has when it ends, which takes a while: on a blocking thread.
    /// Who opens the ingest meanwhile waits for it.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.closing();
            blocking::later(move || drop(writer));
        }
    }
}
