//! A log that is shown as it is written.

use std::io::{stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lamina_core::{Error, Result};
use rustix::event::Timespec;

use super::read::Reader;
use super::{Entry, Stream};
use crate::verb::tasks::place::Place;
use crate::verb::tasks::pump::{Progress, Stopped};

/// How often a log is looked at.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A log from some place on.
#[derive(Debug)]
pub(in crate::verb) struct Follower {
    place: Place,
    reader: Reader,
    end: End,
}

/// Says that the program has ended. Its logger may be there for longer, as long as the task is.
#[derive(Clone, Debug, Default)]
pub(in crate::verb) struct End(Arc<AtomicBool>);

impl End {
    pub(in crate::verb) fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_told(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Follower {
    /// Goes on where `reader` is.
    pub(in crate::verb) fn new(place: Place, reader: Reader) -> Follower {
        Follower { place, reader, end: End::default() }
    }

    /// For who sees the program end.
    pub(in crate::verb) fn end(&self) -> End {
        self.end.clone()
    }

    /// What is written from now on.
    ///
    /// # Errors
    /// NotFound when nobody writes a log there, Internal when it cannot be read.
    pub(in crate::verb) fn from_now(place: Place) -> Result<Follower> {
        let mut reader = place.open_log()?;
        let failed = |error| Error::internal("read a log").with_source(error);
        while reader.next().map_err(failed)?.is_some() {}
        Ok(Follower::new(place, reader))
    }

    /// Copies each stream to ours, until the end.
    pub(in crate::verb) fn copy(
        mut self,
        stopped: Stopped,
        progress: Arc<Progress>,
    ) -> JoinHandle<()> {
        // joined: by `Attached::finish`, or it ends with its stop
        std::thread::spawn(move || {
            // A reader of ours who left does not mind.
            let show = |entry: Entry| match entry.stream {
                Stream::Stdout => drop(progress.write(&mut stdout(), entry.log.as_bytes())),
                Stream::Stderr => drop(progress.write(&mut stderr(), entry.log.as_bytes())),
            };
            if let Err(error) = self.each(&stopped, |entry| {
                show(entry);
                true
            }) {
                tracing::warn!(%error, "reading a log");
            }
        })
    }

    /// Shows every entry, until nobody writes the log any more, the program has ended and all of it was
    /// written, `show` has enough, or a stop.
    pub(in crate::verb) fn each(
        &mut self,
        stopped: &Stopped,
        mut show: impl FnMut(Entry) -> bool,
    ) -> std::io::Result<()> {
        let mut asked = false;
        loop {
            // Before the reading: what is written until then is read.
            let written = self.place.is_written();
            let ended = self.end.is_told();
            while let Some(entry) = self.reader.next()? {
                if entry.is_mark() && asked {
                    return Ok(());
                }
                if !entry.is_mark() && !show(entry) {
                    return Ok(());
                }
            }
            if ended && !asked {
                // The logger may not have read the last of it.
                self.place.ask_for_mark();
                asked = true;
            }
            if !written || stopped.within(PAUSE) {
                return Ok(());
            }
        }
    }
}
