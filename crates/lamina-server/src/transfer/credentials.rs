//! Credentials of a client, asked for on a stream that it opened for that.

use std::time::Duration;

use lamina_api::convert::{any, transfer};
use lamina_api::proto::containerd::types::transfer as proto;
use lamina_core::credentials::{Credential, CredentialRequest, Credentials};
use lamina_core::{Error, Kind, Result};
use tokio::sync::Mutex;

use crate::streams::Stream;

/// How long a client may take for an answer. Others may wait for the same layer.
const ANSWER: Duration = Duration::from_secs(60);

/// Asks the client at the other end.
#[derive(Debug)]
pub(crate) struct FromStream(Mutex<Option<Stream>>);

impl FromStream {
    pub(crate) fn new(stream: Stream) -> Self {
        FromStream(Mutex::new(Some(stream)))
    }
}

#[tonic::async_trait]
impl Credentials for FromStream {
    async fn get(&self, request: &CredentialRequest) -> Result<Option<Credential>> {
        let mut slot = self.0.lock().await;
        // Gone while the question is open: a late answer must not be taken for the next one's.
        let Some(mut stream) = slot.take() else {
            return Err(Error::unauthenticated("the stream of credentials has ended"));
        };
        let asked = any::pack(&transfer::encode_credential_request(request.clone()));
        let ask = async {
            stream.send(asked).await?;
            stream.receive().await
        };
        let answer = tokio::time::timeout(ANSWER, ask).await.map_err(|_| {
            Error::new(
                Kind::DeadlineExceeded,
                format!("the client gave no credential in {ANSWER:?}"),
            )
        })??;
        let answer = answer.ok_or_else(|| {
            Error::unauthenticated("the client ended the stream of credentials without an answer")
        })?;
        *slot = Some(stream);
        let answer: proto::AuthResponse = any::unpack("the answer to AuthRequest", &answer)?;
        transfer::decode_credential(answer)
    }
}
