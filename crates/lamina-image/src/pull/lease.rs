//! The lease of a pull: holds what was made until the image record does, and after a failure for a
//! day, so that the next pull of the same reference can go on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lamina_core::labels::GC_EXPIRE;
use lamina_core::{Filters, Labels, LeaseStore, Result};

/// Names the image a lease was made for; `lease ls` shows it.
const FOR: &str = "lamina.dev/pull";
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The label of a lease that ends a day from now, should nobody end it before.
pub(crate) fn for_a_day() -> (String, String) {
    let until = Timestamp::now() + KEEP;
    (GC_EXPIRE.to_owned(), until.to_string())
}

/// The leases of pulls that are under way in this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Active(Arc<Mutex<HashSet<String>>>);

/// A lease of a pull. Dropped without [`end`](Self::end), it stays until it expires or the next pull
/// of the same reference succeeds.
#[derive(Debug)]
pub(super) struct PullLease {
    pub(super) id: String,
    name: String,
    leases: Arc<dyn LeaseStore>,
    active: Active,
}

impl PullLease {
    /// Makes a lease that lasts a day from now and holds also what earlier pulls of `name` left.
    pub(super) async fn begin(
        leases: Arc<dyn LeaseStore>,
        name: &str,
        active: &Active,
    ) -> Result<PullLease> {
        let labels = Labels::from([(FOR.to_owned(), name.to_owned()), for_a_day()]);
        let id = leases.create("", labels).await?.id;
        active.lock().insert(id.clone());
        let lease = PullLease { id, name: name.to_owned(), leases, active: active.clone() };
        for earlier in lease.earlier().await? {
            for resource in lease.leases.resources(&earlier).await? {
                lease.leases.add(&lease.id, resource).await?;
            }
        }
        Ok(lease)
    }

    /// Ends this lease and those of earlier pulls that failed; what they were to go on with is done.
    /// Failing to is no failure of the pull: leases expire.
    pub(super) async fn end(self) {
        let ended = async {
            for id in self.earlier().await?.iter().chain([&self.id]) {
                match self.leases.delete(id, false).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        };
        if let Err(error) = ended.await {
            tracing::warn!(lease = %self.id, error = %error.chain(), "a pull's lease stays until it expires");
        }
    }

    /// Leases of pulls of this image that nobody is carrying out any more.
    async fn earlier(&self) -> Result<Vec<String>> {
        let all = self.leases.list(Filters::default()).await?;
        let active = self.active.lock();
        Ok(all
            .into_iter()
            .filter(|l| l.labels.get(FOR) == Some(&self.name) && !active.contains(&l.id))
            .map(|l| l.id)
            .collect())
    }
}

impl Drop for PullLease {
    fn drop(&mut self) {
        self.active.lock().remove(&self.id);
    }
}

impl Active {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
