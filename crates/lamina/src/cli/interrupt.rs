//! Ending in the middle, in order.

use std::fmt;
use std::fs;
use std::pin::pin;
use std::process;
use std::task::Poll;
use std::thread;

use lamina_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Does `work` until it is done, or until somebody ends the process: Ctrl-C (SIGINT), a terminal
/// that is closed (SIGHUP), a supervisor (SIGTERM). What `work` has begun on blocking threads still
/// runs to its end then, unless a second signal ends the process at once. A signal that the process
/// was started to ignore, as by nohup, stays ignored.
///
/// # Errors
/// Cancelled, with `what` was done and [`Interrupted`] as its source, when the process is to end;
/// those of `work`.
pub(crate) async fn until_interrupted<T>(
    what: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut signals = Signals::listen()?;
    let work = pin!(work);
    let by = tokio::select! {
        biased;
        done = work => return done,
        by = signals.next() => by,
    };
    signals.end_at_the_next();
    Err(Error::cancelled(what).with_source(by))
}

/// The signal that ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interrupted(SignalKind);

impl Interrupted {
    /// What a shell says of a command that the signal ended.
    pub(super) fn exit_code(self) -> u8 {
        128 + u8::try_from(self.0.as_raw_value()).unwrap_or(0)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            kind if kind == SignalKind::hangup() => "SIGHUP",
            kind if kind == SignalKind::terminate() => "SIGTERM",
            _ => "SIGINT",
        };
        write!(f, "interrupted by {name}")
    }
}

impl std::error::Error for Interrupted {}

/// The signals that ask a process to end.
#[derive(Debug)]
struct Signals {
    heard: Vec<(SignalKind, Signal)>,
}

impl Signals {
    fn listen() -> Result<Signals> {
        let ignored = ignored();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let kinds = kinds.into_iter().filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0);
        let heard: std::io::Result<_> = kinds.map(|kind| Ok((kind, signal(kind)?))).collect();
        let failed = |cause| Error::internal("listen for signals").with_source(cause);
        Ok(Signals { heard: heard.map_err(failed)? })
    }

    /// The first one that comes.
    async fn next(&mut self) -> Interrupted {
        std::future::poll_fn(|cx| {
            for (kind, signal) in &mut self.heard {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(Interrupted(*kind));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whoever asks twice does not want to wait: from now on a signal ends the process as it is,
    /// whatever it is at. What is stored outlives that, as it outlives a crash.
    fn end_at_the_next(mut self) {
        // The runtime of the command may be waiting for what cannot be stopped, and hear nothing.
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        // joined: never; it ends with the process, or ends it.
        thread::spawn(move || {
            let by = runtime.block_on(self.next());
            process::exit(by.exit_code().into());
        });
    }
}

/// The signals this process ignores, as a mask whose lowest bit is signal 1 (proc(5), `SigIgn`).
/// None where that cannot be read.
pub(crate) fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
