//! Threads that copy streams, until the stream ends or they are told to stop: a read that waits for a
//! keyboard cannot be left alone, as the process would wait for it in the end.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use lamina_core::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::keys::Keys;

/// The most bytes that are copied at once.
const BLOCK: usize = 64 << 10;

/// How often it is tried whether a shim reads.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Tells threads to stop, when it is dropped.
#[derive(Debug)]
pub(in crate::verb) struct Stop {
    reader: Stopped,
    _writer: PipeWriter,
}

impl Stop {
    /// For one more thread.
    pub(in crate::verb) fn stopped(&self) -> Stopped {
        self.reader.clone()
    }
}

impl Stopped {
    /// Waits for a stop, at most for a moment; whether there was one.
    pub(in crate::verb) fn within(&self, moment: Timespec) -> bool {
        let mut wait = [PollFd::new(&*self.0, PollFlags::IN)];
        // An interrupted wait was a moment, too.
        poll(&mut wait, Some(&moment)).is_ok_and(|found| found > 0)
    }
}

/// What a thread looks at.
#[derive(Clone, Debug)]
pub(in crate::verb) struct Stopped(Arc<PipeReader>);

/// How far the copying is.
#[derive(Debug, Default)]
pub(in crate::verb) struct Progress {
    bytes: AtomicU64,
    /// A reader of ours is slow.
    writing: AtomicBool,
}

impl Progress {
    /// Writes to a reader of ours, who may take his time.
    pub(in crate::verb) fn write(&self, to: &mut impl Write, text: &[u8]) -> io::Result<()> {
        self.writing.store(true, Ordering::Relaxed);
        let written = to.write_all(text).and_then(|()| to.flush());
        self.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
        self.writing.store(false, Ordering::Relaxed);
        written
    }

    /// Bytes so far; none while a write waits for its reader.
    pub(in crate::verb) fn idle_at(&self) -> Option<u64> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        (!self.writing.load(Ordering::Relaxed)).then_some(bytes)
    }
}

/// How input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verb) enum Ended {
    /// There is no more.
    Input,
    /// The keys for it were typed.
    Detached,
    /// Nobody wants it any more.
    Stopped,
}

/// # Errors
/// Internal when the kernel has no pipe left.
pub(in crate::verb) fn stop() -> Result<Stop> {
    let failed = |error| Error::internal("make a pipe").with_source(error);
    let (reader, writer) = io::pipe().map_err(failed)?;
    Ok(Stop { reader: Stopped(Arc::new(reader)), _writer: writer })
}

/// What [`ready`] found.
enum Ready {
    Stream,
    Stop,
}

/// Waits for a stream; a stop comes first.
fn ready(stream: BorrowedFd<'_>, flags: PollFlags, stopped: &Stopped) -> io::Result<Ready> {
    loop {
        let mut waits =
            [PollFd::new(&*stopped.0, PollFlags::IN), PollFd::from_borrowed_fd(stream, flags)];
        match poll(&mut waits, None) {
            Err(Errno::INTR) => continue,
            found => found?,
        };
        let [stop, stream] = waits.map(|wait| !wait.revents().is_empty());
        if stop {
            return Ok(Ready::Stop);
        }
        if stream {
            return Ok(Ready::Stream);
        }
    }
}

/// Copies output. A reader of ours who leaves does not stop the program: it goes on, as it would into
/// a file.
pub(in crate::verb) fn pour(
    mut from: File,
    to: impl Write + Send + 'static,
    stopped: Stopped,
    progress: Arc<Progress>,
) -> JoinHandle<()> {
    // joined: by `Attached::finish`, or it ends with its stop
    std::thread::spawn(move || {
        let mut to = Some(to);
        let mut buffer = vec![0; BLOCK];
        loop {
            match ready(from.as_fd(), PollFlags::IN, &stopped) {
                Ok(Ready::Stream) => {}
                Ok(Ready::Stop) => return,
                Err(error) => return tracing::warn!(%error, "waiting for output"),
            }
            let count = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return tracing::warn!(%error, "reading output"),
            };
            let text = buffer.get(..count).unwrap_or_default();
            if to.as_mut().is_some_and(|to| progress.write(to, text).is_err()) {
                to = None;
            }
        }
    })
}

/// Copies our standard input to a program, until it ends or `keys` are typed.
pub(in crate::verb) fn feed(
    to: PathBuf,
    mut keys: Option<Keys>,
    stopped: Stopped,
) -> (JoinHandle<()>, oneshot::Receiver<Ended>) {
    let (tell, told) = oneshot::channel();
    // joined: by `Attached::finish`, or it ends with its stop
    let thread = std::thread::spawn(move || {
        let ended = copy_input(&to, &mut keys, &stopped).unwrap_or_else(|error| {
            tracing::warn!(%error, "copying input");
            Ended::Input
        });
        // Nobody listens who has seen the program end.
        let _ = tell.send(ended);
    });
    (thread, told)
}

fn copy_input(to: &Path, keys: &mut Option<Keys>, stopped: &Stopped) -> io::Result<Ended> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut to = loop {
        match open(to, flags, Mode::empty()) {
            Ok(fifo) => break File::from(fifo),
            // No shim reads it yet.
            Err(Errno::NXIO) if !stopped.within(MOMENT) => {}
            Err(Errno::NXIO) => return Ok(Ended::Stopped),
            Err(error) => return Err(error.into()),
        }
    };
    let input = io::stdin();
    let (mut buffer, mut program) = (vec![0; BLOCK], Vec::new());
    loop {
        if let Ready::Stop = ready(input.as_fd(), PollFlags::IN, stopped)? {
            return Ok(Ended::Stopped);
        }
        let count = match rustix::io::read(&input, &mut buffer) {
            // A terminal that has gone.
            Ok(0) | Err(Errno::IO) => return Ok(Ended::Input),
            Ok(count) => count,
            Err(error) if is_passing(&error.into()) => continue,
            Err(error) => return Err(error.into()),
        };
        let typed = buffer.get(..count).unwrap_or_default();
        program.clear();
        let detached = match keys {
            Some(keys) => keys.pass(typed, &mut program),
            None => {
                program.extend(typed);
                false
            }
        };
        let mut rest = &program[..];
        while !rest.is_empty() {
            // A program that does not read must not keep us.
            if let Ready::Stop = ready(to.as_fd(), PollFlags::OUT, stopped)? {
                return Ok(Ended::Stopped);
            }
            match to.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if detached {
            return Ok(Ended::Detached);
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}
