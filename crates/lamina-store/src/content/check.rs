//! What fsck asks of the content store: files against rows, bytes against digests.

use lamina_core::{Digest, Result};

use super::active::Hold;
use super::hash;
use super::recover::each_batch;
use super::store::Store;

/// How the file of a blob is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobState {
    /// As its row says.
    Good,
    /// Missing or of another size; says which.
    Lost(String),
    /// Of this digest instead.
    Corrupt(Digest),
}

impl Store {
    /// Looks at the file of a blob, and with `verify` reads it through.
    pub(crate) fn check_blob(&self, digest: &Digest, size: u64, verify: bool) -> Result<BlobState> {
        let disk = &self.0.disk;
        match disk.blob_len(digest)? {
            None => return Ok(BlobState::Lost("its file is missing".to_owned())),
            Some(len) if len != size => {
                return Ok(BlobState::Lost(format!("its file has {len} bytes, not {size}")));
            }
            Some(_) if !verify => return Ok(BlobState::Good),
            Some(_) => {}
        }
        let Some(file) = disk.open_blob(digest)? else {
            return Ok(BlobState::Lost("its file is missing".to_owned()));
        };
        let found =
            hash::of_file(&file, size, digest.algorithm(), &format!("blob {digest}"))?.finish();
        Ok(if found == *digest { BlobState::Good } else { BlobState::Corrupt(found) })
    }

    /// Looks again at a blob that did not look well, while nobody moves it in or out; one that has
    /// left the host meanwhile is as it should be. With `give_up` a blob that is still not what its
    /// row says is taken from every namespace, and its file is dropped.
    pub(crate) fn recheck_blob(
        &self,
        digest: &Digest,
        verify: bool,
        give_up: bool,
    ) -> Result<BlobState> {
        let _held = self.0.digests.lock(digest.clone());
        let row = self.0.db.read(|r| r.blob(digest))?.filter(|row| row.live);
        let Some(row) = row else { return Ok(BlobState::Good) };
        let state = self.check_blob(digest, row.size, verify)?;
        if give_up && state != BlobState::Good {
            let lost = digest.clone();
            self.0.db.write(move |tx| tx.lose_blob(&lost))?;
            self.0.disk.remove_blob(digest)?;
        }
        Ok(state)
    }

    /// Files among the blobs that no row names.
    pub(crate) fn stray_blobs(&self) -> Result<Vec<Digest>> {
        let mut stray = Vec::new();
        let blobs = self.0.disk.blobs();
        each_batch(&blobs, |algorithms| {
            algorithms.iter().try_for_each(|algorithm| {
                each_batch(&blobs.join(algorithm), |names| {
                    for name in names {
                        let Ok(digest) = Digest::parse(&format!("{algorithm}:{name}")) else {
                            continue;
                        };
                        if self.is_stray(&digest)? {
                            stray.push(digest);
                        }
                    }
                    Ok(())
                })
            })
        })?;
        Ok(stray)
    }

    /// Whether a blob's file has no row. A commit moves the file in under the digest's lock and has
    /// its row before it lets go.
    fn is_stray(&self, digest: &Digest) -> Result<bool> {
        let _held = self.0.digests.lock(digest.clone());
        Ok(self.0.db.read(|r| r.blob(digest))?.is_none() && self.0.disk.blob_len(digest)?.is_some())
    }

    /// Drops a file that no row names; a row that came meanwhile keeps it.
    pub(crate) fn drop_stray(&self, digest: &Digest) -> Result<()> {
        let _held = self.0.digests.lock(digest.clone());
        if self.0.db.read(|r| r.blob(digest))?.is_some() {
            return Ok(());
        }
        self.0.disk.remove_blob(digest)
    }

    /// Directories among the ingests that no row names. One whose ingest is being begun, committed or
    /// dropped just now is left out.
    pub(crate) fn stray_ingests(&self) -> Result<Vec<String>> {
        let mut stray = Vec::new();
        each_batch(&self.0.disk.ingests(), |names| {
            for name in names {
                if self.hold_stray(&name)?.is_some() {
                    stray.push(name);
                }
            }
            Ok(())
        })?;
        Ok(stray)
    }

    /// Drops an ingest's directory if still no row names it and nobody is about to write one.
    /// Returns whether it did.
    pub(crate) fn drop_stray_ingest(&self, dir: &str) -> Result<bool> {
        // Held until the directory is gone, or a newcomer would lose his.
        let Some(_hold) = self.hold_stray(dir)? else { return Ok(false) };
        self.0.disk.remove_ingest(dir)?;
        Ok(true)
    }

    /// Holds the ingest of a directory that has no row. A writer makes the directory before the row
    /// and, at its end, drops the row before the directory, but all of it while it has the hold.
    fn hold_stray(&self, dir: &str) -> Result<Option<Hold>> {
        let owned = |store: &Store| store.0.db.read(|r| r.has_ingest_dir(dir));
        if owned(self)? {
            return Ok(None);
        }
        let Some(hold) = self.0.active.hold_dir(dir) else { return Ok(None) };
        let stray = !owned(self)? && self.0.disk.has_ingest(dir)?;
        Ok(stray.then_some(hold))
    }

    /// The length of an ingest's file; `None` when it has none.
    pub(crate) fn ingest_len(&self, dir: &str) -> Result<Option<u64>> {
        self.0.disk.data_len(dir)
    }
}
