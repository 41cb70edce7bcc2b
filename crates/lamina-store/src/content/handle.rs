//! The store as one namespace sees it, synchronously.

use std::sync::Arc;

use lamina_core::content::{Info, Status, WriteOptions};
use lamina_core::lease::ResourceType;
use lamina_core::{Digest, Error, Event, Filters, Kind, Labels, Namespace, Result, Scope, labels};

use super::open;
use super::reader::Reader;
use super::store::Inner;
use super::writer::Writer;
use crate::db::Tx;
use crate::db::ingests::IngestRow;

/// The blobs and ingests of one namespace; what is made is also held by the scope's lease.
///
/// Every call is here synchronously as `…_now`, and asynchronously by
/// [`ContentStore`](lamina_core::ContentStore).
#[derive(Clone, Debug)]
pub struct Handle {
    inner: Arc<Inner>,
    scope: Scope,
}

impl Handle {
    pub(super) fn new(inner: Arc<Inner>, scope: Scope) -> Self {
        Handle { inner, scope }
    }

    /// Whose view this is.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What is known of a blob.
    ///
    /// # Errors
    /// NotFound when the namespace does not have it.
    pub fn info_now(&self, digest: &Digest) -> Result<Info> {
        let found = self.inner.db.read(|read| read.content(&self.scope.namespace, digest))?;
        found.ok_or_else(|| absent(digest))
    }

    /// Changes labels of `info.digest`: those of `paths`, or all when `paths` is empty.
    ///
    /// # Errors
    /// NotFound; InvalidArgument for other paths and for labels over their bounds.
    pub fn update_now(&self, info: Info, paths: &[String]) -> Result<Info> {
        let (space, paths) = (self.scope.namespace.clone(), paths.to_vec());
        self.inner.db.write(move |tx| {
            let digest = &info.digest;
            let mut now = tx.content(&space, digest)?.ok_or_else(|| absent(digest))?;
            labels::apply_update(&mut now.labels, &info.labels, &paths, |_| false)?;
            tx.put_content_labels(&space, digest, &now.labels)?;
            now.updated = tx.now();
            Ok(now)
        })
    }

