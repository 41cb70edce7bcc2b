//! The content of a layer's files, written into the image while the layer arrives.
//!
//! The files themselves are made in `fs`, as every other entry is, but stay empty; which part of the
//! image is theirs is remembered here, by inode, until the commit writes the names behind it. That
//! memory does not outlive the process, so a mark beside the image does: an active that has it and
//! is not remembered holds nothing but empty files, and is never shown or committed.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lamina_core::{Error, Result};
use lamina_sys::{fs, tree};

use super::super::super::driver::{Contents, Identity, SnapshotId};
use super::super::dirs::make_file;
use super::super::error::failed;
use super::image::UNFINISHED;
use crate::erofs::{Meta, Places, Writer};

/// Says that the files in `fs` are empty and their content elsewhere.
const MARK: &str = "apart";

/// What is known of the actives that have the mark.
#[derive(Debug, Default)]
pub(super) struct Aside(Arc<Mutex<HashMap<SnapshotId, State>>>);

/// How far a layer is.
#[derive(Debug)]
pub(super) enum State {
    /// All content is in the unfinished image.
    Laid(Writer, Places),
    /// The image is finished.
    Packed,
}

impl Aside {
    /// Begins a layer in an active that is empty.
    pub(super) fn begin(&self, dir: OwnedFd, id: SnapshotId) -> Result<Box<dyn Contents>> {
        let what = || format!("begin the image of snapshot {id}");
        let system = |error| failed(error, what());
        make_file(&dir, MARK)?;
        tree::remove_tree(&dir, UNFINISHED).map_err(system)?;
        let file = File::from(make_file(&dir, UNFINISHED)?);
        let internal = |error| Error::internal(what()).with_source(error);
        let image = file.try_clone().map_err(internal)?;
        let writer = Writer::new(file, Meta::default()).map_err(internal)?;
        let laying = Laying { writer, places: Places::new(), open: None, started: 0 };
        let (laying, aside) = (Mutex::new(Some(laying)), Arc::clone(&self.0));
        Ok(Box::new(Apart { id, aside, image, laying }))
    }

    /// Takes what is known of an active.
    pub(super) fn take(&self, id: SnapshotId) -> Option<State> {
        lock(&self.0).remove(&id)
    }

    /// Remembers it.
    pub(super) fn put(&self, id: SnapshotId, state: State) {
        lock(&self.0).insert(id, state);
    }
}

/// Whether an active has the mark.
pub(super) fn is_marked(dir: &OwnedFd, id: SnapshotId) -> Result<bool> {
    match fs::stat_at(dir, MARK) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(failed(error, format!("look at snapshot {id}"))),
    }
}

/// Takes the mark away, once the files are gone.
pub(super) fn unmark(dir: &OwnedFd) -> lamina_sys::Result<()> {
    tree::remove_tree(dir, MARK).map(drop)
}

/// Refuses an active whose files are empty.
pub(super) fn refused(id: SnapshotId) -> Error {
    Error::failed_precondition(format!(
        "snapshot {id} holds a layer that was not laid to its end; remove it"
    ))
}

/// A layer that arrives.
#[derive(Debug)]
struct Apart {
    id: SnapshotId,
    aside: Arc<Mutex<HashMap<SnapshotId, State>>>,
    image: File,
    laying: Mutex<Option<Laying>>,
}

#[derive(Debug)]
struct Laying {
    writer: Writer,
    places: Places,
    /// The file whose content comes.
    open: Option<Identity>,
    /// Up to where write-back was started.
    started: u64,
}

/// Large enough that write-back goes in long runs, small enough that the disk is not idle.
const WRITEBACK: u64 = 8 << 20;

impl Laying {
    fn close(&mut self) {
        if let Some(file) = self.open.take() {
            self.places.extend(self.writer.placed().map(|placed| (file, placed)));
        }
    }
}

impl Apart {
    fn with<T>(&self, work: impl FnOnce(&mut Laying) -> io::Result<T>) -> io::Result<T> {
        let mut laying = lock(&self.laying);
        work(laying.as_mut().ok_or_else(|| io::Error::other("the layer is laid already"))?)
    }
}

impl Contents for Apart {
    fn begin(&self, file: Identity) -> io::Result<()> {
        self.with(|laying| {
            laying.close();
            laying.open = Some(file);
            laying.writer.loose()
        })
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|laying| {
            laying.writer.append(bytes)?;
            let end = laying.writer.written();
            if end - laying.started >= WRITEBACK {
                // A hint: where it fails, the barrier has more to do and reports what is wrong.
                let _ = fs::start_writeback(&self.image, laying.started, end - laying.started);
                laying.started = end;
            }
            Ok(())
        })
    }

    fn skip(&self, bytes: u64) -> io::Result<()> {
        self.with(|laying| laying.writer.skip(bytes))
    }

    fn finish(self: Box<Self>) {
        if let Some(mut laying) = lock(&self.laying).take() {
            laying.close();
            lock(&self.aside).insert(self.id, State::Laid(laying.writer, laying.places));
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let given_up = lock(&self.laying).take();
        if given_up.is_none() {
            return;
        }
        // What it has not written yet is, now.
        drop(given_up);
        // On a full disk its room may be what the removal needs.
        if let Err(error) = self.image.set_len(0) {
            tracing::warn!(id = %self.id, %error, "a layer that was given up still takes room");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
