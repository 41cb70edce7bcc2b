//! What a daemon does now and then: the daily copy of the database, for one that runs for weeks.

use std::time::Duration;

use lamina_store::Store;
use tokio_util::sync::CancellationToken;

/// How often to look. What is due is decided by what lies on disk, so a daemon that was restarted
/// looks no worse.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Looks at once, and then every `interval`, until the daemon stops; a copy that was begun is
/// finished.
pub(crate) async fn run(store: Store, interval: Duration, stopping: CancellationToken) {
    loop {
        copy(&store).await;
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stopping.cancelled() => return,
        }
    }
}

async fn copy(store: &Store) {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || store.backup_if_due()).await {
        Ok(Ok(true)) => tracing::info!("copied the database"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => tracing::warn!(error = %error.chain(), "copying the database"),
        Err(error) => tracing::error!(%error, "copying the database"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_that_is_due_is_made_while_the_daemon_runs() {
        let dir = tempfile::tempdir().unwrap();
        let options = lamina_store::Options {
            durability: lamina_store::Durability::None,
            ..lamina_store::Options::new(dir.path().join("root"), dir.path().join("state"))
        };
        let store = Store::open(options).unwrap();
        let copy = dir.path().join("root/io.containerd.metadata.v1.sqlite/meta.db.backup");
        let stopping = CancellationToken::new();
        let interval = Duration::from_millis(20);
        // joined: below.
        let upkeep = tokio::spawn(run(store.clone(), interval, stopping.clone()));
        for _ in 0..2 {
            let made = async {
                while !copy.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), made).await.unwrap();
            std::fs::remove_file(&copy).unwrap();
        }
        stopping.cancel();
        upkeep.await.unwrap();
        store.close().unwrap();
    }
}
