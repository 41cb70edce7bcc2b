//! Docker's `config.json`: where a user's credentials for a registry are.
//!
//! Pure: bytes in, answers out. Finding the file, and finding a helper's program, is the caller's
//! part; running it is [`run_helper`](super::run_helper).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lamina_core::credentials::{Credential, Secret};
use lamina_core::{Error, Result};
use serde::Deserialize;

/// The parts of `config.json` that matter here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

/// Where a credential may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file itself.
    Inline(Credential),
    /// With the program `docker-credential-<helper>`, asked for `server`.
    Helper {
        /// The name behind `docker-credential-`: letters, digits, `-`, `_` and `.` only.
        helper: String,
        /// What to ask it for.
        server: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(…)")
    }
}

impl DockerConfig {
    /// Parses the file's bytes.
    ///
    /// # Errors
    /// InvalidArgument when it is not JSON of that form. The message quotes nothing of it.
    pub fn parse(bytes: &[u8]) -> Result<DockerConfig> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::invalid_argument(format!(
                "config.json is malformed at line {}, column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// Where to look for the credential of `host` (`name[:port]`, as registries are asked), in order:
    /// the host's own helper alone if it has one, else the store for all, then the file.
    ///
    /// # Errors
    /// InvalidArgument for an entry whose `auth` is not base64 of `user:password`, or a helper whose
    /// name could be a path; names the host.
    pub fn places(&self, host: &str) -> Result<Vec<Place>> {
        let names = Names::of(host);
        let own = self.cred_helpers.iter().find(|(key, _)| names.fit(key));
        if let Some((_, helper)) = own {
            return Ok(vec![names.helper(helper)?]);
        }
        let mut places = Vec::new();
        if !self.creds_store.is_empty() {
            places.push(names.helper(&self.creds_store)?);
        }
        // The spelling that is the host itself goes before others of the same host.
        let exact = self.auths.get(host).map(|entry| (host, entry));
        let all = self.auths.iter().map(|(key, entry)| (key.as_str(), entry));
        let fitting = exact.into_iter().chain(all.filter(|(key, _)| names.fit(key)));
        for (key, entry) in fitting {
            if let Some(credential) =
                entry.as_ref().map(|e| e.credential(key)).transpose()?.flatten()
            {
                places.push(Place::Inline(credential));
                break;
            }
        }
        Ok(places)
    }
}

impl Entry {
    fn credential(&self, key: &str) -> Result<Option<Credential>> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Refresh(Secret::new(&self.identitytoken))));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::Bearer(Secret::new(&self.registrytoken))));
        }
        if self.auth.is_empty() {
            let (user, password) = (self.username.clone(), Secret::new(&self.password));
            return Ok((!user.is_empty()).then_some(Credential::Password { user, password }));
        }
        // Padding is left out by some tools.
        let lax =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let bad = || {
            Error::invalid_argument(format!(
                "config.json: the entry for {:?} is not base64 of user:password",
                super::answer::clip(key)
            ))
        };
        let bytes =
            GeneralPurpose::new(&STANDARD, lax).decode(self.auth.trim()).map_err(|_| bad())?;
        let text = String::from_utf8(bytes).map_err(|_| bad())?;
        let (user, password) = text.split_once(':').ok_or_else(bad)?;
        // Old versions of Docker pad with zero bytes.
        let password = Secret::new(password.trim_matches('\0'));
        Ok(Some(Credential::Password { user: user.to_owned(), password }))
    }
}

/// The spellings under which a host's entries are written.
struct Names<'a> {
    host: &'a str,
    is_hub: bool,
}

impl<'a> Names<'a> {
    fn of(host: &'a str) -> Self {
        Names { host, is_hub: HUB.contains(&host) }
    }

    /// Whether a key of the file is about this host, with or without scheme, path and the port that
    /// HTTPS has anyway.
    fn fit(&self, key: &str) -> bool {
        let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        // `quay.io/org` is a part of quay.io in other tools, not the whole; `/v1/`, `/v2/` are APIs.
        if !matches!(path.trim_end_matches('/'), "" | "v1" | "v2") {
            return false;
        }
        let same = |a: &str, b: &str| {
            a.strip_suffix(":443")
                .unwrap_or(a)
                .eq_ignore_ascii_case(b.strip_suffix(":443").unwrap_or(b))
        };
        same(host, self.host) || (self.is_hub && HUB.contains(&host))
    }

