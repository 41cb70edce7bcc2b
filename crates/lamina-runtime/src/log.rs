//! A shim's log: read from the FIFO in its bundle, line by line, into ours.

use lamina_core::{Error, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use crate::bundle::Bundle;

/// The most of a line that is kept.
const LINE_BYTES: u64 = 8 << 10;

/// Opens the FIFO. From then on a shim can open it without waiting, and loses nothing.
///
/// # Errors
/// Internal when it is not there, or no FIFO.
pub(crate) fn open(bundle: &Bundle) -> Result<pipe::Receiver> {
    // Also for writing: there is no end of file then when a shim closes it and another opens it.
    pipe::OpenOptions::new().read_write(true).open_receiver(bundle.log()).map_err(|error| {
        Error::internal(format!("open the log of task {:?}", bundle.id())).with_source(error)
    })
}

/// Copies until told to stop; what was written by then is copied too.
pub(crate) async fn copy(fifo: pipe::Receiver, id: String, stop: CancellationToken) {
    let mut lines = BufReader::new(fifo);
    let mut line = Vec::new();
    loop {
        let read = (&mut lines).take(LINE_BYTES);
        tokio::pin!(read);
        tokio::select! {
            biased;
            read = read.read_until(b'\n', &mut line) => match read {
                Ok(bytes) if bytes > 0 => {}
                _ => return,
            },
            () = stop.cancelled() => return,
        }
        tell(&id, String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// Shims of containerd write `level=…` into each line.
fn tell(task: &str, line: &str) {
    if line.is_empty() {
        return;
    }
    if line.contains("level=error") || line.contains("level=fatal") {
        tracing::error!(task, "shim: {line}");
    } else if line.contains("level=warning") {
        tracing::warn!(task, "shim: {line}");
    } else if line.contains("level=debug") || line.contains("level=trace") {
        tracing::debug!(task, "shim: {line}");
    } else {
        tracing::info!(task, "shim: {line}");
    }
}
