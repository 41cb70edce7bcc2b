//! Names of images: `domain/repository[:tag][@digest]`.
//!
//! A [`Reference`] was checked against the Docker and OCI grammar (distribution's `reference`
//! package, which containerd's clients share), so its parts may go into URLs and scopes as they are.
//! What a user types is completed ([`Reference::parse`]: `redis` is `docker.io/library/redis:latest`);
//! what is stored already is taken as it stands ([`Reference::parse_canonical`]). That Docker Hub's
//! API lives on another host than `docker.io` is the registry client's business, not known here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::clip;
use crate::{Digest, Error, Result};

/// A checked image name. Equality is equality of the canonical text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses what a user types, completing it by Docker's rules: without a registry it is Docker
    /// Hub's, one-word repositories there are under `library/`, and without tag and digest the tag is
    /// `latest`. The first component is a registry if it contains `.` or `:`, is `localhost`, or has
    /// an upper-case letter; a text without `/` never has one.
    ///
    /// # Errors
    /// InvalidArgument, naming the text and the part of it that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        reject_lookalikes(text).map_err(|why| invalid(text, &why))?;
        let (domain, path) = match split_domain(text) {
            Some((LEGACY_HUB, path)) => (HUB, path),
            Some(parts) => parts,
            None => (HUB, text),
        };
        let mut reference = Reference::from_parts(domain, path, domain == HUB)
            .map_err(|why| invalid(text, &why))?;
        if reference.tag.is_none() && reference.digest.is_none() {
            reference.tag = Some(DEFAULT_TAG.to_owned());
        }
        Ok(reference)
    }

    /// Parses a name that is complete already, as containerd stores image names. Nothing is added or
    /// rewritten: the result prints as `text`. Tag and digest may both be missing.
    ///
    /// # Errors
    /// InvalidArgument if the registry is missing or a part is malformed.
    pub fn parse_canonical(text: &str) -> Result<Self> {
        reject_lookalikes(text).map_err(|why| invalid(text, &why))?;
        let (domain, path) = split_domain(text).ok_or_else(|| {
            invalid(text, "it does not begin with a registry, as in \"docker.io/\"")
        })?;
        Reference::from_parts(domain, path, false).map_err(|why| invalid(text, &why))
    }

    /// The registry: host name, IPv4 address or bracketed IPv6 address, with its port if one is given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path inside the registry, e.g. `library/redis`. At most 255 characters.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// The tag, 1 to 128 characters.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository by digest alone, as CRI and Docker name what they pulled by tag and digest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository with another tag and without digest.
    ///
    /// # Errors
    /// InvalidArgument if `tag` is not a tag.
    pub fn tagged(&self, tag: &str) -> Result<Self> {
        check_tag(tag).map_err(|why| invalid(&format!("{}:{tag}", self.name()), &why))?;
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The short form that `docker` and `nerdctl` print: Docker Hub's domain and `library/` are left
    /// out where [`parse`](Reference::parse) would add them again. Tag and digest stay.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    /// The short form of [`name`](Reference::name): `redis`, `user/app`, `ghcr.io/user/app`.
    pub fn familiar_name(&self) -> String {
        let repository = self.repository.as_str();
        if self.domain == HUB {
            match repository.strip_prefix(OFFICIAL) {
                Some(short) if !short.contains('/') => return short.to_owned(),
                _ => {}
            }
            // `docker.io/a.b/c` must keep its registry, else `a.b` would be read as one.
            if repository.contains('/') && split_domain(repository).is_none() {
                return repository.to_owned();
            }
        }
        self.name()
    }

    fn from_parts(domain: &str, path: &str, hub_rules: bool) -> Result<Self, String> {
        check_domain(domain)?;
        let (rest, digest) = match path.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Digest::parse(digest).map_err(|error| error.message().to_owned())?))
            }
            None => (path, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        check_repository(repository)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let repository = if hub_rules && !repository.contains('/') {
            format!("{OFFICIAL}{repository}")
        } else {
            repository.to_owned()
        };
        if repository.len() > MOST_REPOSITORY {
            return Err(format!("the repository is longer than {MOST_REPOSITORY} characters"));
        }
        Ok(Reference { domain: domain.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

/// The canonical name: what containerd's clients store an image under.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.pad(&text)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As [`Reference::parse`].
impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Reference::parse(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As [`Reference::parse_canonical`]: stored names are not completed.
impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Reference::parse_canonical(&text).map_err(serde::de::Error::custom)
    }
}

const HUB: &str = "docker.io";
/// The name Docker Hub had as "Docker Index"; still typed and found in old configuration.
const LEGACY_HUB: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// distribution's limit, without the domain. Hub's `library/` counts.
const MOST_REPOSITORY: usize = 255;
/// The grammar's limit; registries use tags as path components.
const MOST_TAG: usize = 128;

/// Splits off the first component if it is a registry by Docker's rule.
fn split_domain(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once('/')?;
    let is_domain =
        first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase);
    is_domain.then_some((first, rest))
}

/// Refuses texts that the grammar would read, but not as they are meant.
fn reject_lookalikes(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hex digits are an image id, not a name; write NAME@sha256:<digits>".into());
    }
    if Digest::parse(text).is_ok() {
        return Err("that is a digest without a name; write NAME@DIGEST".into());
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("leave out \"{}://\"", clip(scheme)));
    }
    Ok(())
}

