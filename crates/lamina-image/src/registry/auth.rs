//! Who we are to a registry: one host's state of authentication.
//!
//! An [`Authorizer`] belongs to one host of one reference. The credentials it asks for are that
//! host's, and what it hands out (`Authorization` headers) goes to that host's origin only; the
//! transport drops it on any redirect elsewhere. Tokens live as long as the authorizer: they are
//! never shared between two users of the daemon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use lamina_core::credentials::{Credential, CredentialRequest, Credentials, Secret};
use lamina_core::{Error, Kind, Result};
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::Mutex;

use super::challenge::{Challenge, challenges};
use super::origin::Origin;
use super::token::{self, Service, TokenServer};

/// Authenticates one reference at one host.
#[derive(Debug)]
pub(super) struct Authorizer {
    credentials: Arc<dyn Credentials>,
    request: CredentialRequest,
    /// What is asked of the token server when the challenge names no scope.
    scope: String,
    state: Mutex<State>,
}

/// What one request has tried already.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    minted: Option<Service>,
}

#[derive(Debug, Default)]
struct State {
    credential: Option<Option<Credential>>,
    scheme: Scheme,
}

#[derive(Debug, Default)]
enum Scheme {
    /// Nothing was demanded yet.
    #[default]
    Open,
    Fixed(HeaderValue),
    Tokens {
        service: Service,
        token: Option<Token>,
    },
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    expires: Instant,
}

impl Authorizer {
    pub(super) fn new(
        credentials: Arc<dyn Credentials>,
        request: CredentialRequest,
        scope: String,
    ) -> Self {
        Authorizer { credentials, request, scope, state: Mutex::default() }
    }

    /// The header to send with a request to `origin`, as far as is known; a token that ran out is
    /// renewed first.
    pub(super) async fn header(
        &self,
        origin: &Origin,
        server: &dyn TokenServer,
    ) -> Result<Option<HeaderValue>> {
        let mut state = self.state.lock().await;
        let service = match &state.scheme {
            Scheme::Open => return Ok(None),
            Scheme::Fixed(header) => return Ok(Some(header.clone())),
            Scheme::Tokens { token: Some(token), .. } if Instant::now() < token.expires => {
                return Ok(Some(token.header.clone()));
            }
            Scheme::Tokens { service, .. } => service.clone(),
        };
        self.mint(&mut state, service, origin, server).await.map(Some)
    }

    /// Takes a 401's `headers` in; `used` is the header that was refused. `Ok(true)` when the
    /// request should be sent again with [`header`](Authorizer::header), `Ok(false)` when nothing is
    /// left to try.
    ///
    /// # Errors
    /// Unauthenticated when the demand cannot be read or met, with the reason; errors of the
    /// credentials and of the token server.
    pub(super) async fn refused(
        &self,
        headers: &HeaderMap,
        used: Option<&HeaderValue>,
        attempt: &mut Attempt,
        origin: &Origin,
        server: &dyn TokenServer,
    ) -> Result<bool> {
        let offered = challenges(headers)?;
        let mut state = self.state.lock().await;
        // Another request may have renewed the token since this one was sent.
        if state.current().is_some_and(|current| Some(current) != used) {
            return Ok(attempt.minted.is_none());
        }
        if let Some(bearer) = offered.iter().find(|c| c.scheme == "bearer") {
            // A demand that makes no sense asks nobody for a password.
            let service = Service::demanded(bearer, &self.scope, origin)?;
            if let Some(Credential::Bearer(token)) = self.credential(&mut state, origin).await? {
                return Ok(state.fix(bearer_header(&token)?, used));
            }
            if attempt.minted.as_ref() == Some(&service) {
                return Ok(false);
            }
            attempt.minted = Some(service.clone());
            self.mint(&mut state, service, origin, server).await?;
            return Ok(true);
        }
        if offered.iter().any(|c| c.scheme == "basic") {
            return match self.credential(&mut state, origin).await? {
                Some(Credential::Password { user, password }) => {
                    Ok(state.fix(basic_header(&user, &password)?, used))
                }
                Some(Credential::Bearer(token)) => Ok(state.fix(bearer_header(&token)?, used)),
                Some(Credential::Refresh(_)) => Err(unauthenticated(format!(
                    "{} wants a user and a password, but the credential for it is an identity token",
                    self.request.host
                ))),
                None => Err(unauthenticated(format!(
                    "{} wants a user and a password, and there is no credential for it",
                    self.request.host
                ))),
            };
        }
        Err(unauthenticated(unknown_schemes(&self.request.host, &offered)))
    }

