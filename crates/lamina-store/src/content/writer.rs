//! An open ingest, synchronously.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use jiff::Timestamp;
use lamina_core::content::Status;
use lamina_core::digest::{Algorithm, Hasher};
use lamina_core::{Digest, Error, Result, Scope};

use super::active::Hold;
use super::hash;
use super::store::Inner;
use crate::db::ingests::IngestRow;
use crate::io::failed;

/// An open ingest. Bytes are hashed on the caller's thread. Dropping it makes durable what it has, so
/// that the next writer goes on there.
#[derive(Debug)]
pub struct Writer {
    pub(super) inner: Arc<Inner>,
    pub(super) scope: Scope,
    /// What the database has of it.
    pub(super) row: IngestRow,
    pub(super) source: Source,
    pub(super) hold: Hold,
}

/// Where the bytes are.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each open ingest, never a list")]
pub(super) enum Source {
    /// In the ingest's own file.
    Own(Data),
    /// In a blob of this many bytes that another namespace has; there is no file yet.
    Shared(u64),
    /// The ingest is committed or dropped.
    Ended,
}

/// The ingest's own file.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) file: File,
    pub(super) hasher: Hasher,
    pub(super) offset: u64,
    /// Up to here the kernel was asked to write to disk.
    pub(super) pushed: u64,
    /// The disk refused bytes it had taken; what is not durable yet cannot be trusted.
    pub(super) broken: bool,
}

/// Bytes after which offset and hash are saved: what a crash costs at most.
const SAVE: u64 = 64 << 20;

/// Bytes after which write-back is started, so that little is left at the next fsync.
const PUSH: u64 = 8 << 20;

impl Writer {
    /// Bytes written so far, those of earlier writers included.
    pub fn offset(&self) -> u64 {
        match &self.source {
            Source::Own(data) => data.offset,
            Source::Shared(size) => *size,
            Source::Ended => 0,
        }
    }

    /// Its state now.
    pub fn status(&self) -> Status {
        Status {
            reference: self.row.reference.clone(),
            offset: self.offset(),
            total: self.row.total,
            expected: self.row.expected.clone(),
            started: self.row.started,
            updated: self.row.updated,
        }
    }

    /// The digest of the bytes written so far, in the algorithm the ingest is hashed with.
    pub fn digest_now(&self) -> Option<Digest> {
        match &self.source {
            Source::Own(data) => Some(data.hasher.clone().finish()),
            Source::Shared(_) => self.row.expected.clone(),
            Source::Ended => None,
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// ResourceExhausted for a full disk or reserve; what was written before stays, and writing can
    /// go on when there is room.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Source::Shared(size) = self.source {
            self.own(size)?;
        }
        let name = &self.row.reference;
        let Source::Own(data) = &mut self.source else { return Err(ended(name)) };
        if data.broken {
            return Err(broken(name));
        }
        let before = data.offset;
        if before / PUSH != (before + bytes.len() as u64) / PUSH {
            self.inner.check_space(name)?;
        }
        self.inner.options.steps.reach("ingest.write")?;
        // By offset: bytes of a write that failed in the middle are written over by the next.
        data.file
            .write_all_at(bytes, before)
            .map_err(failed(format!("write ingest {name:?} at {before}")))?;
        data.hasher.update(bytes);
        data.offset = before + bytes.len() as u64;
        self.row.updated = Timestamp::now();
        self.hold.advance(data.offset, self.row.updated);
        if data.offset - data.pushed >= PUSH {
            data.push();
        }
        if data.offset - self.row.durable >= SAVE {
            self.save()?;
        }
        Ok(())
    }

    /// Asks the kernel to write out what it has, without waiting: for a caller that is about to do
    /// something else before it commits.
    pub fn start_write_back(&mut self) {
        if let Source::Own(data) = &mut self.source {
            data.push();
        }
    }

    /// Shortens the ingest to `size` bytes.
    ///
    /// # Errors
    /// OutOfRange when it has fewer.
    pub fn truncate(&mut self, size: u64) -> Result<()> {
        let offset = self.offset();
        if size > offset {
            return Err(Error::out_of_range(format!(
                "ingest {:?} has {offset} bytes and cannot be cut to {size}",
                self.row.reference
            )));
        }
        if size == offset {
            return Ok(());
        }
        if let Source::Shared(_) = self.source {
            return self.own(size);
        }
        self.row.updated = Timestamp::now();
        if size < self.row.durable {
            // The row first: its hash must never be over bytes that were replaced.
            self.row.durable = 0;
            self.row.hash_state = None;
            self.put_row()?;
        }
        let algorithm = self.algorithm();
        let name = &self.row.reference;
        let Source::Own(data) = &mut self.source else { return Err(ended(name)) };
        let what = format!("ingest {name:?}");
        data.hasher = hash::of_file(&data.file, size, algorithm, &what)?;
        data.file.set_len(size).map_err(failed(format!("cut {what} to {size}")))?;
        data.offset = size;
        data.pushed = data.pushed.min(size);
        self.hold.advance(size, self.row.updated);
        Ok(())
    }