    fn helper(&self, helper: &str) -> Result<Place> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if helper.is_empty() || helper.starts_with(['.', '-']) || !helper.chars().all(is_plain) {
            return Err(Error::invalid_argument(format!(
                "config.json: {:?} is no name of a credential helper",
                super::answer::clip(helper)
            )));
        }
        let server = if self.is_hub { HUB_KEY } else { self.host };
        Ok(Place::Helper { helper: helper.to_owned(), server: server.to_owned() })
    }
}

/// Docker Hub's hosts, and the address under which Docker keeps its credential.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const HUB_KEY: &str = "https://index.docker.io/v1/";

#[cfg(test)]
mod tests {
    use lamina_core::Kind;
    use proptest::prelude::*;

    use super::*;

    fn password(user: &str, password: &str) -> Place {
        let (user, password) = (user.to_owned(), Secret::new(password));
        Place::Inline(Credential::Password { user, password })
    }

    fn config(json: serde_json::Value) -> DockerConfig {
        DockerConfig::parse(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn entries_are_found_under_every_spelling_and_only_the_hosts_own() {
        let config = config(serde_json::json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "ghcr.io": {"auth": "Z2g6YTpi"},
            "https://r.example:5000": {"username": "u", "password": "p"},
            "quay.io/org": {"auth": "bm86bm8="},
            "t.example": {"identitytoken": "idt", "auth": "eDp5"},
            "b.example": {"registrytoken": "rt"},
            "empty.example": {}, "null.example": null, "s.example:443": {"auth": "czpz"},
        }, "HttpHeaders": {"x": "y"}}));
        let hub = [password("hub", "pw")];
        assert_eq!(config.places("registry-1.docker.io").unwrap(), hub);
        assert_eq!(config.places("docker.io").unwrap(), hub);
        assert_eq!(config.places("ghcr.io").unwrap(), [password("gh", "a:b")]);
        assert_eq!(config.places("r.example:5000").unwrap(), [password("u", "p")]);
        assert_eq!(config.places("s.example").unwrap(), [password("s", "s")]);
        let refresh = Place::Inline(Credential::Refresh(Secret::new("idt")));
        assert_eq!(config.places("t.example").unwrap(), [refresh]);
        let bearer = Place::Inline(Credential::Bearer(Secret::new("rt")));
        assert_eq!(config.places("b.example").unwrap(), [bearer]);
        for host in [
            "r.example",
            "r.example:5001",
            "quay.io",
            "evil-ghcr.io",
            "empty.example",
            "null.example",
        ] {
            assert_eq!(config.places(host).unwrap(), [], "{host}");
        }
    }

    #[test]
    fn helpers_go_before_the_file() {
        let config = config(serde_json::json!({
            "auths": {"a.example": {"auth": "YTph"}, "b.example": {"auth": "Yjpi"}},
            "credHelpers": {"a.example": "ecr-login", "docker.io": "hub", "x.example": "../evil"},
            "credsStore": "secretservice",
        }));
        let helper = |helper: &str, server: &str| Place::Helper {
            helper: helper.to_owned(),
            server: server.to_owned(),
        };
        assert_eq!(config.places("a.example").unwrap(), [helper("ecr-login", "a.example")]);
        assert_eq!(
            config.places("b.example").unwrap(),
            [helper("secretservice", "b.example"), password("b", "b")]
        );
        assert_eq!(config.places("registry-1.docker.io").unwrap(), [helper("hub", HUB_KEY)]);
        assert_eq!(config.places("x.example").unwrap_err().kind(), Kind::InvalidArgument);
    }

    #[test]
    fn nothing_of_a_broken_file_is_quoted() {
        let error = DockerConfig::parse(br#"{"auths": {"a": {"auth": "hunter2""#).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(
            !error.chain().contains("hunter2") && error.message().contains("line 1"),
            "{error}"
        );
        let config = config(serde_json::json!({"auths": {"a.example": {"auth": "hunter2!"}}}));
        let error = config.places("a.example").unwrap_err();
        assert!(error.message().contains("a.example") && !error.chain().contains("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "\\PC{0,80}", auth in "\\PC{0,24}", host in "[a-z.:/]{0,12}") {
            let _ = DockerConfig::parse(text.as_bytes());
            let config = config(serde_json::json!({"auths": {host.clone(): {"auth": auth}}}));
            let _ = config.places(&host);
        }
    }
}