    async fn credential(&self, state: &mut State, origin: &Origin) -> Result<Option<Credential>> {
        if let Some(known) = &state.credential {
            return Ok(known.clone());
        }
        let request = CredentialRequest { encrypted: origin.is_https(), ..self.request.clone() };
        let credential = self
            .credentials
            .get(&request)
            .await
            .map_err(|error| error.context(format!("get a credential for {}", request.host)))?;
        state.credential = Some(credential.clone());
        Ok(credential)
    }

    async fn mint(
        &self,
        state: &mut State,
        service: Service,
        origin: &Origin,
        server: &dyn TokenServer,
    ) -> Result<HeaderValue> {
        let credential = self.credential(state, origin).await?;
        // Should this fail, the next request must not go out with what was refused.
        state.scheme = Scheme::Tokens { service: service.clone(), token: None };
        let minted = token::mint(server, &service, credential.as_ref()).await?;
        let header = bearer_header(&minted.token)?;
        if let Some(refresh) = minted.refresh {
            state.credential = Some(Some(Credential::Refresh(refresh)));
        }
        let token = Token {
            header: header.clone(),
            // Renewed a little early, so that it does not run out on its way.
            expires: Instant::now() + minted.lasts.saturating_sub(minted.lasts.min(MARGIN) / 2),
        };
        state.scheme = Scheme::Tokens { service, token: Some(token) };
        Ok(header)
    }
}

impl State {
    fn current(&self) -> Option<&HeaderValue> {
        match &self.scheme {
            Scheme::Open | Scheme::Tokens { token: None, .. } => None,
            Scheme::Fixed(header) => Some(header),
            Scheme::Tokens { token: Some(token), .. } => Some(&token.header),
        }
    }

    /// From now on `header` is sent. Whether that is news.
    fn fix(&mut self, header: HeaderValue, used: Option<&HeaderValue>) -> bool {
        let news = used != Some(&header);
        self.scheme = Scheme::Fixed(header);
        news
    }
}

/// `Authorization: Basic` (RFC 7617).
///
/// # Errors
/// InvalidArgument for a user name with a colon, which could not be told from the password.
pub(super) fn basic_header(user: &str, password: &Secret) -> Result<HeaderValue> {
    if user.contains(':') {
        return Err(Error::invalid_argument(format!("the user name {user:?} has a colon")));
    }
    let pair = format!("{user}:{}", password.expose());
    secret_header(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

fn bearer_header(token: &Secret) -> Result<HeaderValue> {
    secret_header(format!("Bearer {}", token.expose()))
}

fn secret_header(text: String) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| unauthenticated("a token has signs that no header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unknown_schemes(host: &str, offered: &[Challenge]) -> String {
    if offered.is_empty() {
        return format!("{host} refused, and does not say how to authenticate");
    }
    let schemes: Vec<_> = offered.iter().map(|c| c.scheme.as_str()).collect();
    format!("{host} wants authentication by {}, which is not known here", schemes.join(", "))
}

pub(super) fn unauthenticated(message: impl Into<String>) -> Error {
    Error::new(Kind::Unauthenticated, message)
}

/// Half of this is how early a token is renewed; less for tokens that last less.
const MARGIN: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credential =
            Credential::Password { user: "u".into(), password: Secret::new("hunter2") };
        assert!(!format!("{credential:?}").contains("hunter2"));
        let header = basic_header("u", &Secret::new("p")).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic dTpw");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert_eq!(
            basic_header("a:b", &Secret::new("c")).unwrap_err().kind(),
            Kind::InvalidArgument
        );
        assert_eq!(
            bearer_header(&Secret::new("a\r\nX: y")).unwrap_err().kind(),
            Kind::Unauthenticated
        );
    }
}
