//! Which hosts a registry's images come from, how they are reached, and what each may be used for.
//!
//! Look-up is containerd's: in each of the given directories `<host>_<port>_`, `<host>:<port>` or
//! `<host>`, then `_default`; in it `hosts.toml`, else Docker's certificate files. Without any, the
//! registry itself over HTTPS. This machine (`localhost`, loopback addresses) is tried with TLS whose
//! certificate is not checked, then in plain HTTP; port 443 and port 80 mean one of the two.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lamina_core::{Error, Result};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::clients::Trust;
use super::config::Config;
use super::hosts_toml::{self, Capabilities, HostEntry};
use super::origin::is_loopback;

/// One place that serves images, ready to be used.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// The root of its API without a slash at the end: `https://host/v2`.
    pub(super) base: Url,
    /// Whether plain HTTP is tried where TLS is not spoken. Only ever for this machine.
    pub(super) plain_fallback: bool,
    pub(super) capabilities: Capabilities,
    pub(super) trust: Trust,
    /// Sent to it and to no other host.
    pub(super) headers: HeaderMap,
    /// The registry it stands for, when it is not that registry itself (`?ns=`).
    pub(super) namespace: Option<String>,
}

impl Endpoint {
    /// `host[:port]`, by which credentials are looked up.
    pub(super) fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        match self.base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

/// Finds and loads the hosts of `registry` (a reference's domain). Reads files: for a thread that may
/// block. Returns warnings beside them.
///
/// # Errors
/// InvalidArgument for settings that make no sense, FailedPrecondition for files that cannot be read;
/// both name the file.
pub(super) fn load(registry: &str, config: &Config) -> Result<(Vec<Endpoint>, Vec<String>)> {
    let mut warnings = Vec::new();
    let entries = match find(registry, &config.hosts_dirs)? {
        Some(dir) => entries(&dir, &mut warnings)?,
        None => vec![HostEntry::default()],
    };
    let mut endpoints = Vec::new();
    for entry in &entries {
        endpoints.push(endpoint(registry, entry, config, &mut warnings)?);
    }
    Ok((endpoints, warnings))
}

/// The directory of a registry.
fn find(registry: &str, roots: &[PathBuf]) -> Result<Option<PathBuf>> {
    for root in roots {
        for name in directory_names(registry) {
            let dir = root.join(name);
            match dir.metadata() {
                Ok(found) if found.is_dir() => return Ok(Some(dir)),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(unreadable(&dir, error)),
            }
        }
    }
    Ok(None)
}

/// `r:5000` → `r_5000_`, `r:5000`, `_default`. The form with `_` is for systems and tools that do not
/// take a colon.
fn directory_names(registry: &str) -> Vec<String> {
    let mut names = Vec::new();
    match registry.rsplit_once(':') {
        // Not the last colon of an IPv6 address without port.
        Some((host, port)) if !port.ends_with(']') => names.push(format!("{host}_{port}_")),
        _ => {}
    }
    names.push(registry.to_owned());
    names.push("_default".to_owned());
    names
}

fn entries(dir: &Path, warnings: &mut Vec<String>) -> Result<Vec<HostEntry>> {
    let path = dir.join("hosts.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.is_empty() => {
            let file = hosts_toml::parse(&text, dir)
                .map_err(|why| Error::invalid_argument(format!("{}: {why}", path.display())))?;
            let named = file.warnings.iter().map(|w| format!("{}: {w}", path.display()));
            warnings.extend(named);
            Ok(file.hosts)
        }
        Ok(_) => docker_certs(dir).map(|entry| vec![entry]),
        Err(error) if is_absent(&error) => docker_certs(dir).map(|entry| vec![entry]),
        Err(error) => Err(unreadable(&path, error)),
    }
}

/// Docker's layout: every `*.crt` is a certificate authority, every `*.cert` a client certificate
/// whose key is the `*.key` of the same name.
fn docker_certs(dir: &Path) -> Result<HostEntry> {
    let mut entry = HostEntry::default();
    let mut files = Vec::new();
    for item in std::fs::read_dir(dir).map_err(|error| unreadable(dir, error))? {
        files.push(item.map_err(|error| unreadable(dir, error))?.path());
    }
    files.sort();
    for file in &files {
        let sibling = |extension| {
            let path = file.with_extension(extension);
            files.contains(&path).then_some(path).ok_or_else(|| {
                Error::invalid_argument(format!(
                    "{}: no file with the same name and the ending .{extension}",
                    file.display()
                ))
            })
        };
        match file.extension().and_then(OsStr::to_str) {
            Some("crt") => entry.ca.push(file.clone()),
            Some("cert") => entry.client.push((file.clone(), Some(sibling("key")?))),
            Some("key") => _ = sibling("cert")?,
            _ => {}
        }
    }
    Ok(entry)
}