    /// The blobs behind `after` that `filters` match, by digest, at most `most`. `after` is moved
    /// behind what was looked at; an answer without any is the end.
    ///
    /// # Errors
    /// Those of the database.
    pub fn page_now(
        &self,
        after: &mut String,
        filters: &Filters,
        most: usize,
    ) -> Result<Vec<Info>> {
        loop {
            let read =
                |read: &crate::db::Read<'_>| read.contents(&self.scope.namespace, after, most);
            let mut page = self.inner.db.read(read)?;
            let Some(last) = page.last() else { return Ok(page) };
            *after = last.digest.to_string();
            page.retain(|info| filters.matches(info));
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    /// Takes a blob from the namespace. Its file goes when no namespace has it: at once, or at the
    /// next [`reap`](super::Store::reap) if that fails.
    ///
    /// # Errors
    /// NotFound when the namespace does not have it.
    pub fn delete_now(&self, digest: &Digest) -> Result<()> {
        let (scope, wanted) = (self.scope.clone(), digest.clone());
        self.inner.db.write(move |tx| {
            if !tx.remove_content(&scope.namespace, &wanted)? {
                return Err(absent(&wanted));
            }
            tx.release(&scope, ResourceType::Content, wanted.as_str())?;
            tx.count_deletion();
            let gone = Event::ContentDelete { digest: wanted.clone() };
            tx.event(&scope.namespace, gone);
            Ok(())
        })?;
        let reaped = self.inner.unlink_dead(digest).and_then(|unlinked| {
            self.inner.forget(if unlinked { vec![digest.clone()] } else { Vec::new() })
        });
        if let Err(error) = reaped {
            tracing::warn!(%digest, error = error.chain(), "the file of a deleted blob stays for now");
        }
        Ok(())
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// NotFound when the namespace does not have it; DataLoss when its file is gone.
    pub fn reader_now(&self, digest: &Digest) -> Result<Reader> {
        let size = self.info_now(digest)?.size;
        if let Some(file) = self.inner.disk.open_blob(digest)? {
            return Ok(Reader::new(file, digest.clone(), size));
        }
        // Deleted since, or lost?
        self.info_now(digest)?;
        Err(Error::data_loss(format!("the file of blob {digest} is gone")))
    }

    /// Opens the ingest `reference`, new or where it was left. A blob that another namespace has and
    /// this one may share opens whole, ready to be committed.
    ///
    /// # Errors
    /// AlreadyExists when the namespace has `expected`; Unavailable (`… locked`) while another writer
    /// has it; NotFound for a lease that is not there; ResourceExhausted for a full disk or reserve.
    pub fn writer_now(&self, reference: &str, options: WriteOptions) -> Result<Writer> {
        open::open(&self.inner, &self.scope, reference, options)
    }

    /// Gives the namespace a blob that the host has, if it may have it without sending its bytes, and
    /// holds it by the lease. False when it has to be fetched.
    ///
    /// # Errors
    /// NotFound for a lease that is not there.
    pub fn adopt_now(&self, digest: &Digest, labels: Labels) -> Result<bool> {
        labels::check(&labels)?;
        let (inner, scope, digest) = (Arc::clone(&self.inner), self.scope.clone(), digest.clone());
        self.inner.db.write(move |tx| {
            let here = tx.has_content(&scope.namespace, &digest)?;
            if !here && inner.shareable(tx, &scope.namespace, &digest)?.is_none() {
                return Ok(false);
            }
            tx.share_blob(&scope, &digest, labels.clone())?;
            tx.hold(&scope, &ResourceType::Content, digest.as_str())?;
            Ok(true)
        })
    }

    /// The state of one ingest.
    ///
    /// # Errors
    /// NotFound when absent.
    pub fn status_now(&self, reference: &str) -> Result<Status> {
        let found = self.inner.db.read(|read| read.ingest(&self.scope.namespace, reference))?;
        found.map(|row| self.state(row)).ok_or_else(|| no_ingest(reference))
    }

    /// The state of every ingest that `filters` match, by reference.
    ///
    /// # Errors
    /// Those of the database.
    pub fn statuses_now(&self, filters: &Filters) -> Result<Vec<Status>> {
        let rows = self.inner.db.read(|read| read.ingests(&self.scope.namespace))?;
        let all = rows.into_iter().map(|row| self.state(row));
        Ok(all.filter(|status| filters.matches(status)).collect())
    }

    /// Drops an ingest and its bytes. Step: `ingest.aborted`.
    ///
    /// # Errors
    /// NotFound when absent, Unavailable while it has a writer.
    pub fn abort_now(&self, reference: &str) -> Result<()> {
        // Held until the directory is gone, or a newcomer would lose his.
        let _hold = self.inner.active.hold(&self.scope.namespace, reference)?;
        match self.drop_ingest(reference, |_, _, _| Ok(true))? {
            true => Ok(()),
            false => Err(no_ingest(reference)),
        }
    }

    /// Drops an ingest that was left for too long and that no lease holds. Whether it did: one that
    /// is being written, was written since, or that a lease got hold of stays.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) fn give_up_now(&self, reference: &str) -> Result<bool> {
        match self.inner.active.hold(&self.scope.namespace, reference) {
            Ok(_hold) => self.drop_ingest(reference, |tx, space, name| tx.is_given_up(space, name)),
            Err(error) if error.kind() == Kind::Unavailable => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Drops an ingest that the caller holds, if it is `wanted` in the same transaction.
    fn drop_ingest(
        &self,
        reference: &str,
        wanted: impl Fn(&Tx<'_>, &Namespace, &str) -> Result<bool> + Send + 'static,
    ) -> Result<bool> {
        let space = &self.scope.namespace;
        let found = self.inner.db.read(|read| read.ingest(space, reference))?;
        let Some(row) = found else { return Ok(false) };
        let (space, name) = (space.clone(), reference.to_owned());
        let dropped = self.inner.db.write(move |tx| {
            let drops = wanted(tx, &space, &name)?;
            if drops {
                tx.delete_ingest(&space, &name)?;
            }
            Ok(drops)
        })?;
        if !dropped {
            return Ok(false);
        }
        let removed = self
            .inner
            .options
            .steps
            .reach("ingest.aborted")
            .and_then(|()| self.inner.disk.remove_ingest(&row.dir));
        if let Err(error) = removed {
            let error = error.chain();
            tracing::warn!(reference, error, "the files of an aborted ingest stay for now");
        }
        Ok(true)
    }

    fn state(&self, row: IngestRow) -> Status {
        let progress = self.inner.active.progress(&self.scope.namespace, &row.reference);
        let (offset, updated) = progress.unwrap_or((row.durable, row.updated));
        Status {
            reference: row.reference,
            offset,
            total: row.total,
            expected: row.expected,
            started: row.started,
            updated: updated.max(row.started),
        }
    }
}

fn absent(digest: &Digest) -> Error {
    Error::not_found(format!("content {digest}"))
}

fn no_ingest(reference: &str) -> Error {
    Error::not_found(format!("ingest {reference:?}"))
}
