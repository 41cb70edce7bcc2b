//! Single flight: what several pulls want at once is done once.
//!
//! A flight is a shared future that all who want its result poll. One that leaves does not end it;
//! it ends with its last waiter. When it fails, its starter gets the error, and the next waiter tries
//! by its own means: it may know another host, or have the credentials that the first lacked.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use lamina_core::{Error, Kind, Result};

use super::lease::Active;

type Landed = std::result::Result<(), (Kind, String)>;
type Work = BoxFuture<'static, Landed>;

/// The pulls of one process, as far as they know of each other.
#[derive(Default)]
pub struct Flights {
    running: Mutex<HashMap<String, WeakShared<Work>>>,
    pub(super) leases: Active,
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} flights", self.lock().len())
    }
}

/// Whose flight it was that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flown {
    /// The caller's own.
    Mine,
    /// Somebody else's; the caller looks whether what it wants is there now.
    Theirs,
}

impl Flights {
    /// Does `work` under `key`, or waits for whoever does that now.
    ///
    /// # Errors
    /// Those of the caller's own work. Another's failure is no error of the caller's.
    pub(super) async fn join(
        &self,
        key: &str,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<Flown> {
        let (flight, flown) = self.board(key, work);
        let landed = flight.await;
        self.leave(key);
        match (landed, flown) {
            (Err((kind, message)), Flown::Mine) => Err(Error::new(kind, message)),
            (_, flown) => Ok(flown),
        }
    }

    fn board(
        &self,
        key: &str,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) -> (Shared<Work>, Flown) {
        let mut flights = self.lock();
        // A flight that has landed with an error is not to be joined by who comes later.
        let running = flights.get(key).and_then(WeakShared::upgrade).filter(|f| f.peek().is_none());
        if let Some(flight) = running {
            return (flight, Flown::Theirs);
        }
        let flight: Shared<Work> = work
            .map(|result| result.map_err(|error| (error.kind(), error.chain())))
            .boxed()
            .shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key.to_owned(), weak);
        }
        (flight, Flown::Mine)
    }

    /// Forgets a flight that is over, unless another has begun under its key.
    fn leave(&self, key: &str) {
        let mut flights = self.lock();
        let over = flights
            .get(key)
            .is_some_and(|weak| weak.upgrade().is_none_or(|flight| flight.peek().is_some()));
        if over {
            flights.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, WeakShared<Work>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flights of this process for tests and for callers that make one pull.
impl Flights {
    /// None under way.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    async fn count(ran: Arc<AtomicUsize>, fail: bool) -> Result<()> {
        ran.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(30)).await;
        if fail { Err(Error::unavailable("host away")) } else { Ok(()) }
    }

    #[tokio::test]
    async fn ten_wait_for_one() {
        let (flights, ran) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let joins = (0..10).map(|_| flights.join("k", count(ran.clone(), false)));
        let flown: Vec<_> = futures_util::future::join_all(joins).await;
        assert_eq!(flown.iter().filter(|f| matches!(f, Ok(Flown::Mine))).count(), 1);
        assert_eq!(ran.load(Ordering::SeqCst), 1);
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn one_that_leaves_does_not_end_it() {
        let (flights, ran) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let first = tokio::spawn({
            let (flights, ran) = (flights.clone(), ran.clone());
            async move { flights.join("k", count(ran, false)).await }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let second = flights.join("k", count(ran.clone(), false));
        let second = tokio::spawn({
            let flights = flights.clone();
            let ran = ran.clone();
            drop(second);
            async move { flights.join("k", count(ran, false)).await }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        first.abort();
        assert_eq!(second.await.unwrap().unwrap(), Flown::Theirs);
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failure_is_the_starters_only() {
        let (flights, ran) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let (a, b) = tokio::join!(
            flights.join("k", count(ran.clone(), true)),
            flights.join("k", count(ran.clone(), false)),
        );
        assert_eq!(a.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(b.unwrap(), Flown::Theirs);
        assert_eq!(flights.join("k", count(ran.clone(), false)).await.unwrap(), Flown::Mine);
    }
}
