//! Events of a daemon.

use futures_util::stream::{BoxStream, StreamExt as _};
use lamina_api::convert::{any, event, field};
use lamina_api::proto::containerd::services::events::v1 as proto;
use lamina_core::{Any, Envelope, Error, Filters, Result, Scope};
use prost::Message as _;
use proto::events_client::EventsClient;

use crate::Client;

/// Events as they come, until the daemon ends or the connection breaks.
pub type Events = BoxStream<'static, Result<Envelope>>;

/// An event as shims hand it to whoever publishes it for them: an encoded `google.protobuf.Any`.
///
/// # Errors
/// InvalidArgument for other bytes.
pub fn decode_event(bytes: &[u8]) -> Result<Any> {
    prost_types::Any::decode(bytes).map(any::decode).map_err(|error| {
        Error::invalid_argument("the event is no google.protobuf.Any").with_source(error)
    })
}

impl Client {
    /// What happens from now on in all namespaces, as far as `filters` match (`topic`, `namespace`,
    /// `event.…`). When this returns, the daemon has the subscription.
    ///
    /// # Errors
    /// Unavailable when the daemon has gone. An item is an error when the connection broke, or when the
    /// subscriber was too slow (ResourceExhausted); it is the last one.
    pub async fn events(&self, filters: &Filters) -> Result<Events> {
        let link = self.link().clone();
        let asked = proto::SubscribeRequest { filters: field::encode_filters(filters) };
        let envelopes = ask!(link, EventsClient.subscribe(asked))?;
        let read = move |envelope: Result<_, tonic::Status>| {
            let envelope = envelope.map_err(|status| link.failed(&status))?;
            link.read(event::decode_envelope(envelope))
        };
        Ok(envelopes.map(read).boxed())
    }

    /// Publishes an event in the namespace of `scope`.
    ///
    /// # Errors
    /// InvalidArgument for a topic that is none; Unavailable when the daemon has gone.
    pub async fn publish(&self, scope: &Scope, topic: &str, event: Any) -> Result<()> {
        let asked =
            proto::PublishRequest { topic: topic.to_owned(), event: Some(any::encode(event)) };
        ask!(self.link().scoped(scope), EventsClient.publish(asked))
    }
}
