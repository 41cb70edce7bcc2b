//! Bearer tokens from a token server, as the distribution project specifies them: GET with Basic (or
//! as nobody), POST as OAuth 2 with a refresh token.
//!
//! The server's address comes from the registry (`realm`). A credential goes there because it is that
//! registry's own; it still does not leave in the clear, nor for an address only this host can reach.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lamina_core::credentials::{Credential, Secret};
use lamina_core::{Error, Kind, Result};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::answer::Answer;
use super::auth::{basic_header, unauthenticated};
use super::challenge::Challenge;
use super::origin::{Origin, shown};

/// Sends a request to a token server: redirects and retries as for any other.
#[async_trait]
pub(super) trait TokenServer: Send + Sync {
    /// `private` goes to the origin of `url` only.
    async fn send(
        &self,
        method: Method,
        url: Url,
        private: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer>;

    /// Reads the whole body of an answer that is a token.
    async fn read(&self, answer: Answer) -> Result<Bytes>;

    /// The error that an answer other than a success stands for.
    async fn error(&self, answer: Answer) -> Error;
}

/// A token server and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    realm: Url,
    service: Option<String>,
    scopes: Vec<String>,
}

/// A token as granted.
#[derive(Debug)]
pub(super) struct Minted {
    pub(super) token: Secret,
    pub(super) lasts: Duration,
    /// A new refresh token, which replaces the old one.
    pub(super) refresh: Option<Secret>,
}

impl Service {
    /// Reads a Bearer challenge of the registry at `origin`. Without a scope in it, `scope` is asked.
    ///
    /// # Errors
    /// Unauthenticated when the realm is missing, or is no place to send a credential to.
    pub(super) fn demanded(challenge: &Challenge, scope: &str, origin: &Origin) -> Result<Self> {
        let realm = challenge
            .params
            .get("realm")
            .ok_or_else(|| unauthenticated(format!("{origin} names no realm for its tokens")))?;
        let realm = checked_realm(realm, origin)?;
        let scopes = match challenge.params.get("scope") {
            Some(scopes) if !scopes.trim().is_empty() => {
                scopes.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect()
            }
            _ => vec![scope.to_owned()],
        };
        Ok(Service { realm, service: challenge.params.get("service").cloned(), scopes })
    }
}

/// Plain HTTP is taken only from a registry that is spoken to in plain HTTP, and then only for the
/// same machine or this one.
fn checked_realm(realm: &str, registry: &Origin) -> Result<Url> {
    let refuse = |why: &str| {
        let realm = super::answer::clip(realm);
        Err(unauthenticated(format!("{registry} wants tokens from {realm:?}, which {why}")))
    };
    let Ok(url) = Url::parse(realm) else {
        return refuse("is not a URL");
    };
    let Some(origin) = Origin::of(&url) else {
        return refuse("is neither https nor http");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("names a user of its own");
    }
    if origin.is_link_local() && !origin.same_host(registry) {
        return refuse("is a link-local address");
    }
    if origin.is_loopback() && !registry.is_loopback() {
        return refuse("is this machine");
    }
    let may_be_plain = !registry.is_https() && (origin.same_host(registry) || origin.is_loopback());
    if !origin.is_https() && !may_be_plain {
        return refuse("is not encrypted");
    }
    Ok(url)
}

/// Gets a token for `service`, as nobody when there is no credential.
///
/// # Errors
/// Unauthenticated when the token server refuses or answers nonsense; Unavailable when it is away.
pub(super) async fn mint(
    server: &dyn TokenServer,
    service: &Service,
    credential: Option<&Credential>,
) -> Result<Minted> {
    let answer = match credential {
        Some(Credential::Password { user, password }) => {
            let answer = get(server, service, Some((user, password))).await?;
            // A server of OAuth 2 alone knows no GET.
            if matches!(answer.status().as_u16(), 404 | 405) {
                post(
                    server,
                    service,
                    &[
                        ("grant_type", "password"),
                        ("username", user),
                        ("password", password.expose()),
                    ],
                )
                .await?
            } else {
                answer
            }
        }
        Some(Credential::Refresh(token)) => {
            post(
                server,
                service,
                &[("grant_type", "refresh_token"), ("refresh_token", token.expose())],
            )
            .await?
        }
        // A fixed token never comes here; as nobody it would be no worse.
        Some(Credential::Bearer(_)) | None => get(server, service, None).await?,
    };
    read(server, service, answer, credential.is_some()).await
}

async fn get(
    server: &dyn TokenServer,
    service: &Service,
    basic: Option<(&str, &Secret)>,
) -> Result<Answer> {
    let mut url = service.realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(name) = &service.service {
            query.append_pair("service", name);
        }
        for scope in &service.scopes {
            query.append_pair("scope", scope);
        }
        if let Some((user, _)) = basic {
            query.append_pair("account", user);
        }
        query.append_pair("client_id", CLIENT_ID);
    }
    let mut private = HeaderMap::new();
    if let Some((user, password)) = basic {
        private.insert(AUTHORIZATION, basic_header(user, password)?);
    }
    server.send(Method::GET, url, private, None).await
}

