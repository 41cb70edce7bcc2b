//! Who may use a test registry: everyone, a user with a password, or a bearer of its own tokens.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::message::{Reply, Request};
use super::state::State;

/// Who may use a registry.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everyone.
    #[default]
    Open,
    /// One user (user, password) by `Basic`.
    Basic(String, String),
    /// Bearers of tokens from `/token` on the same port.
    Tokens(Tokens),
}

/// What a token server gives to whom.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Who gets one by user and password; `None` gives one to everybody.
    pub user: Option<(String, String)>,
    /// A refresh token that gets one by POST.
    pub refresh: Option<String>,
    /// How many requests a token is good for, whatever it says of itself.
    pub uses: Option<u32>,
    /// What it says of itself, in seconds.
    pub expires_in: Option<u64>,
    /// Another address of the token server than the registry's own.
    pub realm: Option<String>,
    /// The scope in the challenge.
    pub scope: Option<String>,
    /// Whether GET is answered with 405.
    pub post_only: bool,
}

impl Tokens {
    /// Tokens for everybody that do not run out.
    pub fn for_all() -> Tokens {
        Tokens {
            user: None,
            refresh: None,
            uses: None,
            expires_in: Some(300),
            realm: None,
            scope: None,
            post_only: false,
        }
    }

    /// Tokens for one user.
    pub fn for_user(user: &str, password: &str) -> Tokens {
        Tokens { user: Some((user.to_owned(), password.to_owned())), ..Tokens::for_all() }
    }
}

/// Tokens given out, and how many requests each is still good for.
#[derive(Debug, Default)]
pub(super) struct Issued {
    tokens: BTreeMap<String, u32>,
}

impl Issued {
    fn mint(&mut self, number: usize, uses: u32) -> String {
        let token = format!("token-{number}");
        self.tokens.insert(token.clone(), uses);
        token
    }

    fn spend(&mut self, token: &str) -> bool {
        match self.tokens.get_mut(token) {
            Some(uses) if *uses > 0 => {
                *uses -= 1;
                true
            }
            _ => false,
        }
    }
}

/// The refusal for a request that may not come in.
pub(super) fn refusal(state: &State, request: &Request) -> Option<Reply> {
    let shown = request.header("authorization").unwrap_or_default();
    let challenge = match &state.access {
        Access::Open => return None,
        Access::Basic(user, password) => {
            if shown == basic(user, password) {
                return None;
            }
            "Basic realm=\"test\"".to_owned()
        }
        Access::Tokens(tokens) => {
            let token = shown.strip_prefix("Bearer ").unwrap_or_default();
            if state.issued(|issued| issued.spend(token)) {
                return None;
            }
            let own = format!("{}/token", state.base);
            let realm = tokens.realm.as_ref().unwrap_or(&own);
            let scope =
                tokens.scope.as_ref().map(|s| format!(",scope=\"{s}\"")).unwrap_or_default();
            format!("Bearer realm=\"{realm}\",service=\"test\"{scope}")
        }
    };
    let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
    Some(Reply::new(401, body.to_string()).with("WWW-Authenticate", challenge))
}

/// Answers a request to `/token`; `number` makes tokens differ.
pub(super) fn token(state: &State, request: &Request, number: usize) -> Reply {
    let Access::Tokens(tokens) = &state.access else {
        return Reply::new(404, "");
    };
    if tokens.post_only && request.method == "GET" {
        return Reply::new(405, "");
    }
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let has =
        |name: &str, value: &str| form.split('&').any(|pair| pair == format!("{name}={value}"));
    let shown = request.header("authorization");
    let granted = match (request.method.as_str(), &tokens.user, &tokens.refresh) {
        ("GET", None, _) => true,
        ("GET", Some((user, password)), _) => shown == Some(&basic(user, password)),
        ("POST", _, Some(refresh)) if has("grant_type", "refresh_token") => {
            has("refresh_token", refresh)
        }
        ("POST", Some((user, password)), _) if has("grant_type", "password") => {
            has("username", user) && has("password", password)
        }
        _ => false,
    };
    if !granted {
        let body = json!({"error": "invalid_grant", "error_description": "no token for you"});
        return Reply::new(401, body.to_string());
    }
    let uses = tokens.uses.unwrap_or(u32::MAX);
    let token = state.issued(|issued| issued.mint(number, uses));
    let body = json!({"token": token, "expires_in": tokens.expires_in});
    Reply::new(200, body.to_string()).with("Content-Type", "application/json")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
