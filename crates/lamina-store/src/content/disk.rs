//! The files of the store. Every path here is made of a checked digest or of a hash.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lamina_core::digest::Algorithm;
use lamina_core::{Digest, Namespace, Result};

use crate::durability::Durability;
use crate::io::failed;

/// Where the files lie and whether they must last.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    durability: Durability,
}

impl Disk {
    pub(super) fn new(root: &Path, durability: Durability) -> Self {
        Disk { root: root.to_owned(), durability }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn blobs_of(&self, algorithm: Algorithm) -> PathBuf {
        self.blobs().join(algorithm.name())
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs_of(digest.algorithm()).join(digest.hex())
    }

    pub(super) fn ingests(&self) -> PathBuf {
        self.root.join("ingest")
    }

    pub(super) fn ingest(&self, dir: &str) -> PathBuf {
        self.ingests().join(dir)
    }

    pub(super) fn data(&self, dir: &str) -> PathBuf {
        self.ingest(dir).join("data")
    }

    /// Makes one directory, 0700 whatever the umask, and makes it last. One that is there stays.
    pub(super) fn make_dir(&self, path: &Path) -> Result<()> {
        let what = || format!("make directory {}", path.display());
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(e) => return Err(failed(what())(e)),
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed(what()))?;
        path.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    /// Makes the directory of an ingest, in place of one that nobody owns, with an empty `data`.
    pub(super) fn make_ingest(
        &self,
        dir: &str,
        space: &Namespace,
        reference: &str,
    ) -> Result<File> {
        self.remove_ingest(dir)?;
        let path = self.ingest(dir);
        let what = || format!("make ingest {}", path.display());
        DirBuilder::new().mode(0o700).create(&path).map_err(failed(what()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(failed(what()))?;
        let note = path.join("ref");
        fs::write(&note, format!("{space}/{reference}")).map_err(failed(what()))?;
        fs::set_permissions(&note, Permissions::from_mode(0o600)).map_err(failed(what()))?;
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path.join("data"))
            .map_err(failed(what()))?;
        data.set_permissions(Permissions::from_mode(0o600)).map_err(failed(what()))?;
        Ok(data)
    }

    /// Opens the `data` of an ingest; none when it is missing.
    pub(super) fn open_data(&self, dir: &str) -> Result<Option<File>> {
        let path = self.data(dir);
        // A commit that was cut may have left it read-only.
        let opened = fs::set_permissions(&path, Permissions::from_mode(0o600))
            .and_then(|()| OpenOptions::new().read(true).write(true).open(&path));
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(format!("open {}", path.display()))(e)),
        }
    }

    /// The length of an ingest's `data`; none when it is missing. Changes nothing.
    pub(super) fn data_len(&self, dir: &str) -> Result<Option<u64>> {
        match fs::symlink_metadata(self.data(dir)) {
            Ok(meta) => Ok(meta.is_file().then_some(meta.len())),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(failed(format!("look at ingest {dir}"))(e)),
        }
    }

    /// Whether there is anything where an ingest's directory lies.
    pub(super) fn has_ingest(&self, dir: &str) -> Result<bool> {
        match fs::symlink_metadata(self.ingest(dir)) {
            Ok(_) => Ok(true),
            Err(e) if is_absent(&e) => Ok(false),
            Err(e) => Err(failed(format!("look at ingest {dir}"))(e)),
        }
    }

    /// Makes what was written to `data` last.
    pub(super) fn sync_data(&self, data: &File, dir: &str) -> Result<()> {
        if self.durability == Durability::None {
            return Ok(());
        }
        data.sync_data().map_err(failed(format!("make {} durable", self.data(dir).display())))
    }

    /// Makes the directory of an ingest and its entries last.
    pub(super) fn sync_ingest(&self, dir: &str) -> Result<()> {
        self.sync_dir(&self.ingest(dir))?;
        self.sync_dir(&self.ingests())
    }

    /// Makes a finished `data` read-only and makes it last, wholly.
    pub(super) fn seal(&self, data: &File, dir: &str) -> Result<()> {
        let what = || format!("make {} durable", self.data(dir).display());
        data.set_permissions(Permissions::from_mode(0o444)).map_err(failed(what()))?;
        if self.durability == Durability::None {
            return Ok(());
        }
        data.sync_all().map_err(failed(what()))
    }

    /// Moves a sealed `data` to its place among the blobs.
    pub(super) fn place(&self, dir: &str, digest: &Digest) -> Result<()> {
        self.make_dir(&self.blobs_of(digest.algorithm()))?;
        fs::rename(self.data(dir), self.blob(digest))
            .map_err(failed(format!("place blob {digest}")))
    }

    /// Undoes [`place`](Self::place).
    pub(super) fn take_back(&self, dir: &str, digest: &Digest) -> Result<()> {
        fs::rename(self.blob(digest), self.data(dir))
            .map_err(failed(format!("take back blob {digest}")))
    }

    /// The length of a blob's file; none when it is missing.
    pub(super) fn blob_len(&self, digest: &Digest) -> Result<Option<u64>> {
        match fs::symlink_metadata(self.blob(digest)) {
            Ok(meta) => Ok(meta.is_file().then_some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(format!("look at blob {digest}"))(e)),
        }
    }

    /// Opens a blob's file; none when it is missing.
    pub(super) fn open_blob(&self, digest: &Digest) -> Result<Option<File>> {
        match File::open(self.blob(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(format!("open blob {digest}"))(e)),
        }
    }

    /// Deletes a blob's file; a missing one is no error.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<()> {
        match fs::remove_file(self.blob(digest)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(failed(format!("delete the file of blob {digest}"))(e))
            }
            _ => Ok(()),
        }
    }

    /// Deletes an ingest's directory with what is in it; a missing one is no error.
    pub(super) fn remove_ingest(&self, dir: &str) -> Result<()> {
        let path = self.ingest(dir);
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(failed(format!("delete {}", path.display()))(e))
            }
            _ => Ok(()),
        }
    }

    /// Makes the entries of a directory last.
    pub(super) fn sync_dir(&self, path: &Path) -> Result<()> {
        if self.durability == Durability::None {
            return Ok(());
        }
        File::open(path)
            .and_then(|dir| dir.sync_all())
            .map_err(failed(format!("make the entries of {} durable", path.display())))
    }

    /// Bytes that may still be written to this file system.
    pub(super) fn available(&self) -> Result<u64> {
        let what = || format!("free space of {}", self.root.display());
        let info = lamina_sys::fs::fs_info_of(&self.root)
            .map_err(|e| failed(what())(io::Error::from(e)))?;
        Ok(info.available_bytes)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The name of an ingest's directory.
pub(super) fn dir_name(space: &Namespace, reference: &str) -> String {
    // A namespace contains no '/', so no two ingests share a name.
    Digest::sha256(format!("{space}/{reference}").as_bytes()).hex().to_owned()
}
