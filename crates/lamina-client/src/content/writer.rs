//! An ingest of a daemon: a stream of messages, one answer each.
//!
//! The daemon holds the ingest open for as long as the stream. A writer that is dropped ends the
//! stream, and the daemon answers that with its own end once the reference is free; whoever of this
//! client wants the reference next waits for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use lamina_api::convert::{field, timestamp};
use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_core::content::{CommitOptions, Status, WriteOptions};
use lamina_core::{ContentWriter, Digest, Error, Result};
use proto::WriteAction;
use proto::content_client::ContentClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::link::Link;

/// The most bytes of a message; far below the limit, and as much as a daemon writes at once.
const CHUNK: usize = 4 << 20;

type Answers = Streaming<proto::WriteContentResponse>;

/// Writers that were dropped and whose end the daemon has not confirmed, by namespace and reference.
#[derive(Clone, Default)]
pub(crate) struct Closing(Arc<Mutex<HashMap<(String, String), Answers>>>);

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}

impl Closing {
    fn add(&self, key: (String, String), answers: Answers) {
        let mut closing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        closing.retain(|_, answers| answers.message().now_or_never().is_none());
        closing.insert(key, answers);
    }

    /// Waits until the daemon has let go of the reference, if a writer of this client was dropped.
    pub(super) async fn wait(&self, link: &Link, reference: &str) {
        let key = (link.namespace().to_owned(), reference.to_owned());
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(mut answers) = answers {
            // An answer to what was sent before may come first; any end will do.
            while let Ok(Some(_)) = answers.message().await {}
        }
    }
}

/// An open ingest.
pub(super) struct Writer {
    link: Link,
    closing: Closing,
    /// Both are gone once the stream has ended.
    stream: Option<(mpsc::Sender<proto::WriteContentRequest>, Answers)>,
    status: Status,
    digest: Option<Digest>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) async fn open(
        link: Link,
        closing: Closing,
        reference: &str,
        options: WriteOptions,
    ) -> Result<Writer> {
        let stat = proto::WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            total: field::encode_size(options.total),
            expected: field::encode_optional_digest(options.expected.clone()),
            ..Default::default()
        };
        let (messages, queue) = mpsc::channel(1);
        // A daemon may answer the call only after the first message, so that goes first.
        messages.send(stat).await.map_err(|_| link.gone("the stream has ended"))?;
        let mut answers = ask!(link, ContentClient.write(ReceiverStream::new(queue)))?;
        let answer = next(&link, &mut answers).await?;
        let status = Status {
            reference: reference.to_owned(),
            offset: link.read(field::decode_size("offset", answer.offset))?,
            total: link.read(field::decode_size("total", answer.total))?,
            expected: options.expected,
            started: link.read(timestamp::decode("started_at", answer.started_at))?,
            updated: link.read(timestamp::decode("updated_at", answer.updated_at))?,
        };
        let digest = link.read(field::decode_optional_digest("digest", &answer.digest))?;
        Ok(Writer { link, closing, stream: Some((messages, answers)), status, digest })
    }

    /// Takes what the daemon tells of the ingest.
    pub(super) fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    /// Sends a message and takes its answer. After an error the stream has ended.
    async fn exchange(
        &mut self,
        message: proto::WriteContentRequest,
    ) -> Result<proto::WriteContentResponse> {
        let Some((messages, answers)) = &mut self.stream else {
            let reference = &self.status.reference;
            return Err(Error::failed_precondition(format!(
                "the ingest {reference:?} was closed by an earlier error"
            )));
        };
        // A stream that has ended says why where answers come.
        let _ = messages.send(message).await;
        let answer = next(&self.link, answers).await;
        match answer {
            Ok(answer) => {
                self.status.offset = self.link.read(field::decode_size("offset", answer.offset))?;
                self.digest =
                    self.link.read(field::decode_optional_digest("digest", &answer.digest))?;
                Ok(answer)
            }
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    async fn send(&mut self, offset: u64, data: Bytes) -> Result<()> {
        let message = proto::WriteContentRequest {
            action: WriteAction::Write.into(),
            offset: field::encode_size(offset),
            data,
            ..Default::default()
        };
        self.exchange(message).await?;
        self.status.updated = jiff::Timestamp::now();
        Ok(())
    }
}

async fn next(link: &Link, answers: &mut Answers) -> Result<proto::WriteContentResponse> {
    let answer = answers.message().await.map_err(|status| link.failed(&status))?;
    answer.ok_or_else(|| link.gone("the stream of an ingest has ended"))
}

#[async_trait]
impl ContentWriter for Writer {
    fn status(&self) -> Status {
        self.status.clone()
    }

    fn digest(&self) -> Option<Digest> {
        self.digest.clone()
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK));
            self.send(self.status.offset, chunk).await?;
        }
        Ok(())
    }

    /// # Errors
    /// As the trait's, and Unimplemented for a size between: the API can only begin again.
    async fn truncate(&mut self, size: u64) -> Result<()> {
        let (reference, offset) = (&self.status.reference, self.status.offset);
        if size > offset {
            return Err(Error::out_of_range(format!(
                "the ingest {reference:?} has {offset} bytes, fewer than {size}"
            )));
        }
        match size {
            _ if size == offset => Ok(()),
            0 => self.send(0, Bytes::new()).await,
            _ => Err(Error::unimplemented(format!(
                "shorten the ingest {reference:?} of a daemon to {size} bytes: only to 0"
            ))),
        }
    }

    async fn commit(mut self: Box<Self>, options: CommitOptions) -> Result<Digest> {
        let offset = self.status.offset;
        // A size of 0 says on the wire that it is not known.
        if options.size == Some(0) && offset > 0 {
            let reference = self.status.reference.clone();
            let (link, closing) = (self.link.clone(), self.closing.clone());
            drop(self);
            closing.wait(&link, &reference).await;
            let asked = proto::AbortRequest { r#ref: reference.clone() };
            ask!(link, ContentClient.abort(asked))?;
            return Err(Error::failed_precondition(format!(
                "the ingest {reference:?} has {offset} bytes instead of 0"
            )));
        }
        let message = proto::WriteContentRequest {
            action: WriteAction::Commit.into(),
            total: field::encode_size(options.size.unwrap_or_default()),
            expected: field::encode_optional_digest(options.expected),
            offset: field::encode_size(offset),
            labels: options.labels,
            ..Default::default()
        };
        let answer = self.exchange(message).await?;
        self.link.read(field::decode_digest("digest", &answer.digest))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without its sender the stream ends; the daemon says when it has seen that.
        if let Some((_, answers)) = self.stream.take() {
            let key = (self.link.namespace().to_owned(), self.status.reference.clone());
            self.closing.add(key, answers);
        }
    }
}
