//! What the daemon counts, in the text that Prometheus reads.
//!
//! Names are containerd's where it has them (`grpc_server_handled_total`,
//! `containerd_gc_collections_total`, `process_open_fds`); ours begin with `lamina_`. What others
//! count already (the database, the hub, the kernel) is read when somebody asks.

mod calls;
mod collections;
mod endpoint;
mod now;
mod process;

use std::sync::Arc;

use lamina_core::{Error, Result};
use lamina_store::Store;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::events::Hub;

pub(crate) use calls::Calls;
pub(crate) use collections::Collections;
pub(crate) use endpoint::{listen, serve};

/// Everything that is counted.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Of gRPC.
    pub(crate) calls: Calls,
    /// Of the collector.
    pub(crate) collections: Collections,
    registry: Arc<Registry>,
}

impl Metrics {
    /// # Errors
    /// Internal when the descriptions of the services cannot be read.
    pub(crate) fn new(store: &Store, events: &Arc<Hub>) -> Result<Metrics> {
        let mut registry = Registry::default();
        let calls = Calls::new(&mut registry)?;
        let collections = Collections::new(&mut registry);
        registry.register_collector(Box::new(now::Now::new(store, events)));
        Ok(Metrics { calls, collections, registry: Arc::new(registry) })
    }

    /// All of it, in the text format of OpenMetrics.
    ///
    /// # Errors
    /// Internal when it cannot be written as text.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry)
            .map_err(|error| Error::internal("write the metrics").with_source(error))?;
        Ok(text)
    }
}
