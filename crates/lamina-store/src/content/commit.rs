//! From ingest to blob.

use lamina_core::content::CommitOptions;
use lamina_core::digest::Hasher;
use lamina_core::lease::ResourceType;
use lamina_core::{Digest, Error, Kind, Result, labels};

use super::hash;
use super::writer::{Source, Writer};
use crate::db::Tx;

/// What the last transaction found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Blob,
    /// The namespace had it.
    WasHere,
}

impl Writer {
    /// Checks size and digest, makes the bytes durable, and then the namespace has the blob. The
    /// ingest is gone after a success, after AlreadyExists, and when its bytes are not what it was
    /// opened for; after any other error it can be opened again. Steps: `blob.checked`, `blob.sealed`, `blob.placed`, `blob.listed`, `blob.row`,
    /// `ingest.removed`.
    ///
    /// # Errors
    /// FailedPrecondition for another size or digest than expected, AlreadyExists when the namespace
    /// has the blob, InvalidArgument for labels over their bounds, ResourceExhausted for a full disk.
    pub fn commit(mut self, options: CommitOptions) -> Result<Digest> {
        labels::check(&options.labels)?;
        let expected = options.expected.clone().or_else(|| self.row.expected.clone());
        let size = options.size.or((self.row.total > 0).then_some(self.row.total));
        let digest = self.digest(expected.as_ref())?;
        if let Err(error) = self.verify(&digest, size, expected.as_ref()) {
            // What only this commit expected may be the caller's mistake, and the bytes good.
            if self.is_spoilt(&digest) {
                self.discard();
            }
            return Err(error);
        }
        self.inner.options.steps.reach("blob.checked")?;
        let made = match self.source {
            Source::Shared(_) => self.share(&digest, options)?,
            _ => self.place(&digest, options)?,
        };
        // The rows of the ingest went with the same transaction.
        self.source = Source::Ended;
        let cleaned = self
            .inner
            .options
            .steps
            .reach("blob.row")
            .and_then(|()| self.inner.disk.remove_ingest(&self.row.dir))
            .and_then(|()| self.inner.options.steps.reach("ingest.removed"));
        if let Err(error) = cleaned {
            let (dir, error) = (&self.row.dir, error.chain());
            tracing::warn!(dir, error, "what is left of an ingest stays until the next start");
        }
        match made {
            Made::Blob => Ok(digest),
            Made::WasHere => Err(Error::already_exists(format!("content {digest}"))),
        }
    }

    /// The digest of what was written, in the algorithm it is expected in.
    fn digest(&self, expected: Option<&Digest>) -> Result<Digest> {
        let data = match &self.source {
            Source::Own(data) if data.broken => {
                return Err(Error::internal(format!(
                    "the disk lost bytes of ingest {:?}",
                    self.row.reference
                )));
            }
            Source::Own(data) => data,
            // A shared blob is what it is expected to be.
            Source::Shared(_) | Source::Ended => {
                return self.row.expected.clone().ok_or_else(|| {
                    Error::failed_precondition(format!("ingest {:?} has ended", self.row.reference))
                });
            }
        };
        let hashed = match &data.hasher {
            Hasher::Sha256(_) => lamina_core::digest::Algorithm::Sha256,
            Hasher::Sha384(_) => lamina_core::digest::Algorithm::Sha384,
            Hasher::Sha512(_) => lamina_core::digest::Algorithm::Sha512,
        };
        match expected.map(Digest::algorithm).filter(|wanted| *wanted != hashed) {
            None => Ok(data.hasher.clone().finish()),
            Some(wanted) => {
                let what = format!("ingest {:?}", self.row.reference);
                Ok(hash::of_file(&data.file, data.offset, wanted, &what)?.finish())
            }
        }
    }

    fn verify(&self, digest: &Digest, size: Option<u64>, expected: Option<&Digest>) -> Result<()> {
        let (name, offset) = (&self.row.reference, self.offset());
        let wrong_size = size.filter(|size| *size != offset);
        let wrong_digest = expected.filter(|expected| *expected != digest);
        if offset == 0 && (wrong_size.is_some() || wrong_digest.is_some()) {
            let wanted = expected.map(|digest| format!(" of {digest}")).unwrap_or_default();
            return Err(Error::failed_precondition(format!(
                "ingest {name:?}: no bytes{wanted} arrived: the source sent an empty body"
            )));
        }
        if let Some(size) = wrong_size {
            return Err(Error::failed_precondition(format!(
                "ingest {name:?}: unexpected commit size {offset}, expected {size}"
            )));
        }
        if let Some(expected) = wrong_digest {
            return Err(Error::failed_precondition(format!(
                "ingest {name:?}: unexpected commit digest {digest}, expected {expected}"
            )));
        }
        Ok(())
    }

