//! The face of the registry client: a [`Registry`] for a process, a [`Repository`] for a pull.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lamina_core::credentials::Credentials;
use lamina_core::{Descriptor, Digest, Error, Kind, Reference, Result};

use super::blob::Blob;
use super::config::{Config, Ranges};
use super::host::{Host, Use};
use super::hosts;
use super::transport::Transport;
use super::{document, resolve};

/// Talks to registries. Holds connections and TLS state, no credentials and no tokens; a clone is the
/// same one.
#[derive(Clone, Debug)]
pub struct Registry {
    config: Arc<Config>,
    transport: Arc<Transport>,
}

impl Registry {
    /// A client with `config`. Opens no connection.
    ///
    /// # Errors
    /// InvalidArgument for a proxy that cannot be used.
    pub fn new(config: Config) -> Result<Registry> {
        let transport = Arc::new(Transport::new(&config)?);
        Ok(Registry { config: Arc::new(config), transport })
    }

    /// The same client with other settings of hosts, for one request of one user: `hosts_dirs`,
    /// `plain_http`, `skip_verify`, `headers` and `ranges` may be changed. Connections are shared, so
    /// changes of anything else have no effect.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Config)) -> Registry {
        let mut config = Config::clone(&self.config);
        change(&mut config);
        Registry { config: Arc::new(config), transport: Arc::clone(&self.transport) }
    }

    /// The repository that `reference` is in, through its configured hosts. Their files are read anew
    /// each time, so that changes need no restart. Credentials, and tokens got with them, live and
    /// die with the result.
    ///
    /// # Errors
    /// InvalidArgument or FailedPrecondition for a `hosts.toml` or certificate that cannot be used.
    pub async fn repository(
        &self,
        reference: &Reference,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Repository> {
        self.open(reference, credentials, Use::Pull).await
    }

    /// [`repository`](Self::repository), to push to.
    ///
    /// # Errors
    /// As [`repository`](Self::repository).
    pub async fn destination(
        &self,
        reference: &Reference,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Repository> {
        self.open(reference, credentials, Use::Push).await
    }

    async fn open(
        &self,
        reference: &Reference,
        credentials: Arc<dyn Credentials>,
        used: Use,
    ) -> Result<Repository> {
        let (domain, config) = (reference.domain().to_owned(), Arc::clone(&self.config));
        let (endpoints, warnings) =
            tokio::task::spawn_blocking(move || hosts::load(&domain, &config)).await.map_err(
                |error| Error::internal("reading the hosts of a registry died").with_source(error),
            )??;
        let host = |endpoint| Host::new(endpoint, reference, Arc::clone(&credentials), used);
        Ok(Repository {
            registry: self.clone(),
            shared: Arc::new(Shared {
                reference: reference.clone(),
                hosts: endpoints.into_iter().map(host).collect(),
                warnings,
                seen: Mutex::default(),
            }),
        })
    }
}

/// The images of one name, as one user sees them. A clone shares hosts and tokens.
#[derive(Clone)]
pub struct Repository {
    registry: Registry,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reference: Reference,
    hosts: Vec<Host>,
    warnings: Vec<String>,
    /// The document that resolving had to fetch, so that it is not fetched twice.
    seen: Mutex<Option<(Digest, Bytes)>>,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("reference", &self.shared.reference)
            .field("hosts", &self.hosts().iter().map(Host::name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// What it was opened for.
    pub fn reference(&self) -> &Reference {
        &self.shared.reference
    }

    /// What is odd about the configuration of its hosts: unknown keys, settings without effect.
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// What the reference's digest, or else its tag, stands for: a manifest or an index.
    ///
    /// By tag, only hosts trusted to resolve are asked, in order. The digest of a tag is the
    /// registry's word; the content is checked against it when it is fetched.
    ///
    /// # Errors
    /// NotFound, Unauthenticated, PermissionDenied, Unavailable, ResourceExhausted (429) as the
    /// registry answers; Unimplemented for a schema 1 manifest or a type that is not known;
    /// FailedPrecondition for a web page, or content that is not of its digest.
    pub async fn resolve(&self) -> Result<Descriptor> {
        let (descriptor, body) = resolve::resolve(self).await?;
        if let Some(body) = body {
            *self.seen() = Some((descriptor.digest.clone(), body));
        }
        Ok(descriptor)
    }

    /// The raw bytes of a manifest or index, of exactly the descriptor's size and digest.
    ///
    /// # Errors
    /// As [`resolve`](Repository::resolve); ResourceExhausted when it is larger than the configured
    /// limit; FailedPrecondition when its size, digest or `mediaType` is not what the descriptor says.
    pub async fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes> {
        if let Some((digest, body)) = &*self.seen()
            && *digest == descriptor.digest
            && body.len() as u64 == descriptor.size
        {
            return document::checked(body.clone(), None, descriptor, "the resolved manifest");
        }
        document::manifest(self, descriptor).await
    }

    /// A small blob (an image config) whole, of exactly the descriptor's size and digest, and at most
    /// `limit` bytes.
    ///
    /// # Errors
    /// As [`manifest`](Repository::manifest).
    pub async fn document(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        document::small_blob(self, descriptor, limit).await
    }

    /// The bytes of a blob from `offset` on. Exactly `size - offset` of them come, or an error; their
    /// digest is the caller's to check, who may have hashed what lies before `offset`.
    ///
    /// # Errors
    /// OutOfRange for an offset behind the end, else as [`manifest`](Repository::manifest). Errors of
    /// a host come here only when no other host could be used.
    pub async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Blob> {
        Blob::open(self.clone(), descriptor.clone(), offset).await
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.registry.transport
    }

    pub(super) fn ranges(&self) -> Option<Ranges> {
        self.registry.config.ranges
    }

    pub(super) fn hosts(&self) -> &[Host] {
        &self.shared.hosts
    }

    /// Asks the `hosts` one after the other until one delivers.
    ///
    /// # Errors
    /// The last host's, which is the registry itself if there are mirrors, with what the others said;
    /// FailedPrecondition when there is none.
    pub(super) async fn first<'a, T, F>(
        &'a self,
        what: &str,
        hosts: impl Iterator<Item = &'a Host>,
        mut ask: impl FnMut(&'a Host) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut failures = Failures::default();
        for host in hosts {
            match ask(host).await {
                Ok(found) => return Ok(found),
                Err(error) => failures.push(host.name(), error),
            }
        }
        Err(failures.into_error(&format!("{}: {what}", self.reference().name())))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<(Digest, Bytes)>> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went wrong at each host.
#[derive(Debug, Default)]
pub(super) struct Failures {
    all: Vec<(String, Error)>,
}

impl Failures {
    pub(super) fn push(&mut self, host: String, error: Error) {
        tracing::debug!(host, error = error.chain(), "host does not deliver");
        self.all.push((host, error));
    }

    /// One error for all: the last, and what went before it in its message.
    pub(super) fn into_error(mut self, what: &str) -> Error {
        let Some((_, last)) = self.all.pop() else {
            return Error::new(
                Kind::FailedPrecondition,
                format!("{what}: no configured host may be used for this"),
            );
        };
        if self.all.is_empty() {
            return last.context(what);
        }
        let others: Vec<_> =
            self.all.iter().map(|(host, error)| format!("{host}: {}", error.chain())).collect();
        last.context(format!("{what} (before: {})", others.join("; ")))
    }
}
