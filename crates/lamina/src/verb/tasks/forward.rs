//! The signals that are a container's, not ours.

use std::future::poll_fn;
use std::task::Poll;

use lamina_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ignored;

/// Signals that came while nobody asked are kept, one of each kind.
#[derive(Debug)]
pub(in crate::verb) struct Signals(Vec<(u32, Signal)>);

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
        Ok(Signals(heard.map_err(failed)?))
    }

    /// The number of the next one.
    pub(super) async fn next(&mut self) -> u32 {
        poll_fn(|cx| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}
