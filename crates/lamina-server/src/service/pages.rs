//! Listings that are sent a batch at a time.

use std::future;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use lamina_core::Result;
use lamina_core::snapshot::Pages;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::status;

/// A stream of messages, as a handler answers it.
pub(super) type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// A listing of `store` that owns it: one message a batch, and the next batch is read once the one
/// before it was taken. Batches without rows are not sent.
pub(super) fn messages<S, T, M>(
    store: Arc<S>,
    list: impl for<'a> FnOnce(&'a S) -> Pages<'a, T> + Send + 'static,
    message: impl Fn(Vec<T>) -> M + Send + 'static,
) -> Messages<M>
where
    S: Send + Sync + ?Sized + 'static,
    T: Send + 'static,
    M: Send + 'static,
{
    let (send, batches) = mpsc::channel(1);
    // The listing borrows the store, so both live in this future, which the reader itself drives.
    let reading = async move {
        let mut pages = list(&store);
        while let Some(page) = pages.next().await {
            if send.send(page).await.is_err() {
                break;
            }
        }
    };
    let reading = stream::once(reading).filter_map(|()| future::ready(None));
    let messages = stream::select(ReceiverStream::new(batches), reading)
        .filter(|page| future::ready(page.as_ref().map_or(true, |rows| !rows.is_empty())))
        .map(move |page| page.map(&message).map_err(status));
    messages.boxed()
}
