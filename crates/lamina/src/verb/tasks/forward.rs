//! The signals that are a container's, not ours.

use std::future::poll_fn;
use std::task::Poll;

use lamina_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ignored;

/// Signals that came while nobody asked are kept, one of each kind.
#[derive(Debug)]
pub(in crate::verb) struct Signals {
    heard: Vec<(u32, Signal)>,
    resized: Signal,
}

impl Signals {
    /// Listens from now on. A signal that the process was started to ignore stays ignored.
    ///
    /// # Errors
    /// Internal when the kernel refuses.
    pub(in crate::verb) fn listen() -> Result<Signals> {
        let ignored = ignored();
        let kinds = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        let kinds = kinds.into_iter().filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0);
        let heard: std::io::Result<_> =
            kinds.map(|kind| Ok((kind.as_raw_value().unsigned_abs(), signal(kind)?))).collect();
        let failed = |cause| Error::internal("listen for signals").with_source(cause);
        let resized = signal(SignalKind::window_change()).map_err(failed)?;
        Ok(Signals { heard: heard.map_err(failed)?, resized })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Heard {
        poll_fn(|cx| {
            for (number, signal) in &mut self.heard {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(Heard::Signal(*number));
                }
            }
            self.resized.poll_recv(cx).map(|_| Heard::Resized)
        })
        .await
    }
}

/// What a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A signal for it, by number.
    Signal(u32),
    /// Our terminal has another size.
    Resized,
}
