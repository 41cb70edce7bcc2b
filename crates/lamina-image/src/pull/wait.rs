//! Waiting for whoever else writes the same thing.

use std::time::Duration;

use lamina_core::{Error, Kind, Result};

/// Opens something that another writer of this namespace may have open at the moment, trying again
/// until it is free. When that writer fails, this one goes on where it stopped.
///
/// # Errors
/// Those of `open` but the one that says `ref … locked`.
pub(crate) async fn when_free<T, F: Future<Output = Result<T>>>(open: impl Fn() -> F) -> Result<T> {
    let mut pause = Duration::from_millis(5);
    loop {
        match open().await {
            Err(error) if is_locked(&error) => {
                tracing::debug!(error = %error.chain(), "waiting for another writer");
            }
            opened => return opened,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Whether another writer is at it. A database that failed is Unavailable too, and stays so: the text
/// tells them apart, also when it came over a socket.
fn is_locked(error: &Error) -> bool {
    let says = |part: &str| part.starts_with("ref ") && part.contains(" locked");
    error.kind() == Kind::Unavailable && error.chain().split(": ").any(says)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often it was tried when it fails three times with `error`, and with what it ended.
    async fn tries(error: impl Fn() -> Error) -> (u32, Option<String>) {
        let count = Cell::new(0);
        let opened = when_free(|| async {
            count.set(count.get() + 1);
            if count.get() <= 3 { Err(error()) } else { Ok(()) }
        });
        let failed = opened.await.err();
        (count.get(), failed.map(|error| error.chain()))
    }

    #[tokio::test]
    async fn a_writer_is_waited_for() {
        let local = || Error::unavailable("ref layer-sha256:1 locked");
        let remote = || Error::unavailable("write: ref layer-sha256:1 locked for 2s: unavailable");
        assert_eq!(tries(local).await, (4, None));
        assert_eq!(tries(|| local().context("open the layer")).await, (4, None));
        assert_eq!(tries(remote).await, (4, None));
    }

    #[tokio::test]
    async fn what_stays_so_is_not_waited_for() {
        for (kind, text) in [
            (Kind::Unavailable, "database /db failed, reopen it: commit: disk I/O error"),
            (Kind::Unavailable, "database /db failed, reopen it: database is locked"),
            (Kind::Unavailable, "database /db is closed"),
            (Kind::Internal, "ref layer-sha256:1 locked"),
        ] {
            assert_eq!(tries(|| Error::new(kind, text)).await, (1, Some(text.to_owned())));
        }
    }
}
