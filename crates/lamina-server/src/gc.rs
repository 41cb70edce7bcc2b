//! When to collect: by containerd's settings, from how much has changed and how long it takes.
//!
//! A delete that asks for it (`sync`) collects at once, in the store. What others leave behind is
//! collected here, with pauses so long that collecting takes no more than its share of the time.

mod pace;

use std::time::Duration;

use lamina_store::Store;
use tokio_util::sync::CancellationToken;

use crate::config::Gc;
use crate::metrics::Collections;
use pace::{Counts, Pace};

/// Collects until the daemon stops; a collection that has begun is done then.
pub(crate) async fn run(
    store: Store,
    settings: Gc,
    count: Collections,
    stopping: CancellationToken,
) {
    let mut pace = Pace::new(settings);
    let mut pause = settings.startup_delay;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopping.cancelled() => return,
        }
        pause = match pace.due(counts(&store)) {
            Some(delay) if delay.is_zero() => {
                let took = collect(&store, &count).await;
                pace.collected(counts(&store), took)
            }
            Some(delay) => delay,
            None => pace.pause(),
        };
    }
}

/// Returns how long it took.
async fn collect(store: &Store, count: &Collections) -> Duration {
    let store = store.clone();
    let began = std::time::Instant::now();
    let collected = tokio::task::spawn_blocking(move || store.collect()).await;
    let took = began.elapsed();
    count.ended(took, collected.as_ref().ok().and_then(|collected| collected.as_ref().ok()));
    match collected {
        Ok(Ok(collected)) => tracing::debug!(?collected, ?took, "collected"),
        Ok(Err(error)) => tracing::warn!(error = %error.chain(), "collecting"),
        Err(error) => tracing::error!(%error, "collecting"),
    }
    took
}

fn counts(store: &Store) -> Counts {
    let stats = store.database_stats();
    Counts { mutations: stats.requests, deletions: stats.deletions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lamina_core::content::{CommitOptions, WriteOptions};
    use lamina_core::{Host as _, Namespace, Scope};
    use prometheus_client::registry::Registry;

    #[tokio::test]
    async fn what_a_delete_sets_free_goes_without_anybody_asking() {
        let dir = tempfile::tempdir().unwrap();
        let options = lamina_store::Options {
            durability: lamina_store::Durability::None,
            reserve: 0,
            ..lamina_store::Options::new(dir.path().join("root"), dir.path().join("state"))
        };
        let store = Store::open(options).unwrap();
        let stopping = CancellationToken::new();
        let mut registry = Registry::default();
        let count = Collections::new(&mut registry);
        let settings = Gc { pause_threshold: 0.5, ..Gc::default() };
        // joined: below.
        let collecting = tokio::spawn(run(store.clone(), settings, count, stopping.clone()));

        let scope = Scope::new(Namespace::new("default").unwrap());
        store.leases(&scope).create("pull", Default::default()).await.unwrap();
        let held = scope.clone().with_lease("pull");
        let mut writer =
            store.content(&held).writer("blob", WriteOptions::default()).await.unwrap();
        writer.write(Bytes::from_static(b"layer")).await.unwrap();
        let blob = writer.commit(CommitOptions::default()).await.unwrap();
        // Long enough for a collection that should not take it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        store.content(&scope).info(&blob).await.unwrap();
        store.leases(&scope).delete("pull", false).await.unwrap();
        let gone = async {
            while store.content(&scope).info(&blob).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
        stopping.cancel();
        collecting.await.unwrap();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("lamina_gc_removed_total{kind=\"blob\"} 1\n"), "{text}");
        assert!(text.contains("containerd_gc_collections_total{status=\"success\"}"), "{text}");
        store.close().unwrap();
    }
}
