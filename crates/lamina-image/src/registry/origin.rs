//! Where a request goes: scheme, host and port. Secrets are bound to exactly one of these.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The part of a URL that says whom one talks to, and whether others can listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    https: bool,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// The origin of an `http` or `https` URL; `None` for any other.
    pub(super) fn of(url: &Url) -> Option<Origin> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Origin { https, host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    /// Whether both name the same machine, whatever the scheme and port.
    pub(super) fn same_host(&self, other: &Origin) -> bool {
        self.host == other.host
    }

    /// Whether it is this machine by its name or address.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether the host is written as an address that is never a registry but often a cloud's
    /// metadata service. Names are checked again when they are looked up.
    pub(super) fn is_link_local(&self) -> bool {
        match &self.host {
            Host::Domain(_) => false,
            Host::Ipv4(ip) => is_link_local(IpAddr::V4(*ip)),
            Host::Ipv6(ip) => is_link_local(IpAddr::V6(*ip)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        match (self.https, self.port) {
            (true, 443) | (false, 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// `localhost`, 127.0.0.0/8, ::1 (also mapped).
pub(super) fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => {
            ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
    }
}

/// Link-local addresses, and the one unique-local address at which a cloud serves credentials.
pub(super) fn is_link_local(ip: IpAddr) -> bool {
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let v4 = |ip: Ipv4Addr| ip.is_link_local();
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local() || ip == METADATA_V6 || ip.to_ipv4_mapped().is_some_and(v4)
        }
    }
}

/// A URL for a message: without user, query and fragment, which may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    match Origin::of(url) {
        Some(origin) => format!("{origin}{}", url.path()),
        None => format!("{}:…", url.scheme()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn scheme_host_and_port_tell_origins_apart() {
        assert_eq!(origin("https://a.example/x"), origin("https://A.example:443/y?z"));
        assert_ne!(origin("https://a.example"), origin("http://a.example"));
        assert_ne!(origin("https://a.example"), origin("https://a.example:444"));
        assert_ne!(origin("https://a.example"), origin("https://b.example"));
        assert!(Origin::of(&Url::parse("file:///etc/passwd").unwrap()).is_none());
        assert_eq!(origin("http://a.example:80").to_string(), "http://a.example");
        assert_eq!(origin("https://[::1]:5000").to_string(), "https://[::1]:5000");
    }

    #[test]
    fn special_addresses_are_seen_in_every_spelling() {
        for url in ["http://localhost", "http://127.9.9.9", "http://[::1]", "http://0x7f.1"] {
            assert!(origin(url).is_loopback(), "{url}");
        }
        assert!(origin("http://[::ffff:127.0.0.1]").is_loopback());
        assert!(!origin("http://localhost.example").is_loopback());
        for url in [
            "http://169.254.169.254/latest",
            "http://2852039166",
            "http://[fe80::1]",
            "http://[::ffff:169.254.169.254]",
            "http://[fd00:ec2::254]",
        ] {
            assert!(origin(url).is_link_local(), "{url}");
        }
        assert!(!origin("http://192.168.0.1").is_link_local());
    }

    #[test]
    fn shown_urls_hold_no_secrets() {
        let url = Url::parse("https://u:p@cdn.example/blob?signature=s#f").unwrap();
        assert_eq!(shown(&url), "https://cdn.example/blob");
    }
}