    /// Whether the bytes cannot become what the ingest was opened for, so that going on with them
    /// would fail for ever.
    fn is_spoilt(&self, digest: &Digest) -> bool {
        let row = &self.row;
        let other_size = row.total > 0 && row.total != self.offset();
        let other_digest = row.expected.as_ref().is_some_and(|opened_for| {
            opened_for.algorithm() == digest.algorithm() && opened_for != digest
        });
        other_size || other_digest
    }

    /// Puts the file in its place and writes the rows. After an error the file is the ingest's again.
    fn place(&mut self, digest: &Digest, options: CommitOptions) -> Result<Made> {
        let size = self.offset();
        let _held = self.inner.digests.lock(digest.clone());
        // A blob that another namespace has stays in its place; the same bytes need not be moved.
        let live = self.inner.db.read(|read| read.blob_is_live(digest))?;
        let placed = if live && self.inner.disk.blob_len(digest)? == Some(size) {
            Ok(false)
        } else {
            self.move_in(digest).map(|()| true)
        };
        let made = placed.and_then(|moved| Ok((moved, self.list(digest, size, options)?)));
        match made {
            Ok((_, made)) => Ok(made),
            Err(error) => {
                if !live && !self.inner.db.has_failed() {
                    self.move_out(digest);
                }
                Err(error)
            }
        }
    }

    fn move_in(&mut self, digest: &Digest) -> Result<()> {
        let (disk, steps) = (&self.inner.disk, &self.inner.options.steps);
        let Source::Own(data) = &mut self.source else { return Ok(()) };
        if let Err(error) = disk.seal(&data.file, &self.row.dir) {
            data.broken = error.kind() != Kind::PermissionDenied;
            return Err(error);
        }
        steps.reach("blob.sealed")?;
        disk.place(&self.row.dir, digest)?;
        steps.reach("blob.placed")?;
        disk.sync_dir(&disk.blobs_of(digest.algorithm()))?;
        steps.reach("blob.listed")
    }

    /// Undoes [`move_in`](Self::move_in), wherever it ended.
    fn move_out(&self, digest: &Digest) {
        let disk = &self.inner.disk;
        if disk.data(&self.row.dir).exists() {
            return;
        }
        if let Err(error) = disk.take_back(&self.row.dir, digest) {
            let error = error.chain();
            tracing::warn!(%digest, error, "a file without a row stays until the next start");
        }
    }

    /// The one transaction: blob, content, lease, event; the ingest is gone.
    fn list(&self, digest: &Digest, size: u64, options: CommitOptions) -> Result<Made> {
        let wanted = digest.clone();
        self.finish(digest, move |tx, scope| {
            tx.ensure_namespace(&scope.namespace)?;
            tx.put_blob(&wanted, size)?;
            tx.insert_content(&scope.namespace, &wanted, size, &options.labels)
        })
    }

    /// Gives the namespace the blob that another has.
    fn share(&self, digest: &Digest, options: CommitOptions) -> Result<Made> {
        let wanted = digest.clone();
        let shared = self
            .finish(digest, move |tx, scope| tx.share_blob(scope, &wanted, options.labels.clone()));
        // Who opens the ingest again is asked for the bytes.
        shared.map_err(|error| match error.kind() {
            Kind::NotFound if self.scope.lease.is_none() => error.with_kind(Kind::Unavailable),
            _ => error,
        })
    }

    fn finish(
        &self,
        digest: &Digest,
        give: impl Fn(&mut Tx<'_>, &lamina_core::Scope) -> Result<()> + Send + 'static,
    ) -> Result<Made> {
        let (scope, reference, digest) =
            (self.scope.clone(), self.row.reference.clone(), digest.clone());
        self.inner.db.write(move |tx| {
            let space = &scope.namespace;
            let made = if tx.has_content(space, &digest)? {
                Made::WasHere
            } else {
                give(tx, &scope)?;
                Made::Blob
            };
            tx.hold(&scope, &ResourceType::Content, digest.as_str())?;
            tx.delete_ingest(space, &reference)?;
            Ok(made)
        })
    }

    /// Drops the ingest; what fails is left to the next writer of it, or the next start.
    fn discard(&mut self) {
        self.source = Source::Ended;
        let (space, name) = (self.scope.namespace.clone(), self.row.reference.clone());
        let dropped = self
            .inner
            .db
            .write(move |tx| tx.delete_ingest(&space, &name))
            .and_then(|_| self.inner.disk.remove_ingest(&self.row.dir));
        if let Err(error) = dropped {
            let (reference, error) = (&self.row.reference, error.chain());
            tracing::warn!(reference, error, "a refused ingest could not be dropped");
        }
    }
}
