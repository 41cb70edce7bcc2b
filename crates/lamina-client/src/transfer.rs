//! Transfers that a daemon does. What it says on the way, and what it asks, comes on streams that are
//! polled beside the call; a caller that drops the call drops all of it, and the daemon stops.

mod bytes;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lamina_api::convert::{any, platform, transfer as convert};
use lamina_api::proto::containerd::services::transfer::v1 as proto;
use lamina_api::proto::containerd::types::transfer as ends;
use lamina_core::credentials::Credentials;
use lamina_core::transfer::{
    ByteSink, ByteStream, Destination, ImportStream, ProgressSink, RegistryEnd, Source,
    TransferOptions,
};
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
        let (source, destination, mut side) = packed(&self.0, source, destination).await?;
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
        let mut call = pin!(async { ask!(self.0, TransferClient.transfer(asked)) });
        let mut telling = pin!(async {
            if let Some((sink, words)) = options.progress.zip(words) {
                tell(words, &*sink).await;
            }
        });
        let mut told = false;
        let done = {
            let takes = matches!(side, Side::Takes(..));
            let (mut beside, mut over) = (pin!(side.run()), false);
            let done = loop {
                tokio::select! {
                    done = &mut call => break done,
                    ended = &mut beside, if !over => match ended {
                        Ok(()) => over = true,
                        Err(error) => break Err(error),
                    },
                    () = &mut telling, if !told => told = true,
                }
            };
            match done {
                // The answer may overtake the end of an archive.
                Ok(()) if takes && !over => beside.await,
                done => done,
            }
        };
        if !told {
            // What does not come in time is missed; the answer stands.
            let _ = tokio::time::timeout(LAST_WORDS, telling).await;
        }
        done?;
        side.finish().await
    }
}

/// What a transfer needs of this side while it is called.
enum Side {
    Nothing,
    Answers(Stream, Arc<dyn Credentials>),
    Sends(Stream, ByteStream),
    Takes(Stream, Box<dyn ByteSink>),
}

impl Side {
    /// Works until it has no more to do, or for as long as the call lasts.
    async fn run(&mut self) -> Result<()> {
        match self {
            Side::Nothing => std::future::pending().await,
            Side::Answers(questions, credentials) => Err(answer(questions, &**credentials).await),
            Side::Sends(stream, archive) => bytes::send(stream, archive).await,
            Side::Takes(stream, sink) => bytes::take(stream, &mut **sink).await,
        }
    }

    /// The call has succeeded.
    async fn finish(self) -> Result<()> {
        match self {
            Side::Takes(_, sink) => sink.finish().await,
            _ => Ok(()),
        }
    }
}

/// Both ends in the API's form, and what this side does meanwhile. Of two ends that need it the second
/// gets it: there is no such transfer, as the daemon will say.
async fn packed(link: &Link, from: Source, to: Destination) -> Result<(Any, Any, Side)> {
    let mut side = Side::Nothing;
    let from = match from {
        Source::Registry(end) => registry(link, end, &mut side).await?,
        Source::Images(images) => any::pack(&convert::encode_stored_images(images)),
        Source::Stream(ImportStream { bytes, media_type, force_compress }) => {
            let stream = Stream::open(link).await?;
            let id = stream.id().to_owned();
            side = Side::Sends(stream, bytes);
            any::pack(&ends::ImageImportStream { stream: id, media_type, force_compress })
        }
    };
    let to = match to {
        Destination::Registry(end) => registry(link, end, &mut side).await?,
        Destination::Images(images) => any::pack(&convert::encode_new_images(images)),
        Destination::Stream(to) => {
            let stream = Stream::open(link).await?;
            let end = ends::ImageExportStream {
                stream: stream.id().to_owned(),
                media_type: to.media_type,
                platforms: platform::encode_all(to.platforms),
                all_platforms: to.all_platforms,
                skip_compatibility_manifest: to.skip_docker_manifest,
                skip_non_distributable: to.skip_non_distributable,
            };
            side = Side::Takes(stream, to.bytes);
            any::pack(&end)
        }
    };
    Ok((from, to, side))
}

async fn registry(link: &Link, end: RegistryEnd, side: &mut Side) -> Result<Any> {
    let stream = Stream::open(link).await?;
    let packed = any::pack(&convert::encode_registry(&end, stream.id().to_owned()));
    *side = Side::Answers(stream, end.credentials);
    Ok(packed)
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
async fn answer(questions: &mut Stream, credentials: &dyn Credentials) -> Error {
    loop {
        match answer_next(questions, credentials).await {
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
