//! The folder of a container in the root: its log, and the FIFOs of its processes. It is made after the
//! container's record and goes before it, so that whoever has the record has the folder.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lamina_core::namespace::check_identifier;
use lamina_core::{Error, Kind, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;

use super::log::read::Reader;
use crate::cli::{Context, Session, root_of};

/// The folder of one container.
#[derive(Clone, Debug)]
pub(in crate::verb) struct Place {
    folder: PathBuf,
    log: PathBuf,
}

impl Place {
    /// # Errors
    /// InvalidArgument for what is no identifier; those of asking a daemon for its root.
    pub(in crate::verb) async fn of(
        cx: &Context<'_>,
        session: &Session,
        id: &str,
    ) -> Result<Place> {
        check_identifier(id)?;
        let root = match session {
            Session::Daemon(daemon) => root_of(&*daemon.client.introspection()).await?,
            Session::Store(_) => None,
        };
        let root = root.unwrap_or_else(|| cx.settings.config.root.clone());
        Ok(Place::below(&root, cx.settings.namespace.as_str(), id))
    }

    fn below(root: &Path, namespace: &str, id: &str) -> Place {
        let folder = root.join("containers").join(namespace).join(id);
        let log = folder.join(format!("{id}-json.log"));
        Place { folder, log }
    }

    /// Where the FIFOs of its first process are.
    pub(in crate::verb) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the FIFOs of another process are.
    pub(in crate::verb) fn of_exec(&self, exec: &str) -> PathBuf {
        self.folder.join(format!("exec-{exec}"))
    }

    /// What its first process has written, when it was left running.
    pub(in crate::verb) fn log(&self) -> &Path {
        &self.log
    }

    /// Makes the folder, for a task that begins. The log of an earlier one goes on; other things that
    /// it left go.
    ///
    /// # Errors
    /// ResourceExhausted on a full disk, Internal for all else.
    pub(in crate::verb) fn prepare(&self) -> Result<()> {
        for name in ["stdin", "stdout", "stderr"] {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(self.failed("clear", error));
                }
                _ => {}
            }
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| self.failed("make", error))
    }

    /// What its first process has written so far.
    ///
    /// # Errors
    /// NotFound when there is no log.
    pub(in crate::verb) fn open_log(&self) -> Result<Reader> {
        Reader::open(&self.log).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::not_found(format!(
                "the log {}: only a container that was left running by lamina has one",
                self.log.display()
            )),
            _ => self.failed("read the log in", error),
        })
    }

    /// Removes the folder with what is in it. One that is not there is removed already.
    ///
    /// # Errors
    /// Internal when it cannot be.
    pub(in crate::verb) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(self.failed("remove", error));
            }
            _ => {}
        }
        // Those of other containers of the namespace keep it.
        let _ = self.folder.parent().map(fs::remove_dir);
        Ok(())
    }

    /// Says that somebody writes the log, until the answer is dropped.
    ///
    /// # Errors
    /// Internal when the folder is gone.
    pub(in crate::verb) fn lock(folder: &Path) -> std::io::Result<File> {
        let file = File::open(folder)?;
        file.lock()?;
        Ok(file)
    }

    /// The FIFO by which a logger is asked for a mark, in a container's folder.
    pub(in crate::verb) fn marks(folder: &Path) -> std::io::Result<File> {
        let path = folder.join("marks");
        match mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // Also for writing: there is no end of it then.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(open(&path, flags, Mode::empty())?.into())
    }

    /// Asks the logger to write a mark below all that it can read now.
    pub(in crate::verb) fn ask_for_mark(&self) {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // Of a logger that has gone nothing is waited for.
        if let Ok(fifo) = open(self.folder.join("marks"), flags, Mode::empty()) {
            let _ = rustix::io::write(fifo, b"\n");
        }
    }

    /// Whether somebody writes the log.
    pub(in crate::verb) fn is_written(&self) -> bool {
        File::open(&self.folder).is_ok_and(|file| file.try_lock_shared().is_err())
    }

    fn failed(&self, what: &str, error: std::io::Error) -> Error {
        let kind = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::ResourceExhausted,
            _ => Kind::Internal,
        };
        let message = format!("{what} the folder {}", self.folder.display());
        Error::new(kind, message).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_prepared_locked_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::below(root.path(), "n", "c");
        place.prepare().unwrap();
        fs::write(place.log(), "before").unwrap();
        fs::write(place.folder().join("stdout"), "").unwrap();
        place.prepare().unwrap();
        assert!(place.log().exists() && !place.folder().join("stdout").exists());
        let lock = Place::lock(place.folder()).unwrap();
        assert!(place.is_written());
        drop(lock);
        assert!(!place.is_written());
        place.remove().unwrap();
        place.remove().unwrap();
        assert!(!root.path().join("containers/n").exists());
    }
}