/// A host name (labels of letters, digits and inner dashes), or a bracketed IPv6 address without
/// zone; then optionally `:port`.
fn check_domain(domain: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("registry {:?} {why}", clip(domain)));
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) => {
                if address.is_empty()
                    || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
                {
                    return bad("is not a bracketed IPv6 address");
                }
                (None, after.strip_prefix(':').map(Some).or(after.is_empty().then_some(None)))
            }
            None => return bad("lacks the closing ']'"),
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(Some(port))),
            None => (Some(domain), Some(None)),
        },
    };
    if host.is_some_and(|host| !host.split('.').all(is_host_label)) {
        return bad("is not a host name: letters, digits, inner '-' and '.' are allowed");
    }
    match port {
        Some(None) => Ok(()),
        Some(Some(port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => bad("has a port that is not a number"),
    }
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("the repository is empty".into());
    }
    if repository.chars().any(char::is_uppercase) {
        return Err(format!("repository {:?} must be lower-case", clip(repository)));
    }
    for component in repository.split('/') {
        check_component(component)
            .map_err(|why| format!("repository {:?} {why}", clip(repository)))?;
    }
    Ok(())
}

/// Lower-case letters and digits, in runs parted by one `.`, one or two `_`, or any number of `-`.
fn check_component(component: &str) -> Result<(), String> {
    if component.is_empty() {
        return Err("has an empty component (a '/' too many)".into());
    }
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(c) =
        component.chars().find(|&c| !is_alphanumeric(c) && !matches!(c, '.' | '_' | '-'))
    {
        return Err(format!("contains {c:?}; allowed are a-z, 0-9, '.', '_', '-'"));
    }
    if !component.starts_with(is_alphanumeric) || !component.ends_with(is_alphanumeric) {
        return Err("has a component that does not begin and end with a letter or digit".into());
    }
    for separator in component.split(is_alphanumeric).filter(|run| !run.is_empty()) {
        if !matches!(separator, "." | "_" | "__") && !separator.bytes().all(|b| b == b'-') {
            return Err(format!(
                "has {:?} between letters; allowed are '.', '_', '__' and dashes",
                clip(separator)
            ));
        }
    }
    Ok(())
}

/// A word character, then up to 127 word characters, `.` or `-`.
fn check_tag(tag: &str) -> Result<(), String> {
    if tag.is_empty() {
        return Err("the tag is empty".into());
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(c) = tag.chars().find(|&c| !is_word(c) && !matches!(c, '.' | '-')) {
        return Err(format!(
            "tag {:?} contains {c:?}; allowed are letters, digits, '_', '.', '-'",
            clip(tag)
        ));
    }
    if !tag.starts_with(is_word) {
        return Err(format!("tag {:?} begins with '.' or '-'", clip(tag)));
    }
    if tag.len() > MOST_TAG {
        return Err(format!("the tag is longer than {MOST_TAG} characters"));
    }
    Ok(())
}

fn invalid(text: &str, why: &str) -> Error {
    Error::invalid_argument(format!("invalid image reference {:?}: {why}", clip(text)))
}

#[cfg(test)]
mod tests;
