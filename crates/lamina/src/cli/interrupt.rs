//! Ending in the middle, in order.

use std::pin::pin;

use lamina_core::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Does `work` until it is done, or until somebody ends the process: Ctrl-C (SIGINT), a terminal
/// that is closed (SIGHUP), a supervisor (SIGTERM). What `work` has begun on blocking threads still
/// runs to its end then.
///
/// # Errors
/// Cancelled, with `what` was done, when the process is to end; those of `work`.
pub(crate) async fn until_interrupted<T>(
    what: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::internal("listen for signals").with_source(error))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let by = async {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        }
    };
    let work = pin!(work);
    tokio::select! {
        biased;
        done = work => done,
        by = by => Err(Error::cancelled(format!("{what}: interrupted by {by}"))),
    }
}
