//! The store of one host, before a scope is chosen.

use std::path::Path;
use std::sync::Arc;

use lamina_core::labels::NAMESPACE_SHAREABLE;
use lamina_core::{Digest, Error, Namespace, Result, Scope};

use super::active::Active;
use super::disk::Disk;
use super::handle::Handle;
use super::locks::Locks;
use super::recover;
use crate::db::{Db, Read};
use crate::durability::Durability;
use crate::fault::Steps;

/// All blobs of a host. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store(pub(super) Arc<Inner>);

/// How to open it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a blob that is listed survives a power cut.
    pub durability: Durability,
    /// Who may use a blob that another namespace has.
    pub sharing: Sharing,
    /// Bytes of the file system that writers leave free, so that what is there can go on working.
    pub reserve: u64,
    /// Who listens at the steps `ingest.…` and `blob.…`.
    pub steps: Steps,
}

/// A reserve that fits most hosts: enough for the database, and to delete things.
pub const RESERVE: u64 = 64 << 20;

/// Who may use a blob that another namespace has (containerd's `content_sharing_policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Who knows the digest may have the blob without sending its bytes.
    Shared,
    /// Who wants the blob sends its bytes, unless a namespace that has it is labelled
    /// `containerd.io/namespace.shareable=true`.
    Isolated,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) disk: Disk,
    pub(super) options: Options,
    /// Who moves a blob's file in or out holds its digest.
    pub(super) digests: Arc<Locks<Digest>>,
    /// Ingests that have a writer.
    pub(super) active: Arc<Active>,
}

impl Store {
    /// Opens the store in `root` (`<root>/io.containerd.content.v1.content`), made if it is missing,
    /// and drops what a crash left: files without rows, ingests without files, dead blobs. A blob
    /// whose file is lost or short is taken from every namespace, with a warning, so that it can be
    /// fetched again.
    ///
    /// # Errors
    /// DataLoss when the whole directory is missing but the database lists blobs: a file system that
    /// is not mounted looks like that. Those of the database and of the disk.
    pub fn open(root: &Path, db: Db, options: Options) -> Result<Store> {
        let store = Store::open_as_is(root, db, options)?;
        recover::recover(&store)?;
        Ok(store)
    }

    /// As [`open`](Self::open), but leaves everything as it is: for fsck, which tells of it.
    pub(crate) fn open_as_is(root: &Path, db: Db, options: Options) -> Result<Store> {
        let disk = Disk::new(root, options.durability);
        recover::make_root(&db, &disk)?;
        Ok(Store(Arc::new(Inner {
            db,
            disk,
            options,
            digests: Arc::default(),
            active: Arc::default(),
        })))
    }

    /// The store as `scope` sees it.
    pub fn scoped(&self, scope: Scope) -> Handle {
        Handle::new(Arc::clone(&self.0), scope)
    }

    /// Deletes the files of blobs that no namespace has any more. Returns how many are gone.
    ///
    /// # Errors
    /// The first failure; the others were tried too, and failed ones are tried again next time.
    pub fn reap(&self) -> Result<usize> {
        let (mut gone, mut first_error) = (0, None);
        let mut after = String::new();
        loop {
            let from = after.clone();
            let page = self.0.db.read(|read| read.dead_blobs(&from, PAGE))?;
            let Some(last) = page.last() else { break };
            after = last.digest.to_string();
            let mut unlinked = Vec::new();
            for blob in page {
                match self.0.unlink_dead(&blob.digest) {
                    Ok(true) => unlinked.push(blob.digest),
                    Ok(false) => {}
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
            gone += unlinked.len();
            self.0.forget(unlinked)?;
        }
        first_error.map_or(Ok(gone), Err)
    }
}

/// Rows that are read at a time.
pub(super) const PAGE: usize = 200;

impl Inner {
    /// Deletes the file of a blob if its row is dead. Whether the row can go.
    pub(super) fn unlink_dead(&self, digest: &Digest) -> Result<bool> {
        let _held = self.digests.lock(digest.clone());
        // Under the lock nobody revives it between this look and the removal.
        let dead = self.db.read(|read| read.blob(digest))?.is_some_and(|blob| !blob.live);
        if !dead {
            return Ok(false);
        }
        self.options.steps.reach("blob.dead")?;
        self.disk.remove_blob(digest)?;
        self.options.steps.reach("blob.unlinked")?;
        Ok(true)
    }

    /// Drops the rows of blobs whose files are gone. One that was committed again meanwhile is live
    /// and stays.
    pub(super) fn forget(&self, digests: Vec<Digest>) -> Result<()> {
        if digests.is_empty() {
            return Ok(());
        }
        self.db
            .write(move |tx| digests.iter().try_for_each(|digest| tx.forget_dead_blob(digest)))?;
        self.options.steps.reach("blob.forgotten")
    }

    /// The size of a blob that others have and `space` may have without sending its bytes.
    pub(super) fn shareable(
        &self,
        read: &Read<'_>,
        space: &Namespace,
        digest: &Digest,
    ) -> Result<Option<u64>> {
        let Some(blob) = read.blob(digest)?.filter(|blob| blob.live) else { return Ok(None) };
        let allowed = self.options.sharing == Sharing::Shared
            || read.content_owners(digest)?.iter().any(|(owner, labels)| {
                owner == space.as_str()
                    || labels.get(NAMESPACE_SHAREABLE).is_some_and(|value| value == "true")
            });
        Ok(allowed.then_some(blob.size))
    }

    /// Refuses to fill the disk to the last.
    pub(super) fn check_space(&self, reference: &str) -> Result<()> {
        let reserve = self.options.reserve;
        if reserve == 0 {
            return Ok(());
        }
        let free = self.disk.available()?;
        if free >= reserve {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "ingest {reference:?}: {free} bytes are free on the file system of {}, and {reserve} are \
             kept in reserve",
            self.disk.root().display()
        )))
    }
}
