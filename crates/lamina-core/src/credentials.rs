//! Credentials: who a user is to a registry, and who is asked for that.
//!
//! A credential belongs to one host. Whoever transfers asks for it by that host's name, and sends it
//! nowhere else.

use std::fmt;

use async_trait::async_trait;

use crate::Result;

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a user has for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password (or what stands for one).
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that the token server exchanges for short-lived ones (`identitytoken`).
    Refresh(Secret),
    /// A token for the registry itself (`registrytoken`).
    Bearer(Secret),
}

/// For whom a credential is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRequest {
    /// The host that asked, `name[:port]`: a mirror's own name, `registry-1.docker.io` for Docker
    /// Hub.
    pub host: String,
    /// Whether the connection to it is encrypted.
    pub encrypted: bool,
    /// The image that is wanted, as written.
    pub reference: String,
}

/// Where credentials come from. Implemented by whoever knows the user: the command line reads
/// `config.json`, the daemon asks its client.
#[async_trait]
pub trait Credentials: Send + Sync + fmt::Debug {
    /// The credential for `request.host` and no other; `None` to go on as nobody. Asked at most once
    /// a host and reference, only after the host demanded one.
    ///
    /// # Errors
    /// When a credential may exist but cannot be had. The request fails with that error.
    async fn get(&self, request: &CredentialRequest) -> Result<Option<Credential>>;
}

/// Nobody: no credentials for any host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

#[async_trait]
impl Credentials for Anonymous {
    async fn get(&self, _: &CredentialRequest) -> Result<Option<Credential>> {
        Ok(None)
    }
}

/// One credential for one host, e.g. from `--user`.
#[derive(Clone, Debug)]
pub struct ForHost {
    /// `name[:port]` as in [`CredentialRequest::host`].
    pub host: String,
    /// The credential.
    pub credential: Credential,
}

#[async_trait]
impl Credentials for ForHost {
    async fn get(&self, request: &CredentialRequest) -> Result<Option<Credential>> {
        Ok((request.host == self.host).then(|| self.credential.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn found(from: &dyn Credentials, host: &str) -> bool {
        let request =
            CredentialRequest { host: host.to_owned(), encrypted: true, reference: "x".into() };
        match from.get(&request).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.unwrap().is_some(),
            Poll::Pending => panic!("waits for nothing"),
        }
    }

    #[test]
    fn one_hosts_credential_is_no_others() {
        let mine = ForHost {
            host: "a.example:5000".into(),
            credential: Credential::Bearer(Secret::new("t")),
        };
        assert!(found(&mine, "a.example:5000"));
        for host in ["a.example", "a.example:5001", "b.example:5000"] {
            assert!(!found(&mine, host), "{host}");
        }
        assert!(!found(&Anonymous, "a.example:5000"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let credential =
            Credential::Password { user: "u".into(), password: Secret::new("hunter2") };
        assert!(!format!("{credential:?}").contains("hunter2"));
    }
}
