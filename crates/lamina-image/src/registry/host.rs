//! One host in use for one reference: builds its URLs, authenticates, and settles whether it speaks
//! TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lamina_core::credentials::{CredentialRequest, Credentials};
use lamina_core::{Error, Kind, Reference, Result};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use url::Url;

use super::answer::Answer;
use super::auth::{Attempt, Authorizer, unauthenticated};
use super::clients::Reach;
use super::hosts::Endpoint;
use super::hosts_toml::Capabilities;
use super::origin::Origin;
use super::transport::{Failure, Outgoing, Transport};

/// A host with the state of talking to it.
#[derive(Debug)]
pub(super) struct Host {
    endpoint: Endpoint,
    repository: String,
    auth: Authorizer,
    /// Set once the host turned out not to speak TLS.
    plain: AtomicBool,
}

/// What is asked of a host.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Behind the repository: `manifests/latest`, `blobs/sha256:…`.
    pub(super) path: &'a str,
    /// Nothing secret.
    pub(super) headers: HeaderMap,
    /// See [`Outgoing::persist`].
    pub(super) persist: bool,
}

impl Host {
    pub(super) fn new(
        endpoint: Endpoint,
        reference: &Reference,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        let request = CredentialRequest {
            host: endpoint.host(),
            encrypted: true,
            reference: reference.to_string(),
        };
        let repository = reference.repository().to_owned();
        let scope = format!("repository:{repository}:pull");
        Host {
            auth: Authorizer::new(credentials, request, scope),
            endpoint,
            repository,
            plain: AtomicBool::new(false),
        }
    }

    /// `host[:port]`, for messages and labels.
    pub(super) fn name(&self) -> String {
        self.endpoint.host()
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.endpoint.capabilities
    }

    pub(super) fn is_loopback(&self) -> bool {
        Origin::of(&self.endpoint.base).is_some_and(|origin| origin.is_loopback())
    }

    /// Sends a request and answers its demands for authentication. The answer may be a refusal of any
    /// other kind.
    ///
    /// # Errors
    /// Unauthenticated with the registry's message when nothing satisfies it; Unavailable when it
    /// cannot be reached; FailedPrecondition or PermissionDenied for redirects that may not be
    /// followed.
    pub(super) async fn send(&self, transport: &Transport, ask: &Ask<'_>) -> Result<Answer> {
        let mut attempt = Attempt::default();
        loop {
            let (url, origin) = self.url(ask.path)?;
            let tokens = (transport, &self.endpoint.trust, &origin);
            let mut private = self.endpoint.headers.clone();
            let used = self.auth.header(&origin, &tokens).await?;
            if let Some(header) = &used {
                private.insert(AUTHORIZATION, header.clone());
            }
            let outgoing = Outgoing {
                method: ask.method.clone(),
                url,
                headers: ask.headers.clone(),
                private,
                body: None,
                trust: &self.endpoint.trust,
                reach: Reach::Any,
                persist: ask.persist,
                maybe_plain: self.endpoint.plain_fallback && !self.plain.load(Ordering::Relaxed),
            };
            let answer = match transport.exchange(&outgoing).await {
                Ok(answer) => answer,
                Err(Failure::NotTls(error)) => {
                    // By what was sent: another request may have found out in the meantime.
                    if !self.endpoint.plain_fallback || !origin.is_https() {
                        return Err(error);
                    }
                    self.plain.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(failure) => return Err(failure.into_error()),
            };
            // A stranger's 401 is none of our business: it gets no credential (CVE-2020-15157).
            if answer.status().as_u16() != 401 || answer.left() {
                return Ok(answer);
            }
            let again = self
                .auth
                .refused(answer.headers(), used.as_ref(), &mut attempt, &origin, &tokens)
                .await
                .map_err(|error| error.context(answer.place()))?;
            if !again {
                let said = transport.error(answer).await;
                return Err(unauthenticated(format!(
                    "{} refused {}",
                    self.name(),
                    if used.is_some() {
                        "the credential"
                    } else {
                        "to answer without a credential"
                    },
                ))
                .with_source(said));
            }
        }
    }

    fn url(&self, path: &str) -> Result<(Url, Origin)> {
        let mut url = self.endpoint.base.clone();
        if self.plain.load(Ordering::Relaxed) {
            // An `https` URL with a host always takes the scheme `http`.
            let _ = url.set_scheme("http");
        }
        // Repository, tag and digest were checked and need no escaping.
        let root = url.path().trim_end_matches('/');
        let path = format!("{root}/{}/{path}", self.repository);
        url.set_path(&path);
        if let Some(namespace) = &self.endpoint.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        let origin = Origin::of(&url).ok_or_else(|| {
            Error::new(Kind::InvalidArgument, format!("{} is no registry's address", self.name()))
        })?;
        Ok((url, origin))
    }
}
