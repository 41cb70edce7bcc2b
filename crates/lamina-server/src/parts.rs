//! What the services work with: made once, by the daemon, and handed to each.

use std::sync::Arc;

use lamina_core::introspection::Introspection;
use lamina_runtime::Runtime;
use lamina_store::Store;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::differs::Differs;
use crate::events::Hub;
use crate::streams::Streams;
use crate::transfer;

/// The parts of a daemon. Clones are the same parts.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// What the daemon goes by.
    pub(crate) config: Arc<Config>,
    /// What the daemon is made of.
    pub(crate) introspection: Arc<dyn Introspection>,
    /// The state of this host.
    pub(crate) store: Store,
    /// The containers that run on this host.
    pub(crate) runtime: Runtime,
    /// Who lays layers down.
    pub(crate) differs: Differs,
    /// Where events go through.
    pub(crate) events: Arc<Hub>,
    /// What clients have opened beside their calls.
    pub(crate) streams: Streams,
    /// What transfers share.
    pub(crate) transfer: transfer::Shared,
    /// Cancelled when the daemon begins to stop: streams without an end of their own end then.
    pub(crate) stopping: CancellationToken,
}
