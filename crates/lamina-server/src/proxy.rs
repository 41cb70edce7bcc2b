//! `[proxy_plugins]`: snapshotters of other processes, as the store uses them.

use std::sync::Arc;

use lamina_client::Client;
use lamina_core::{Host as _, Result};
use lamina_store::snapshot::Source;
use lamina_store::snapshot::remote::RemoteSource;
use tokio::runtime::Handle;

use crate::config::Config;
use crate::plugin::SNAPSHOTTER;

/// The proxies that are snapshotters, and are not disabled. They are connected to when they are first
/// used; calls of them run on the runtime that this is called in.
///
/// # Errors
/// InvalidArgument for an address that no socket has.
pub(crate) fn snapshotters(config: &Config, built_in: &[Source]) -> Result<Vec<RemoteSource>> {
    let used = config.proxies.iter().filter(|(name, proxy)| {
        proxy.refused(name, built_in).is_none() && !config.disables(SNAPSHOTTER, name)
    });
    used.map(|(name, proxy)| {
        let client = Client::connect_lazily(&proxy.address)
            .map_err(|error| error.context(format!("proxy snapshotter {name}")))?;
        let snapshotter = name.clone();
        Ok(RemoteSource {
            name: name.clone(),
            capabilities: proxy.can(),
            annotations: proxy.wants_annotations(),
            runtime: Handle::current(),
            connect: Arc::new(move |scope| client.snapshotter(scope, &snapshotter)),
        })
    })
    .collect()
}
