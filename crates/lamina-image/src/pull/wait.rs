//! Waiting for whoever else writes the same thing.

use std::time::Duration;

use lamina_core::{Kind, Result};

/// Opens something that another writer of this namespace may have open at the moment, trying again
/// until it is free. When that writer fails, this one goes on where it stopped.
///
/// # Errors
/// Those of `open` but Unavailable.
pub(super) async fn when_free<T, F: Future<Output = Result<T>>>(open: impl Fn() -> F) -> Result<T> {
    let mut pause = Duration::from_millis(5);
    loop {
        match open().await {
            Err(error) if error.kind() == Kind::Unavailable => {
                tracing::debug!(error = %error.chain(), "waiting for another writer");
            }
            opened => return opened,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
