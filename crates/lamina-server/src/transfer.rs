//! Transfers: pulls and pushes, archives in and out, and a new name for an image that is here.
//!
//! `lamina-image` does the work, over the stores; here it is put together from what a client asks,
//! and what it says on the way is put into the words that clients know.

mod archive;
mod board;
mod bytes;
mod credentials;
mod defaults;
mod pull;
mod push;
mod records;
mod told;

use std::fmt;
use std::sync::Arc;

use lamina_core::oci;
use lamina_core::transfer::{Destination, Source, TransferOptions};
use lamina_core::{Error, Result, Scope, Transfer};
use lamina_image::pull::Flights;
use lamina_image::registry::{Config, Registry};
use lamina_store::Store;

use crate::config;

pub(crate) use board::Board;
pub(crate) use bytes::{Outgoing, incoming};
pub(crate) use credentials::FromStream;
use defaults::Defaults;

/// Where `hosts.toml` files lie when nothing else is configured, as containerd has it.
const HOSTS_DIRS: [&str; 2] = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];

/// What all transfers of a daemon share: connections, and what is under way.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    registry: Registry,
    flights: Arc<Flights>,
    /// Layers that one pull may download at once.
    downloads: usize,
    /// Blobs that one push may upload at once.
    uploads: usize,
    /// What manifests, indexes and configs may have.
    documents: oci::Limits,
    defaults: Arc<Defaults>,
}

impl Shared {
    /// Nothing under way; registries are reached through the proxies of the environment, and held to
    /// `limits`.
    ///
    /// # Errors
    /// InvalidArgument for a proxy that cannot be used.
    pub(crate) fn new(all: &config::Config) -> Result<Shared> {
        let (settings, limits) = (&all.transfer, &all.limits);
        let hosts_dirs = match &settings.config_path {
            Some(list) => std::env::split_paths(list).collect(),
            None => HOSTS_DIRS.map(Into::into).to_vec(),
        };
        let config = Config {
            hosts_dirs,
            proxies: pull::proxies(),
            limits: limits.registry.clone(),
            ..Config::default()
        };
        Ok(Shared {
            registry: Registry::new(config)?,
            flights: Flights::new(),
            downloads: settings.max_concurrent_downloads,
            uploads: settings.max_concurrent_uploaded_layers,
            documents: limits.documents,
            defaults: Arc::new(Defaults::new(all)),
        })
    }
}

/// Transfers from and to one namespace.
pub(crate) struct Transfers {
    pub(crate) store: Store,
    pub(crate) shared: Shared,
    pub(crate) scope: Scope,
}

#[tonic::async_trait]
impl Transfer for Transfers {
    async fn transfer(
        &self,
        source: Source,
        destination: Destination,
        options: TransferOptions,
    ) -> Result<()> {
        let progress = options.progress;
        match (source, destination) {
            (Source::Registry(from), Destination::Images(to)) => {
                self.pull(from, to, progress).await
            }
            (Source::Images(from), Destination::Images(to)) => self.tag(from, to).await,
            (Source::Images(from), Destination::Registry(to)) => {
                self.push(from, to, progress).await
            }
            (Source::Stream(from), Destination::Images(to)) => {
                self.import(from, to, progress).await
            }
            (Source::Images(from), Destination::Stream(to)) => {
                self.export(from, to, progress).await
            }
            _ => Err(Error::unimplemented(
                "transfer between these two ends: not implemented by this daemon",
            )),
        }
    }
}

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfers").field("scope", &self.scope).finish_non_exhaustive()
    }
}
