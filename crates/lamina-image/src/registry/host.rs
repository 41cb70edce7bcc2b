//! One host in use for one reference: builds its URLs, authenticates, and settles whether it speaks
//! TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lamina_core::credentials::{CredentialRequest, Credentials};
use lamina_core::{Error, Kind, Reference, Result};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use url::Url;

use super::answer::{Answer, clip};
use super::auth::{Attempt, Authorizer, unauthenticated};
use super::clients::{Reach, Trust};
use super::hosts::Endpoint;
use super::hosts_toml::Capabilities;
use super::origin::Origin;
use super::transport::{Body, Failure, Outgoing, Transport};

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

/// What is sent to a host.
#[derive(Clone, Debug)]
pub(super) struct Sent<'a> {
    pub(super) method: Method,
    pub(super) to: To<'a>,
    /// Nothing secret.
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Whether it may be sent again when it is not known what came of it.
    pub(super) again: bool,
}

/// Where to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To<'a> {
    /// Behind the repository, with a query.
    Path(&'a str, &'a str),
    /// Where the host said.
    Url(&'a Url),
}

/// What is done with a repository: what a token is asked for, where the host does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Pull,
    Push,
}

impl Host {
    pub(super) fn new(
        endpoint: Endpoint,
        reference: &Reference,
        credentials: Arc<dyn Credentials>,
        used: Use,
    ) -> Self {
        let request = CredentialRequest {
            host: endpoint.host(),
            encrypted: true,
            reference: reference.to_string(),
        };
        let repository = reference.repository().to_owned();
        let actions = match used {
            Use::Pull => "pull",
            Use::Push => "pull,push",
        };
        let scope = format!("repository:{repository}:{actions}");
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
        let to = To::Path(ask.path, "");
        let Ask { method, headers, persist, .. } = ask;
        self.ask(transport, method, to, headers, None, *persist, true).await
    }

    /// [`send`](Self::send) for what changes something.
    ///
    /// # Errors
    /// As [`send`](Self::send); what is sent once may have arrived though it failed.
    pub(super) async fn put(&self, transport: &Transport, sent: &Sent<'_>) -> Result<Answer> {
        let Sent { method, to, headers, body, again } = sent;
        self.ask(transport, method, *to, headers, Some(body.clone()), true, *again).await
    }

    #[expect(clippy::too_many_arguments, reason = "private, and called twice")]
    async fn ask(
        &self,
        transport: &Transport,
        method: &Method,
        to: To<'_>,
        headers: &HeaderMap,
        body: Option<Body>,
        persist: bool,
        again: bool,
    ) -> Result<Answer> {
        let mut attempt = Attempt::default();
        loop {
            let (url, origin) = match to {
                To::Path(path, query) => self.url(path, query)?,
                To::Url(url) => (url.clone(), self.origin(url)?),
            };
            // Uploads may lead elsewhere, where nothing of ours is known.
            let own = self.origin(&self.base())?;
            let is_own = origin == own;
            let tokens = (transport, &self.endpoint.trust, &own);
            let used = match is_own {
                true => self.auth.header(&origin, &tokens).await?,
                false => None,
            };
            let mut private = HeaderMap::new();
            if is_own {
                private = self.endpoint.headers.clone();
            }
            if let Some(header) = &used {
                private.insert(AUTHORIZATION, header.clone());
            }
            let stranger = Trust { identity: None, ..self.endpoint.trust.clone() };
            let reach = match (is_own, own.is_loopback()) {
                (true, _) => Reach::Any,
                (false, true) => Reach::NotLinkLocal,
                (false, false) => Reach::Elsewhere,
            };
            let outgoing = Outgoing {
                method: method.clone(),
                url,
                headers: headers.clone(),
                private,
                body: body.clone(),
                trust: if is_own { &self.endpoint.trust } else { &stranger },
                reach,
                persist,
                maybe_plain: is_own
                    && self.endpoint.plain_fallback
                    && !self.plain.load(Ordering::Relaxed),
            };
            let exchanged = match again {
                true => transport.exchange(&outgoing).await,
                false => transport.follow(&outgoing).await,
            };
            let answer = match exchanged {
                Ok(answer) => answer,
                Err(Failure::NotTls(error)) => {
                    // By what was sent: another request may have found out in the meantime.
                    if !self.endpoint.plain_fallback || !origin.is_https() || !is_own {
                        return Err(error);
                    }
                    self.plain.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(failure) => return Err(failure.into_error()),
            };
            // A stranger's 401 is none of our business: it gets no credential (CVE-2020-15157).
            if answer.status().as_u16() != 401 || answer.left() || !is_own {
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

    /// Where an upload goes on, as the host said.
    ///
    /// # Errors
    /// FailedPrecondition when it does not say; PermissionDenied for places where content may not go.
    pub(super) fn upload_url(&self, answer: &Answer) -> Result<Url> {
        let place = answer.place();
        let location = answer.header(reqwest::header::LOCATION).ok_or_else(|| {
            Error::failed_precondition(format!("{place}: it does not say where to upload to"))
        })?;
        let shown = || clip(location.split('?').next().unwrap_or_default());
        let refuse = |why: &str| {
            Error::permission_denied(format!("{place}: uploads are to go to {:?}, {why}", shown()))
        };
        let url = answer.url().join(location).map_err(|_| refuse("which is not a URL"))?;
        let (own, to) = (self.origin(&self.base())?, Origin::of(&url));
        let to = to.ok_or_else(|| refuse("which is neither https nor http"))?;
        if own.is_https() && !to.is_https() {
            return Err(refuse("which is not encrypted"));
        }
        if to != own && (to.is_link_local() || to.is_loopback() && !own.is_loopback()) {
            return Err(refuse("which is a link-local address or this machine"));
        }
        Ok(url)
    }

    fn base(&self) -> Url {
        let mut url = self.endpoint.base.clone();
        if self.plain.load(Ordering::Relaxed) {
            // An `https` URL with a host always takes the scheme `http`.
            let _ = url.set_scheme("http");
        }
        url
    }

    fn origin(&self, url: &Url) -> Result<Origin> {
        Origin::of(url).ok_or_else(|| {
            Error::new(Kind::InvalidArgument, format!("{} is no registry's address", self.name()))
        })
    }

    fn url(&self, path: &str, query: &str) -> Result<(Url, Origin)> {
        let mut url = self.base();
        // Repository, tag and digest were checked and need no escaping.
        let root = url.path().trim_end_matches('/');
        let path = format!("{root}/{}/{path}", self.repository);
        url.set_path(&path);
        if !query.is_empty() {
            url.set_query(Some(query));
        }
        if let Some(namespace) = &self.endpoint.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        let origin = self.origin(&url)?;
        Ok((url, origin))
    }
}
