//! The one adapter between the async traits and the synchronous store.
//!
//! A call runs to its end on a thread of tokio's blocking pool, also when the future that waits for
//! it is dropped: an operation is never cut in the middle because its caller left. Looking at one row
//! changes nothing and takes less time than to wake a thread: such calls are made where they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream;
use lamina_core::snapshot::Pages;
use lamina_core::{Error, Result};

/// Runs `call` on a blocking thread.
///
/// # Errors
/// The call's own; Internal when it panicked; Cancelled when the runtime shuts down before it began.
pub(crate) async fn run<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(Error::cancelled("the store is shutting down")),
        Err(error) => Err(Error::internal("a store operation panicked").with_source(error)),
    }
}

/// Runs `call` on a blocking thread while nobody waits, or here when there is no runtime. For what a
/// `Drop` has to finish; a runtime that shuts down waits for it or drops what it owns.
pub(crate) fn later(call: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(call)),
        Err(_) => call(),
    }
}

/// A listing by pages: `next` is called on a blocking thread with the state it left, until it
/// answers an empty page.
pub(crate) fn pages<S, T>(
    state: S,
    next: impl FnMut(&mut S) -> Result<Vec<T>> + Send + 'static,
) -> Pages<'static, T>
where
    S: Send + 'static,
    T: Send + 'static,
{
    Box::pin(stream::try_unfold((state, next), |(mut state, mut next)| async move {
        run(move || {
            let page = next(&mut state)?;
            Ok((!page.is_empty()).then_some((page, (state, next))))
        })
        .await
    }))
}

/// Lets long work on a blocking thread know that its caller left: the first half stays with the
/// future, the second goes with the call.
pub(crate) fn presence() -> (Here, Caller) {
    let left = Arc::new(AtomicBool::new(false));
    (Here(Arc::clone(&left)), Caller(left))
}

/// Says "left" when it is dropped.
#[derive(Debug)]
pub(crate) struct Here(Arc<AtomicBool>);

/// Whoever waits for the call.
#[derive(Debug)]
pub(crate) struct Caller(Arc<AtomicBool>);

impl Caller {
    /// Whether nobody waits any more.
    pub(crate) fn has_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt as _;
    use lamina_core::Kind;

    #[tokio::test]
    async fn pages_end_with_the_first_empty_one() {
        let left = pages(3, |left: &mut u32| {
            *left = left.saturating_sub(1);
            Ok((0..*left).collect::<Vec<u32>>())
        });
        let all: Vec<u32> = left.try_concat().await.unwrap();
        assert_eq!(all, [0, 1, 0]);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_that_call() {
        let error = run::<()>(|| panic!("no")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
    }
}
