//! Where the manager mounts: `<targets>/<id>/<n>`, n counting from 0 in the order of mounting, each
//! with its mount in `<n>.json` beside it.
//!
//! The file is written before the mount is made, so that whoever clears the directory, with no row
//! to ask, knows which handler undoes it. Removal is by unlink and plain rmdir only.

use std::path::{Path, PathBuf};

use lamina_core::mount::ActiveMount;
use lamina_core::{Error, Mount, Result};

use super::handler::Handlers;
use crate::mount::perform::Mounter;
use crate::mount::unmount::{How, unmount_recursive};

/// The directories of all activations.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) dir: PathBuf,
    pub(super) handlers: Handlers,
    pub(super) mounter: Mounter,
}

impl Targets {
    /// Makes the directory of an activation.
    pub(super) fn make(&self, id: u64) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .create(&self.dir)
            .and_then(|()| private_dir(&self.dir(id)))
            .map_err(|error| {
                Error::internal(format!("make mount points in {}", self.dir.display()))
                    .with_source(error)
            })
    }

    /// Mounts the `n`th mount of an activation; answers where.
    pub(super) fn mount(
        &self,
        id: u64,
        n: usize,
        mount: &Mount,
        earlier: &[ActiveMount],
    ) -> Result<PathBuf> {
        let point = self.dir(id).join(n.to_string());
        self.note(&point, mount)?;
        match self.handlers.get(&mount.kind) {
            Some(handler) => handler.mount(mount, &point, earlier)?,
            None => {
                private_dir(&point).map_err(|error| {
                    Error::internal(format!("make mount point {}", point.display()))
                        .with_source(error)
                })?;
                self.mounter.all(std::slice::from_ref(mount), &point)?;
            }
        }
        Ok(point)
    }

    /// Mounts below a point that is mounted already: a mount with a sub-path of its own.
    pub(super) fn mount_below(&self, point: &Path, mount: &Mount) -> Result<()> {
        self.mounter.all(std::slice::from_ref(mount), point)
    }

    /// Unmounts what an activation mounted, last one first, and removes its directory. Nothing there
    /// is no error.
    pub(super) fn clear(&self, id: u64) -> Result<()> {
        let dir = self.dir(id);
        let failed = |error| {
            Error::internal(format!("clear mount points in {}", dir.display())).with_source(error)
        };
        let numbers = match numbers(&dir) {
            Ok(numbers) => numbers,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for n in numbers.into_iter().rev() {
            let point = dir.join(n.to_string());
            self.unmount(&point)?;
            gone(std::fs::remove_file(note_path(&point))).map_err(failed)?;
        }
        std::fs::remove_dir(&dir).map_err(failed)
    }

    /// Whether a mount of ours is still there.
    pub(super) fn is_there(&self, active: &ActiveMount) -> bool {
        let point = Path::new(&active.mount_point);
        match self.handlers.get(&active.mount.kind) {
            Some(_) => point.symlink_metadata().is_ok(),
            None => crate::mount::is_mounted(point).unwrap_or(true),
        }
    }

    /// The activations that have a directory.
    pub(super) fn ids(&self) -> Result<Vec<u64>> {
        match numbers(&self.dir) {
            Ok(ids) => Ok(ids),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => {
                Err(Error::internal(format!("read {}", self.dir.display())).with_source(error))
            }
        }
    }

    fn unmount(&self, point: &Path) -> Result<()> {
        // A note that cannot be read was cut short by a crash, before anything was mounted.
        let note = std::fs::read(note_path(point)).ok();
        let mount: Option<Mount> = note.and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(mount) = mount
            && let Some(handler) = self.handlers.get(&mount.kind)
        {
            return handler.unmount(&mount, point);
        }
        unmount_recursive(point, How::Plain)?;
        gone(std::fs::remove_dir(point)).map_err(|error| {
            Error::internal(format!("remove mount point {}", point.display())).with_source(error)
        })
    }

    fn note(&self, point: &Path, mount: &Mount) -> Result<()> {
        let what = || format!("write {}", note_path(point).display());
        let text = serde_json::to_vec(mount)
            .map_err(|error| Error::internal(what()).with_source(error))?;
        std::fs::write(note_path(point), text)
            .map_err(|error| Error::internal(what()).with_source(error))
    }

    fn dir(&self, id: u64) -> PathBuf {
        self.dir.join(id.to_string())
    }
}

fn note_path(point: &Path) -> PathBuf {
    point.with_extension("json")
}

/// The numbers that entries begin with (`3`, `3.json`), in order.
fn numbers(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut found = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = Path::new(&name).file_stem().and_then(|stem| stem.to_str());
        found.extend(number.and_then(|text| text.parse::<u64>().ok()));
    }
    Ok(found.into_iter().collect())
}

fn private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// What is gone already is as good as removed.
fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