async fn post(
    server: &dyn TokenServer,
    service: &Service,
    grant: &[(&str, &str)],
) -> Result<Answer> {
    let body = {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(grant);
        if let Some(name) = &service.service {
            form.append_pair("service", name);
        }
        form.append_pair("scope", &service.scopes.join(" "));
        form.append_pair("client_id", CLIENT_ID);
        Bytes::from(form.finish())
    };
    let mut private = HeaderMap::new();
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    private.insert(CONTENT_TYPE, form_type);
    server.send(Method::POST, service.realm.clone(), private, Some(body)).await
}

async fn read(
    server: &dyn TokenServer,
    service: &Service,
    answer: Answer,
    has_credential: bool,
) -> Result<Minted> {
    let place = shown(&service.realm);
    if !answer.status().is_success() {
        let error = server.error(answer).await;
        let refused = matches!(
            error.kind(),
            Kind::Unauthenticated | Kind::PermissionDenied | Kind::InvalidArgument
        );
        return Err(match (refused, has_credential) {
            (true, true) => error
                .with_kind(Kind::Unauthenticated)
                .context(format!("the token server {place} refused the credential")),
            (true, false) => error
                .with_kind(Kind::Unauthenticated)
                .context(format!("the token server {place} gives no token without a credential")),
            (false, _) => error.context(format!("get a token from {place}")),
        });
    }
    let body = server.read(answer).await?;
    // The parser's message could quote the token; it is left out.
    let granted: Granted = serde_json::from_slice(&body).map_err(|_| {
        unauthenticated(format!("the answer of the token server {place} is no token"))
    })?;
    let token = [granted.token, granted.access_token]
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty())
        .ok_or_else(|| unauthenticated(format!("the token server {place} gave an empty token")))?;
    let lasts = granted.expires_in.filter(|&s| s > 0.0 && s.is_finite()).unwrap_or(DEFAULT_LASTS);
    Ok(Minted {
        token: Secret::new(token),
        lasts: Duration::from_secs_f64(lasts.min(LONGEST_LASTS)),
        refresh: granted.refresh_token.filter(|t| !t.is_empty()).map(Secret::new),
    })
}

/// `issued_at` is left out: this host's clock and the server's need not agree, so a token's time runs
/// from when it came.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
    refresh_token: Option<String>,
}

const CLIENT_ID: &str = "lamina";
/// Seconds; the specification's default.
const DEFAULT_LASTS: f64 = 60.0;
/// No token is held longer than a day, whatever its server says.
const LONGEST_LASTS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn a_realm_is_no_place_to_leak_to() {
        for (registry, realm) in [
            ("https://r.example", "https://auth.example/token?a=b"),
            ("https://127.0.0.1:5000", "https://127.0.0.1:5001/token"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("http://r.example:5000", "http://r.example:5001/token"),
            ("http://r.example:5000", "https://auth.example/token"),
        ] {
            assert!(checked_realm(realm, &origin(registry)).is_ok(), "{registry} {realm}");
        }
        for (registry, realm, says) in [
            ("https://r.example", "http://r.example/token", "not encrypted"),
            ("http://r.example", "http://other.example/token", "not encrypted"),
            ("http://127.0.0.1:5000", "http://other.example/token", "not encrypted"),
            ("https://127.0.0.1:5000", "http://127.0.0.1:5000/token", "not encrypted"),
            ("https://r.example", "https://127.0.0.1/token", "this machine"),
            ("https://r.example", "https://169.254.169.254/token", "link-local"),
            ("https://r.example", "https://u:p@auth.example/token", "user"),
            ("https://r.example", "/token", "not a URL"),
            ("https://r.example", "file:///etc/shadow", "neither"),
        ] {
            let error = checked_realm(realm, &origin(registry)).unwrap_err();
            assert_eq!(error.kind(), Kind::Unauthenticated);
            assert!(error.message().contains(says), "{registry} {realm}: {error}");
        }
    }

    #[test]
    fn scopes_are_the_registrys_or_ours() {
        let read = |header: &str| {
            let challenge = super::super::challenge::parse(header).unwrap().remove(0);
            Service::demanded(&challenge, "repository:x:pull", &origin("https://r.example"))
        };
        let ours = read(r#"Bearer realm="https://a.example/t",service="s""#).unwrap();
        assert_eq!(ours.scopes, ["repository:x:pull"]);
        assert_eq!(ours.service.as_deref(), Some("s"));
        let theirs = read(r#"Bearer realm="https://a.example/t",scope="a:b:pull c:d:*""#).unwrap();
        assert_eq!(theirs.scopes, ["a:b:pull", "c:d:*"]);
        assert!(read("Bearer service=s").unwrap_err().message().contains("no realm"));
    }
}