fn endpoint(
    registry: &str,
    entry: &HostEntry,
    config: &Config,
    warnings: &mut Vec<String>,
) -> Result<Endpoint> {
    let mut trust = trust(entry, warnings)?;
    let (base, plain_fallback) = match &entry.url {
        Some(url) => (url.clone(), false),
        None => own_base(registry, config, &mut trust)?,
    };
    // A registry on this machine whose TLS was configured keeps to TLS.
    let configured = !trust.roots.is_empty() || trust.identity.is_some();
    if plain_fallback && entry.skip_verify.is_none() && !configured {
        trust.skip_verify = true;
    }
    let is_itself = entry.url.is_none() || stands_for(&base, registry);
    Ok(Endpoint {
        plain_fallback: plain_fallback && !configured,
        capabilities: entry.capabilities,
        headers: headers(&[&entry.headers, &config.headers])?,
        namespace: (!is_itself).then(|| registry.to_owned()),
        base,
        trust,
    })
}

/// The registry's own address, and whether plain HTTP is a fallback for it.
fn own_base(registry: &str, config: &Config, trust: &mut Trust) -> Result<(Url, bool)> {
    let host = if registry == HUB { HUB_HOST } else { registry };
    let parse = |scheme: &str| {
        Url::parse(&format!("{scheme}://{host}/v2")).map_err(|error| {
            Error::invalid_argument(format!("registry {host:?} is no host: {error}"))
        })
    };
    let https = parse("https")?;
    trust.skip_verify |= config.skip_verify;
    if config.plain_http && registry != HUB {
        return Ok((parse("http")?, false));
    }
    let is_local = https.host().is_some_and(|host| is_loopback(&host));
    // The port as written: `:443` says TLS, `:80` says plain HTTP.
    let port = registry.rsplit_once(':').map(|(_, port)| port).filter(|p| !p.ends_with(']'));
    match port {
        Some("80") if is_local => Ok((parse("http")?, false)),
        Some(port) if is_local && port != "443" => Ok((https, true)),
        _ => Ok((https, false)),
    }
}

fn stands_for(base: &Url, registry: &str) -> bool {
    let host = base.host_str().unwrap_or_default();
    let authority = base.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    authority == registry || (registry == HUB && authority == HUB_HOST)
}

fn trust(entry: &HostEntry, warnings: &mut Vec<String>) -> Result<Trust> {
    let mut trust = Trust {
        skip_verify: entry.skip_verify.unwrap_or(false),
        dial_timeout: entry.dial_timeout,
        ..Trust::default()
    };
    for file in &entry.ca {
        trust.roots.push(read(file)?);
    }
    if let Some((cert, key)) = entry.client.first() {
        let mut pem = read(cert)?;
        if let Some(key) = key {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        trust.identity = Some(pem);
    }
    for (cert, _) in entry.client.iter().skip(1) {
        let ignored = cert.display();
        warnings.push(format!("{ignored}: only the first client certificate of a host is used"));
    }
    Ok(trust)
}

fn headers(lists: &[&[(String, String)]]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in lists.iter().copied().flatten() {
        let bad = || Error::invalid_argument(format!("the header {name:?} is malformed"));
        let key = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| bad())?;
        value.set_sensitive(key == AUTHORIZATION);
        headers.append(key, value);
    }
    Ok(headers)
}

/// Docker Hub's name in references, and where its API lives.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// Certificates are small; more is a wrong file (`/dev/zero`).
const LARGEST: u64 = 4 << 20;

fn read(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, error))?;
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    if read.map_err(|error| unreadable(path, error))? as u64 > LARGEST {
        return Err(Error::invalid_argument(format!(
            "{}: too large for a certificate",
            path.display()
        )));
    }
    Ok(bytes)
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::failed_precondition(format!("cannot read {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests;
