//! HTTP clients, one for each way of trusting a server, kept so that connections are reused.
//!
//! A client is chosen by the *content* of its certificates, so a changed file on disk gets a new one
//! and two hosts never share an identity by accident. No client follows redirects, none reads proxies
//! from the environment.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lamina_core::{Error, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Identity, NoProxy, Proxy};

use super::config::{Config, Proxies};
use super::origin::is_link_local;

/// How a host is trusted, and who we are to it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// PEM files with more certificate authorities than the system's.
    pub(super) roots: Vec<Vec<u8>>,
    /// A certificate and its key in PEM.
    pub(super) identity: Option<Vec<u8>>,
    /// Take any certificate.
    pub(super) skip_verify: bool,
    /// How long a connection may take; the configuration's own time if `None`.
    pub(super) dial_timeout: Option<Duration>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("roots", &self.roots.len())
            .field("identity", &self.identity.is_some())
            .field("skip_verify", &self.skip_verify)
            .finish_non_exhaustive()
    }
}

/// Which addresses a name may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Any: somebody configured this host.
    Any,
    /// None that are link-local: a registry on this machine sent us there.
    NotLinkLocal,
    /// Nor this machine: a registry elsewhere, or an image, sent us there.
    Elsewhere,
}

/// Makes and keeps clients.
pub(super) struct Clients {
    user_agent: String,
    connect: Duration,
    idle: Duration,
    proxies: Vec<Proxy>,
    made: Mutex<Vec<(Key, Client)>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    trust: Trust,
    reach: Reach,
    sends: bool,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("user_agent", &self.user_agent).finish_non_exhaustive()
    }
}

impl Clients {
    /// # Errors
    /// InvalidArgument for a proxy that is not a URL, or of a scheme that is not known.
    pub(super) fn new(config: &Config) -> Result<Self> {
        Ok(Clients {
            user_agent: config.user_agent.clone(),
            connect: config.timeouts.connect,
            idle: config.timeouts.idle,
            proxies: proxies(&config.proxies)?,
            made: Mutex::default(),
        })
    }

    /// The client for `trust` and `reach`. One that `sends` much waits for answers without a limit:
    /// the time until one comes is that of sending.
    ///
    /// # Errors
    /// InvalidArgument when a certificate or key cannot be used.
    pub(super) fn get(&self, trust: &Trust, reach: Reach, sends: bool) -> Result<Client> {
        let key = Key { trust: trust.clone(), reach, sends };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = made.iter().position(|(known, _)| *known == key) {
            let found = made.remove(index);
            let client = found.1.clone();
            made.push(found);
            return Ok(client);
        }
        let client = self.build(trust, reach, sends)?;
        if made.len() >= MOST {
            made.remove(0);
        }
        made.push((key, client.clone()));
        Ok(client)
    }

    fn build(&self, trust: &Trust, reach: Reach, sends: bool) -> Result<Client> {
        let mut roots = Vec::new();
        for pem in &trust.roots {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| {
                Error::invalid_argument("a CA file is not PEM").with_source(error)
            })?;
            if certificates.is_empty() {
                return Err(Error::invalid_argument("a CA file holds no certificate"));
            }
            roots.extend(certificates);
        }
        let bare = || -> Result<reqwest::ClientBuilder> {
            let mut builder = Client::builder()
                .user_agent(&self.user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_proxy()
                .http1_only()
                .connect_timeout(trust.dial_timeout.unwrap_or(self.connect))
                .tcp_keepalive(KEEPALIVE)
                .dns_resolver(Resolver { reach });
            if !sends {
                builder = builder.read_timeout(self.idle);
            }
            for proxy in &self.proxies {
                builder = builder.proxy(proxy.clone());
            }
            if let Some(pem) = &trust.identity {
                let identity = Identity::from_pem(pem).map_err(|error| {
                    Error::invalid_argument("a client certificate and its key cannot be used")
                        .with_source(error)
                })?;
                builder = builder.identity(identity);
            }
            Ok(builder.tls_danger_accept_invalid_certs(trust.skip_verify))
        };
        let built = match bare()?.tls_certs_merge(roots.iter().cloned()).build() {
            // A system without any CA file can still speak plain HTTP; its HTTPS fails when used.
            Err(_) if roots.is_empty() => bare()?.tls_certs_only([]).build(),
            built => built,
        };
        built.map_err(|error| {
            Error::invalid_argument("a CA or client certificate cannot be used").with_source(error)
        })
    }
}

/// More kinds of trust than a host has registries; beyond it the longest unused is made anew.
const MOST: usize = 32;
/// Finds peers that vanished during a long transfer.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Always reached directly: a proxy elsewhere has another loopback.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

