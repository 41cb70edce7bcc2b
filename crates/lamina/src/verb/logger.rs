//! `lamina logger`, which shims start for a container that is left running: it writes the container's
//! log, and lives as long as the container's streams.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use clap::Args;
use lamina_core::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read};
use tokio::signal::unix::{SignalKind, signal};

use super::tasks::log::write::{Lines, Writer};
use super::tasks::log::{FILE_BYTES, Stream};
use super::tasks::place::Place;

/// Writes the log of a container (started by shims)
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Logger {
    /// The streams are standard input and output, and it is ready when it writes to standard error
    #[arg(long)]
    inherited: bool,
    /// The file; with `tty:` before it, the container has a terminal and one stream
    file: String,
}

/// How long a line may wait for its end.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

impl Logger {
    /// Reads to the end. It is no command for people: there is no configuration, and no output.
    pub(crate) fn run(&self) -> Result<()> {
        let failed = |error| Error::internal(format!("log to {:?}", self.file)).with_source(error);
        self.copy().map_err(failed)
    }

    fn copy(&self) -> io::Result<()> {
        // What ends a terminal or a shim must not end this before the streams do.
        let _ = rustix::process::setsid();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _entered = runtime.enter();
        let heard = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
        let _heard: Vec<_> = heard.into_iter().map(signal).collect::<io::Result<_>>()?;
        let (path, terminal) = match self.file.strip_prefix("tty:") {
            Some(path) => (path, true),
            None => (self.file.as_str(), false),
        };
        let path = PathBuf::from(path);
        let folder = path.parent().unwrap_or(Path::new("/"));
        let _lock = Place::lock(folder)?;
        let marks = Place::marks(folder)?;
        let mut log = Writer::open(path, FILE_BYTES)?;
        let mut streams = match self.inherited {
            true => vec![
                io::stdin().as_fd().try_clone_to_owned()?,
                io::stdout().as_fd().try_clone_to_owned()?,
            ],
            // The protocol of shims: 3 and 4 are the streams, 5 is told when this is ready.
            false => vec![again(3, OFlags::RDONLY)?, again(4, OFlags::RDONLY)?],
        };
        if terminal {
            streams.truncate(1);
        }
        match self.inherited {
            true => io::stderr().write_all(b"\n")?,
            false => drop(rustix::io::write(again(5, OFlags::WRONLY)?, b"\n")?),
        }
        let kinds = [Stream::Stdout, Stream::Stderr];
        let streams = streams.into_iter().zip(kinds.map(Lines::new)).collect();
        pour(streams, &marks.into(), &mut log)
    }
}

/// A descriptor that was inherited, opened once more.
fn again(number: u8, access: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{number}");
    Ok(open(path, access | OFlags::CLOEXEC, Mode::empty())?)
}

fn pour(mut streams: Vec<(OwnedFd, Lines)>, marks: &OwnedFd, log: &mut Writer) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while !streams.is_empty() {
        let pending = streams.iter().any(|(_, lines)| lines.is_pending());
        let mut waits: Vec<_> =
            streams.iter().map(|(stream, _)| PollFd::new(stream, PollFlags::IN)).collect();
        waits.push(PollFd::new(marks, PollFlags::IN));
        let found = match poll(&mut waits, pending.then_some(&WAIT)) {
            Err(Errno::INTR) => continue,
            found => found?,
        };
        let ready: Vec<bool> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
        let asked = ready.last() == Some(&true);
        if found == 0 || (asked && found == 1) {
            streams.iter_mut().for_each(|(_, lines)| lines.flush(false, log));
        }
        // All that was written before it was asked for has been read.
        if asked && found == 1 && read(marks, &mut buffer).is_ok() {
            log.mark();
        }
        let mut ready = ready.into_iter();
        streams.retain_mut(|(stream, lines)| {
            if ready.next() != Some(true) {
                return true;
            }
            match read(stream, &mut buffer) {
                Ok(count) if count > 0 => lines.take(buffer.get(..count).unwrap_or_default(), log),
                Err(Errno::INTR | Errno::AGAIN) => {}
                _ => {
                    lines.flush(true, log);
                    return false;
                }
            }
            true
        });
    }
    Ok(())
}
