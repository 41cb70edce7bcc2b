//! Events of a daemon.

use futures_util::stream::{BoxStream, StreamExt as _};
use lamina_api::convert::{event, field};
use lamina_api::proto::containerd::services::events::v1 as proto;
use lamina_core::{Envelope, Filters, Result};
use proto::events_client::EventsClient;

use crate::Client;

/// Events as they come, until the daemon ends or the connection breaks.
pub type Events = BoxStream<'static, Result<Envelope>>;

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
}
