//! The pool and its thin devices.

use std::path::PathBuf;
use std::sync::Mutex;

use lamina_core::{Error, Result};
use lamina_sys::devmapper::{self, Control, Removal, Target};
use lamina_sys::{Errno, SysError, fs};
use rustix::fs::OFlags;

use super::super::super::driver::{Removed, SnapshotId};
use super::super::super::locks::lock;
use super::super::error::failed;

/// Serves one call at a time: what a call loads for itself must not be unloaded by another.
#[derive(Debug)]
pub(super) struct Pool {
    name: String,
    control: Mutex<Control>,
}

/// What the pool says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) data_used: u64,
    data: u64,
    meta_used: u64,
    meta: u64,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Working,
    Full,
    ReadOnly,
    NeedsCheck,
    Failed,
}

impl Pool {
    pub(super) fn open(name: &str) -> Result<Pool> {
        let control = Control::open().map_err(|error| {
            Error::failed_precondition(format!("the pool {name}: there is no device-mapper here"))
                .with_source(error)
        })?;
        let pool = Pool { name: name.to_owned(), control: Mutex::new(control) };
        pool.status()?;
        Ok(pool)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn device(&self, id: SnapshotId) -> String {
        format!("{}-snap-{id}", self.name)
    }

    pub(super) fn node(&self, id: SnapshotId) -> PathBuf {
        devmapper::node(&self.device(id))
    }

    /// Asks the kernel. Nobody holds on to the control device while an error is explained.
    fn ask<T>(&self, ask: impl FnOnce(&Control) -> Result<T, SysError>) -> Result<T, SysError> {
        ask(&lock(&self.control))
    }

    pub(super) fn status(&self) -> Result<Status> {
        let name = &self.name;
        let status =
            self.ask(|control| control.status(name)).map_err(|error| self.failed(error, "ask"))?;
        let status = status.ok_or_else(|| Error::not_found(format!("the pool {name}")))?;
        match status.targets.as_slice() {
            [Target { kind, parameters, .. }] if kind == "thin-pool" => Status::parse(parameters)
                .ok_or_else(|| Error::internal(format!("the pool {name} says: {parameters}"))),
            _ => Err(Error::failed_precondition(format!("{name} is no thin pool"))),
        }
    }

    /// Whether what was written is in the pool, as far as it knows.
    ///
    /// # Errors
    /// ResourceExhausted when it is full, FailedPrecondition when it must be repaired first.
    pub(super) fn check(&self) -> Result<()> {
        let name = &self.name;
        match self.status()?.mode {
            Mode::Working => Ok(()),
            Mode::Full => Err(Error::resource_exhausted(format!("the pool {name} is full"))),
            Mode::ReadOnly => Err(Error::failed_precondition(format!(
                "the pool {name} is read-only; make its metadata device larger, or repair it"
            ))),
            Mode::NeedsCheck => Err(Error::failed_precondition(format!(
                "the pool {name} needs to be checked; take it down and run thin_check"
            ))),
            Mode::Failed => Err(Error::data_loss(format!("the pool {name} has failed"))),
        }
    }

    /// [`check`](Self::check), and whether anything can be added.
    pub(super) fn check_room(&self) -> Result<()> {
        self.check()?;
        let status = self.status()?;
        for (what, used, all) in
            [("data", status.data_used, status.data), ("metadata", status.meta_used, status.meta)]
        {
            if used >= all {
                return Err(Error::resource_exhausted(format!(
                    "the pool {} has no block left for {what}",
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// An empty device. What an earlier life of the pool left at this id goes.
    pub(super) fn create(&self, id: SnapshotId) -> Result<()> {
        self.add(id, &format!("create_thin {id}"))
    }

    /// A device that begins as `origin` is.
    pub(super) fn create_from(&self, id: SnapshotId, origin: SnapshotId) -> Result<()> {
        let device = self.device(origin);
        let what = |error| self.failed(error, &format!("hold the device of snapshot {origin} in"));
        // It may be loaded while somebody has it mounted after its commit.
        let loaded =
            self.ask(|control| control.status(&device)).map_err(what)?.is_some_and(|s| s.active);
        if loaded {
            self.ask(|control| control.suspend(&device)).map_err(what)?;
        }
        let added = self.add(id, &format!("create_snap {id} {origin}"));
        if loaded {
            self.ask(|control| control.resume(&device)).map_err(what)?;
        }
        added
    }

    fn add(&self, id: SnapshotId, message: &str) -> Result<()> {
        let sent = self.ask(|control| control.message(&self.name, message));
        let sent = match sent {
            Err(error) if error.is_exists() => {
                self.remove(id)?;
                self.ask(|control| control.message(&self.name, message))
            }
            sent => sent,
        };
        sent.map_err(|error| self.failed(error, &format!("make snapshot {id} in")))
    }

    /// Loads a device, if it is not. `ENODATA`, as the cause, if the pool has none with this id.
    pub(super) fn load(&self, id: SnapshotId, sectors: u64) -> Result<()> {
        self.ask(|control| load(control, self, id, sectors))
            .map(drop)
            .map_err(|error| self.failed(error, &format!("load snapshot {id} of")))
    }

    /// Takes a device out; whether it is out.
    pub(super) fn unload(&self, id: SnapshotId, when: Removal) -> Result<Removed> {
        match self.ask(|control| control.remove(&self.device(id), when)) {
            Ok(()) => Ok(Removed::Gone),
            Err(error) if error.errno() == Errno::NXIO => Ok(Removed::Gone),
            Err(error) if error.is_busy() => Ok(Removed::Busy),
            Err(error) => Err(self.failed(error, &format!("unload snapshot {id} of"))),
        }
    }

    /// Deletes a device, loaded or not.
    pub(super) fn remove(&self, id: SnapshotId) -> Result<Removed> {
        if self.unload(id, Removal::Now)? == Removed::Busy {
            return Ok(Removed::Busy);
        }
        match self.ask(|control| control.message(&self.name, &format!("delete {id}"))) {
            Ok(()) => Ok(Removed::Gone),
            Err(error) if error.errno() == Errno::NODATA => Ok(Removed::Gone),
            Err(error) if error.is_busy() => Ok(Removed::Busy),
            Err(error) => Err(self.failed(error, &format!("delete snapshot {id} of"))),
        }
    }

    pub(super) fn has(&self, id: SnapshotId, sectors: u64) -> Result<bool> {
        match self.with_loaded(id, sectors, |_| Ok(())) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Errno::NODATA => Ok(false),
            Err(error) => Err(self.failed(error, &format!("look for snapshot {id} in"))),
        }
    }

    pub(super) fn is_open(&self, id: SnapshotId) -> Result<bool> {
        let status = self.ask(|control| control.status(&self.device(id)));
        let status = status.map_err(|error| self.failed(error, "ask a device of"))?;
        Ok(status.is_some_and(|status| status.open_count > 0))
    }

    /// How many bytes a device has blocks for.
    pub(super) fn used(&self, id: SnapshotId, sectors: u64) -> Result<u64> {
        let device = self.device(id);
        let status = self
            .with_loaded(id, sectors, |control| control.status(&device))
            .map_err(|error| self.failed(error, &format!("measure snapshot {id} of")))?;
        let words = status.and_then(|status| status.targets.first().cloned()).map(|t| t.parameters);
        let used = words.as_ref().and_then(|words| words.split(' ').next()?.parse::<u64>().ok());
        let used = used.ok_or_else(|| Error::data_loss(format!("snapshot {id} has failed")))?;
        Ok(used * 512)
    }

    /// Makes a file system that may be mounted whole on its device.
    pub(super) fn freeze(&self, id: SnapshotId) -> Result<()> {
        let device = self.device(id);
        let frozen =
            self.ask(|control| control.suspend(&device).and_then(|()| control.resume(&device)));
        frozen.map_err(|error| self.failed(error, &format!("freeze snapshot {id} of")))
    }

    /// Writes what a device was given, and which blocks it has, to the disks below.
    pub(super) fn flush(&self, id: SnapshotId) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        fs::open_at(rustix::fs::CWD, self.node(id), flags, 0)
            .and_then(fs::sync_file)
            .map_err(|error| self.failed(error, &format!("flush snapshot {id} of")))
    }

    /// Runs `ask` while a device is loaded, and leaves it as it was.
    fn with_loaded<T>(
        &self,
        id: SnapshotId,
        sectors: u64,
        ask: impl FnOnce(&Control) -> Result<T, SysError>,
    ) -> Result<T, SysError> {
        self.ask(|control| {
            let ours = load(control, self, id, sectors)?;
            let answer = ask(control);
            if ours {
                control.remove(&self.device(id), Removal::Deferred)?;
            }
            answer
        })
    }

    /// Wraps an error; the pool, if it is full or broken, is the better reason.
    fn failed(&self, error: SysError, what: &str) -> Error {
        let what = format!("{what} the pool {}", self.name);
        // An error of asking would ask again.
        if error.call() != "dm(TABLE_STATUS)"
            && let Err(reason) = self.check()
        {
            return reason.context(what);
        }
        failed(error, what)
    }
}

/// Whether it was loaded here.
fn load(control: &Control, pool: &Pool, id: SnapshotId, sectors: u64) -> Result<bool, SysError> {
    let device = pool.device(id);
    if control.status(&device)?.is_some_and(|status| status.active) {
        return Ok(false);
    }
    // By its number: whoever made the pool need not have made a node.
    let number = control.status(&pool.name)?.map_or(0, |status| status.device);
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let parameters = format!("{major}:{minor} {id}");
    let target = Target { sectors, kind: "thin".to_owned(), parameters };
    match control.create(&device, &target) {
        // Made by a process that was killed before it had a table.
        Err(error) if error.is_busy() => {
            control.remove(&device, Removal::Now)?;
            control.create(&device, &target)?;
        }
        made => made?,
    }
    Ok(true)
}

impl Status {
    /// `<transaction> <used>/<all metadata> <used>/<all data> <held root> <mode> …`, or `Fail`.
    fn parse(text: &str) -> Option<Status> {
        let words: Vec<&str> = text.split(' ').collect();
        if matches!(words.first(), Some(&("Fail" | "Error"))) {
            let mode = Mode::Failed;
            return Some(Status { data_used: 0, data: 0, meta_used: 0, meta: 0, mode });
        }
        let pair = |index: usize| {
            let (used, all) = words.get(index)?.split_once('/')?;
            Some((used.parse().ok()?, all.parse().ok()?))
        };
        let ((meta_used, meta), (data_used, data)) = (pair(1)?, pair(2)?);
        let mode = match words.get(4..)? {
            rest if rest.contains(&"needs_check") => Mode::NeedsCheck,
            rest if rest.contains(&"out_of_data_space") => Mode::Full,
            rest if rest.contains(&"ro") => Mode::ReadOnly,
            _ => Mode::Working,
        };
        Some(Status { data_used, data, meta_used, meta, mode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pool_says_is_understood() {
        let cases = [
            ("1 12/4096 5/800 - rw discard_passdown queue_if_no_space - 1024", Mode::Working),
            (
                "1 12/4096 5/800 - out_of_data_space discard_passdown error_if_no_space - 1024",
                Mode::Full,
            ),
            ("1 12/4096 5/800 - ro discard_passdown error_if_no_space - 1024", Mode::ReadOnly),
            (
                "1 12/4096 5/800 - ro discard_passdown error_if_no_space needs_check 1024",
                Mode::NeedsCheck,
            ),
        ];
        for (text, mode) in cases {
            let status = Status { data_used: 5, data: 800, meta_used: 12, meta: 4096, mode };
            assert_eq!(Status::parse(text), Some(status), "{text}");
        }
        assert_eq!(Status::parse("Fail").unwrap().mode, Mode::Failed);
        assert_eq!(Status::parse("1 x"), None);
    }
}
