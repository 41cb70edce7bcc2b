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

/// Bytes of rows in a message, unless one row has more. Clients that were not told of larger messages
/// take 4 MiB, in every gRPC library.
const BATCH: usize = 3 << 20;

/// A listing of `store` that owns it: a batch is a message, or several if its rows are large, and the
/// next batch is read once the one before it was taken. Batches without rows are not sent.
pub(super) fn messages<S, T, R, M>(
    store: Arc<S>,
    list: impl for<'a> FnOnce(&'a S) -> Pages<'a, T> + Send + 'static,
    row: impl Fn(T) -> R + Send + 'static,
    message: impl Fn(Vec<R>) -> M + Send + 'static,
) -> Messages<M>
where
    S: Send + Sync + ?Sized + 'static,
    T: Send + 'static,
    R: prost::Message + Send + 'static,
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
    let messages = stream::select(ReceiverStream::new(batches), reading).flat_map(move |page| {
        let messages = match page {
            Ok(rows) => {
                let batches = batches_of(rows.into_iter().map(&row), BATCH);
                batches.into_iter().map(|rows| Ok(message(rows))).collect()
            }
            Err(error) => vec![Err(status(error))],
        };
        stream::iter(messages)
    });
    messages.boxed()
}

/// Rows in their order, in batches of at most so many bytes; a larger row is one by itself.
fn batches_of<R: prost::Message>(rows: impl Iterator<Item = R>, most: usize) -> Vec<Vec<R>> {
    let mut batches: Vec<Vec<R>> = Vec::new();
    let mut left = 0;
    for row in rows {
        let size = row.encoded_len();
        match batches.last_mut() {
            Some(batch) if size <= left => {
                left -= size;
                batch.push(row);
            }
            _ => {
                left = most.saturating_sub(size);
                batches.push(vec![row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::batches_of;

    #[test]
    fn batches_are_as_large_as_they_may_be() {
        // Encoded, a text has two bytes more.
        let sizes = |texts: &[usize]| {
            let batches = batches_of(texts.iter().map(|size| "x".repeat(*size)), 20);
            batches.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[8, 8, 8, 8, 8]), [2, 2, 1]);
        assert_eq!(sizes(&[8, 9, 100, 1]), [1, 1, 1, 1]);
        assert_eq!(sizes(&[100]), [1]);
    }
}
