//! Content.Write: an ingest over a stream, one answer a message.
//!
//! The stream holds the ingest's writer. Whoever drops the stream, because the client is done or has
//! vanished, lets go of the writer with it, and the next client goes on where this one was.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use lamina_api::convert::{field, timestamp};
use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_core::content::{CommitOptions, ContentStore, ContentWriter, WriteOptions};
use lamina_core::{Digest, Error, Result};
use proto::WriteAction;
use tonic::{Status, Streaming};

use crate::service::pages::Messages;
use crate::service::status;

/// The answers to what a client sends.
pub(super) fn answers(
    store: Arc<dyn ContentStore>,
    messages: Streaming<proto::WriteContentRequest>,
) -> Messages<proto::WriteContentResponse> {
    let session = Session { store, messages, ingest: None, committed: false };
    stream::try_unfold(session, Session::next).boxed()
}

/// One call of Write.
struct Session {
    store: Arc<dyn ContentStore>,
    messages: Streaming<proto::WriteContentRequest>,
    ingest: Option<Ingest>,
    committed: bool,
}

/// The ingest that the first message opened.
struct Ingest {
    writer: Box<dyn ContentWriter>,
    /// What the client last said of them.
    total: u64,
    expected: Option<Digest>,
}

impl Session {
    async fn next(mut self) -> Result<Option<(proto::WriteContentResponse, Session)>, Status> {
        if self.committed {
            return Ok(None);
        }
        let Some(message) = self.messages.message().await? else { return Ok(None) };
        let answer = self.handle(message).await.map_err(status)?;
        Ok(Some((answer, self)))
    }

    async fn handle(
        &mut self,
        message: proto::WriteContentRequest,
    ) -> Result<proto::WriteContentResponse> {
        let action = WriteAction::try_from(message.action).map_err(|_| {
            Error::invalid_argument(format!("there is no write action {}", message.action))
        })?;
        let expected = field::decode_optional_digest("expected", &message.expected)?;
        let total = field::decode_size("total", message.total)?;
        let offset = field::decode_size("offset", message.offset)?;
        let mut ingest = match self.ingest.take() {
            Some(ingest) => ingest.expecting(&*self.store, total, expected).await?,
            None => Ingest::open(&*self.store, &message.r#ref, total, expected).await?,
        };
        if action != WriteAction::Stat {
            ingest.write(offset, message.data).await?;
        }
        if action == WriteAction::Commit {
            self.committed = true;
            return ingest.commit(message.labels).await;
        }
        let answer = ingest.answer(action);
        self.ingest = Some(ingest);
        Ok(answer)
    }
}

impl Ingest {
    async fn open(
        store: &dyn ContentStore,
        reference: &str,
        total: u64,
        expected: Option<Digest>,
    ) -> Result<Ingest> {
        if reference.is_empty() {
            return Err(Error::invalid_argument("the first message must have a reference"));
        }
        let options = WriteOptions { expected: expected.clone(), total };
        let writer = store.writer(reference, options).await?;
        Ok(Ingest { writer, total, expected })
    }

    /// Takes what a later message says.
    async fn expecting(
        mut self,
        store: &dyn ContentStore,
        total: u64,
        expected: Option<Digest>,
    ) -> Result<Ingest> {
        if total > 0 {
            self.total = total;
        }
        let Some(expected) = expected else { return Ok(self) };
        match store.info(&expected).await {
            Err(error) if error.is_not_found() => {
                self.expected = Some(expected);
                Ok(self)
            }
            Err(error) => Err(error),
            // It came here meanwhile. Opening says so, gives it to the lease and drops the ingest.
            Ok(_) => {
                let reference = self.writer.status().reference;
                drop(self.writer);
                Ingest::open(store, &reference, self.total, Some(expected)).await
            }
        }
    }

    /// Appends at `offset`, which is where the ingest ends. Offset 0 begins again.
    async fn write(&mut self, offset: u64, data: bytes::Bytes) -> Result<()> {
        let at = self.writer.status().offset;
        if offset != at {
            if offset != 0 {
                return Err(Error::out_of_range(format!(
                    "a write at offset {offset} must be at the current offset {at}"
                )));
            }
            self.writer.truncate(0).await?;
        }
        if data.is_empty() { Ok(()) } else { self.writer.write(data).await }
    }

    async fn commit(self, labels: lamina_core::Labels) -> Result<proto::WriteContentResponse> {
        let mut answer = self.answer(WriteAction::Commit);
        let size = (self.total > 0).then_some(self.total);
        let options = CommitOptions { size, expected: self.expected, labels };
        answer.digest = self.writer.commit(options).await?.to_string();
        Ok(answer)
    }

    fn answer(&self, action: WriteAction) -> proto::WriteContentResponse {
        let now = self.writer.status();
        let mut answer = proto::WriteContentResponse {
            action: action.into(),
            offset: field::encode_size(now.offset),
            digest: field::encode_optional_digest(self.writer.digest()),
            ..Default::default()
        };
        if action == WriteAction::Stat {
            answer.started_at = Some(timestamp::encode(now.started));
            answer.updated_at = Some(timestamp::encode(now.updated));
            answer.total = field::encode_size(if self.total > 0 { self.total } else { now.total });
        }
        answer
    }
}