fn proxies(config: &Proxies) -> Result<Vec<Proxy>> {
    type Make = fn(String) -> reqwest::Result<Proxy>;
    let makers: [(&Option<String>, Make); 2] =
        [(&config.http, Proxy::http), (&config.https, Proxy::https)];
    let mut proxies = Vec::new();
    for (url, make) in makers {
        let Some(url) = url.as_deref().filter(|url| !url.is_empty()) else { continue };
        // As everywhere, `host:port` is a proxy spoken to in HTTP.
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let parsed = url::Url::parse(&whole).ok().filter(|url| url.has_host());
        let known = parsed.as_ref().is_some_and(|url| SCHEMES.contains(&url.scheme()));
        if !known {
            // The text may hold a password.
            let shown = parsed.as_ref().map_or("…".to_owned(), super::origin::shown);
            return Err(Error::invalid_argument(format!(
                "the proxy {shown} is not a URL of {}",
                SCHEMES.join(", ")
            )));
        }
        let proxy = make(whole).map_err(|error| {
            Error::invalid_argument("a proxy cannot be used").with_source(error)
        })?;
        let direct = match &config.no_proxy {
            Some(hosts) => format!("{hosts},{LOOPBACK}"),
            None => LOOPBACK.to_owned(),
        };
        proxies.push(proxy.no_proxy(NoProxy::from_string(&direct)));
    }
    Ok(proxies)
}

const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// The system's resolver, less the addresses that are out of reach.
struct Resolver {
    reach: Reach,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (allowed, barred): (Vec<_>, Vec<_>) =
                found.partition(|address| may_reach(reach, address));
            if allowed.is_empty() && !barred.is_empty() {
                return Err(format!(
                    "{} is a link-local or loopback address, where a redirect may not lead",
                    name.as_str()
                )
                .into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn may_reach(reach: Reach, address: &SocketAddr) -> bool {
    let ip = address.ip();
    match reach {
        Reach::Any => true,
        Reach::NotLinkLocal => !is_link_local(ip),
        Reach::Elsewhere => !is_link_local(ip) && !ip.to_canonical().is_loopback(),
    }
}

// Clients are cheap to clone; one set serves every pull of a process.
pub(super) type Shared = Arc<Clients>;

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Clients {
        Clients::new(&Config::default()).unwrap()
    }

    #[test]
    fn equal_trust_shares_a_client_and_few_are_kept() {
        let clients = clients();
        let trust = Trust { skip_verify: true, ..Trust::default() };
        clients.get(&trust, Reach::Any, false).unwrap();
        clients.get(&trust.clone(), Reach::Any, false).unwrap();
        assert_eq!(clients.made.lock().unwrap().len(), 1);
        clients.get(&trust, Reach::Elsewhere, false).unwrap();
        assert_eq!(clients.made.lock().unwrap().len(), 2);
        for seconds in 0..MOST as u64 {
            let dial_timeout = Some(Duration::from_secs(seconds));
            clients.get(&Trust { dial_timeout, ..trust.clone() }, Reach::Any, false).unwrap();
        }
        assert_eq!(clients.made.lock().unwrap().len(), MOST);
    }

    #[test]
    fn bad_certificates_are_named() {
        let trust = Trust { roots: vec![b"no pem".to_vec()], ..Trust::default() };
        let error = clients().get(&trust, Reach::Any, false).unwrap_err();
        assert!(error.message().contains("CA file"), "{error}");
        let trust = Trust { identity: Some(b"no pem".to_vec()), ..Trust::default() };
        let error = clients().get(&trust, Reach::Any, false).unwrap_err();
        assert!(error.message().contains("client certificate"), "{error}");
    }

    #[test]
    fn proxies_are_checked_and_never_shown_whole() {
        let with = |http: &str| Proxies { http: Some(http.to_owned()), ..Proxies::default() };
        for good in ["http://p.example:3128", "p.example:3128", "socks5://u:p@p.example:1080", ""] {
            proxies(&with(good)).unwrap();
        }
        let error = proxies(&with("gopher://user:hunter2@p.example")).unwrap_err();
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
    }

    #[test]
    fn names_may_not_lead_inwards() {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        assert!(may_reach(Reach::Any, &at("169.254.169.254")));
        assert!(!may_reach(Reach::NotLinkLocal, &at("169.254.169.254")));
        assert!(may_reach(Reach::NotLinkLocal, &at("127.0.0.1")));
        assert!(!may_reach(Reach::Elsewhere, &at("::ffff:127.0.0.1")));
        assert!(may_reach(Reach::Elsewhere, &at("10.0.0.1")));
    }
}
