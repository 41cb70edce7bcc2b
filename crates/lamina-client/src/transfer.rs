//! Transfers that a daemon does. What it says on the way, and what it asks, comes on streams that are
//! polled beside the call; a caller that drops the call drops all of it, and the daemon stops.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use lamina_api::convert::{any, transfer as convert};
use lamina_api::proto::containerd::services::transfer::v1 as proto;
use lamina_api::proto::containerd::types::transfer as ends;
use lamina_core::credentials::Credentials;
use lamina_core::transfer::{Destination, ProgressSink, RegistryEnd, Source, TransferOptions};
use lamina_core::{Error, Result, Transfer};
use prost_types::Any;
use proto::transfer_client::TransferClient;

use crate::link::Link;
use crate::streams::Stream;

/// How long the last words may be behind the answer. Our daemon ends the stream at once; containerd
/// leaves it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Transfers(pub(crate) Link);

#[async_trait]
impl Transfer for Transfers {
    async fn transfer(
        &self,
        source: Source,
        destination: Destination,
        options: TransferOptions,
    ) -> Result<()> {
        let registry = match (&source, &destination) {
            (Source::Registry(end), _) | (_, Destination::Registry(end)) => Some(end),
            _ => None,
        };
        let questions = match registry {
            Some(_) => Some(Stream::open(&self.0).await?),
            None => None,
        };
        let credentials = registry.map(|end| end.credentials.clone());
        let auth = questions.as_ref().map_or("", Stream::id).to_owned();
        let (source, destination) = (from(source, &auth)?, to(destination, &auth)?);
        let words = match options.progress {
            Some(_) => Some(Stream::open(&self.0).await?),
            None => None,
        };
        let asked = proto::TransferRequest {
            source: Some(source),
            destination: Some(destination),
            options: Some(proto::TransferOptions {
                progress_stream: words.as_ref().map_or("", Stream::id).to_owned(),
            }),
        };
        let call = async { ask!(self.0, TransferClient.transfer(asked)) };
        let answering = async {
            match credentials.zip(questions) {
                Some((credentials, questions)) => answer(questions, &*credentials).await,
                None => std::future::pending().await,
            }
        };
        let mut telling = pin!(async {
            if let Some((sink, words)) = options.progress.zip(words) {
                tell(words, &*sink).await;
            }
        });
        let mut told = false;
        let (mut call, mut answering) = (pin!(call), pin!(answering));
        let done = loop {
            tokio::select! {
                done = &mut call => break done,
                error = &mut answering => break Err(error),
                () = &mut telling, if !told => told = true,
            }
        };
        if !told {
            // What does not come in time is missed; the answer stands.
            let _ = tokio::time::timeout(LAST_WORDS, telling).await;
        }
        done
    }
}

fn from(source: Source, auth: &str) -> Result<Any> {
    Ok(match source {
        Source::Registry(end) => registry(&end, auth),
        Source::Images(images) => any::pack(&convert::encode_stored_images(images)),
        Source::Stream(_) => return Err(no_bytes("import")),
    })
}

fn to(destination: Destination, auth: &str) -> Result<Any> {
    Ok(match destination {
        Destination::Registry(end) => registry(&end, auth),
        Destination::Images(images) => any::pack(&convert::encode_new_images(images)),
        Destination::Stream(_) => return Err(no_bytes("export")),
    })
}

fn registry(end: &RegistryEnd, auth: &str) -> Any {
    any::pack(&convert::encode_registry(end, auth.to_owned()))
}

fn no_bytes(what: &str) -> Error {
    Error::unimplemented(format!("{what} through a daemon is not implemented by this client"))
}

/// Hands what the daemon says to `sink`, until it says no more.
async fn tell(mut words: Stream, sink: &dyn ProgressSink) {
    // Without its words a transfer goes on. If the connection broke, the call says so.
    while let Ok(Some(word)) = words.receive().await {
        // What is said in a form that is not known is no reason to stop a transfer.
        let word = any::unpack::<ends::Progress>("progress", &word);
        if let Ok(word) = word.and_then(convert::decode_progress) {
            sink.send(word);
        }
    }
}

/// Answers what the daemon asks for, for as long as it asks. Returns only an error: that of the
/// credentials is the user's to see, and the API has no answer that carries it.
async fn answer(mut questions: Stream, credentials: &dyn Credentials) -> Error {
    loop {
        match answer_next(&mut questions, credentials).await {
            Ok(true) => {}
            // Nothing is asked any more. What went wrong with the connection, the call says.
            Ok(false) => std::future::pending().await,
            Err(error) => return error,
        }
    }
}

async fn answer_next(questions: &mut Stream, credentials: &dyn Credentials) -> Result<bool> {
    let Ok(Some(question)) = questions.receive().await else { return Ok(false) };
    let question: ends::AuthRequest = any::unpack("the question for credentials", &question)?;
    let found = credentials.get(&convert::decode_credential_request(question)).await?;
    let answer = any::pack(&convert::encode_credential(found));
    Ok(questions.send(answer).await.is_ok())
}