    /// Ends the writer and keeps the ingest, as dropping does, but tells of failures.
    ///
    /// # Errors
    /// ResourceExhausted for a full disk: the ingest then ends at what was durable before.
    pub fn close(mut self) -> Result<()> {
        self.save()
    }

    /// A newcomer waits for this writer to be dropped instead of being refused.
    pub(super) fn closing(&self) {
        self.hold.closing();
    }

    /// What the bytes are hashed with.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.row.expected.as_ref().map_or(Algorithm::Sha256, |digest| digest.algorithm())
    }

    /// Makes durable what was written, then writes down how much it is. Steps: `ingest.synced`,
    /// `ingest.saved`.
    pub(super) fn save(&mut self) -> Result<()> {
        let Source::Own(data) = &mut self.source else { return Ok(()) };
        if data.broken {
            return Err(broken(&self.row.reference));
        }
        if data.offset == self.row.durable {
            return Ok(());
        }
        let disk = &self.inner.disk;
        if let Err(error) = disk.sync_data(&data.file, &self.row.dir) {
            // The kernel forgets pages it could not write; a second fsync would succeed without
            // them. So nothing behind the saved offset is ever used.
            data.broken = true;
            return Err(error);
        }
        if self.row.durable == 0 {
            disk.sync_ingest(&self.row.dir)?;
        }
        self.inner.options.steps.reach("ingest.synced")?;
        let saved = (self.row.durable, self.row.hash_state.take());
        self.row.durable = data.offset;
        self.row.hash_state = Some(hash::save(&data.hasher));
        if let Err(error) = self.put_row() {
            (self.row.durable, self.row.hash_state) = saved;
            return Err(error);
        }
        self.inner.options.steps.reach("ingest.saved")
    }

    /// Writes the row as it is here.
    pub(super) fn put_row(&self) -> Result<()> {
        let (scope, row) = (self.scope.clone(), self.row.clone());
        self.inner.db.write(move |tx| tx.put_ingest(&scope, &row))
    }

    /// Stops sharing: the ingest gets a file of its own with the blob's first `size` bytes, because
    /// the caller wants other bytes than the blob's.
    fn own(&mut self, size: u64) -> Result<()> {
        let Some(digest) = self.row.expected.clone() else {
            return Err(Error::internal("a shared ingest without a digest"));
        };
        let disk = &self.inner.disk;
        let Some(blob) = disk.open_blob(&digest)? else {
            return Err(Error::unavailable(format!("blob {digest} has just left this host")));
        };
        let file = disk.make_ingest(&self.row.dir, &self.scope.namespace, &self.row.reference)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut offset = 0;
        hash::each_chunk(&blob, size, &format!("blob {digest}"), |chunk| {
            file.write_all_at(chunk, offset).map_err(failed(format!("copy blob {digest}")))?;
            hasher.update(chunk);
            offset += chunk.len() as u64;
            Ok(())
        })?;
        self.row.updated = Timestamp::now();
        self.hold.advance(offset, self.row.updated);
        self.source = Source::Own(Data { file, hasher, offset, pushed: 0, broken: false });
        Ok(())
    }
}

impl Data {
    fn push(&mut self) {
        let len = self.offset - self.pushed;
        if len > 0 {
            // Only a hint: what fails here fails again, and is told, at the fsync.
            let _ = lamina_sys::fs::start_writeback(&self.file, self.pushed, len);
            self.pushed = self.offset;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Source::Own(data) = &self.source else { return };
        if !data.broken
            && let Err(error) = self.save()
        {
            let (reference, error) = (&self.row.reference, error.chain());
            tracing::warn!(reference, error, "an ingest keeps only what was saved before");
        }
    }
}

fn ended(reference: &str) -> Error {
    Error::failed_precondition(format!("ingest {reference:?} has ended"))
}

fn broken(reference: &str) -> Error {
    Error::internal(format!(
        "the disk lost bytes of ingest {reference:?}; open it again to go on from what is durable"
    ))
}
