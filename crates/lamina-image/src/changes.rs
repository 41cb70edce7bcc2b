//! What snapshots changed, as layers.

use jiff::Timestamp;
use lamina_core::diff::CompareOptions;
use lamina_core::snapshot::Kind;
use lamina_core::{Descriptor, Host, Labels, Mount, Result, Scope, Snapshotter};

/// Writes the layer that makes the snapshot `key` of its parent.
///
/// # Errors
/// NotFound for no such snapshot; those of [`Differ::compare`](lamina_core::Differ::compare).
pub async fn of_snapshot(
    host: &dyn Host,
    scope: &Scope,
    snapshotter: &str,
    key: &str,
    options: CompareOptions,
) -> Result<Descriptor> {
    let snapshots = host.snapshotter(scope, snapshotter)?;
    let parent = snapshots.stat(key).await?.parent;
    let lower = Shown::view(&*snapshots, &parent).await?;
    let made = with_upper(host, scope, &*snapshots, &lower, key, options).await;
    lower.end(&*snapshots).await;
    made
}

/// Writes the layer that makes the snapshot `upper` of the snapshot `lower`, whatever they are to each
/// other.
///
/// # Errors
/// As [`of_snapshot`].
pub async fn between(
    host: &dyn Host,
    scope: &Scope,
    snapshotter: &str,
    (lower, upper): (&str, &str),
    options: CompareOptions,
) -> Result<Descriptor> {
    let snapshots = host.snapshotter(scope, snapshotter)?;
    let lower = Shown::of(&*snapshots, lower).await?;
    let made = with_upper(host, scope, &*snapshots, &lower, upper, options).await;
    lower.end(&*snapshots).await;
    made
}

async fn with_upper(
    host: &dyn Host,
    scope: &Scope,
    snapshots: &dyn Snapshotter,
    lower: &Shown,
    upper: &str,
    options: CompareOptions,
) -> Result<Descriptor> {
    let upper = Shown::of(snapshots, upper).await?;
    let made = host.differ(scope).compare(&lower.mounts, &upper.mounts, options).await;
    upper.end(snapshots).await;
    made
}

/// A snapshot's mounts, and the view that was made for them.
struct Shown {
    mounts: Vec<Mount>,
    view: Option<String>,
}

impl Shown {
    /// Those of an active or a view; those of a view of a committed one.
    async fn of(snapshots: &dyn Snapshotter, key: &str) -> Result<Shown> {
        match snapshots.stat(key).await?.kind {
            Kind::Committed => Shown::view(snapshots, key).await,
            _ => Ok(Shown { mounts: snapshots.mounts(key).await?, view: None }),
        }
    }

    async fn view(snapshots: &dyn Snapshotter, parent: &str) -> Result<Shown> {
        let view = format!("{parent}-view-{}", Timestamp::now().as_nanosecond());
        let mounts = snapshots.view(&view, parent, Labels::new()).await?;
        Ok(Shown { mounts, view: Some(view) })
    }

    async fn end(self, snapshots: &dyn Snapshotter) {
        let Some(view) = self.view else { return };
        if let Err(error) = snapshots.remove(&view).await {
            tracing::warn!(view, error = %error.chain(), "a view is left to the collector");
        }
    }
}
