//! What the registry client is told by its caller. It reads no environment and no configuration of
//! its own.

use std::path::PathBuf;
use std::time::Duration;

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directories with one directory a registry (`hosts.toml`, or Docker's `*.crt`, `*.cert`,
    /// `*.key`). The first that knows the registry, or has `_default`, is used.
    pub hosts_dirs: Vec<PathBuf>,
    /// Plain HTTP for registries that no `hosts.toml` describes.
    pub plain_http: bool,
    /// No check of certificates, for registries that no `hosts.toml` describes.
    pub skip_verify: bool,
    /// Headers for every configured host of a reference, e.g. from a client's request. As private as
    /// those of a `hosts.toml`.
    pub headers: Vec<(String, String)>,
    /// Which proxies to go through. Loopback is always reached directly.
    pub proxies: Proxies,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Retry,
    /// Caps on what a registry may send.
    pub limits: Limits,
    /// Large blobs in several ranges at a time; `None` takes each blob in one piece.
    pub ranges: Option<Ranges>,
}

impl Default for Config {
    /// Verified HTTPS everywhere but on loopback, no proxy, one piece a blob.
    fn default() -> Self {
        Config {
            hosts_dirs: Vec::new(),
            plain_http: false,
            skip_verify: false,
            headers: Vec::new(),
            proxies: Proxies::default(),
            user_agent: concat!("lamina/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            limits: Limits::default(),
            ranges: None,
        }
    }
}

/// Proxies by the scheme of the registry's URL, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` have
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http` URLs: `http://[user:password@]host:port`, also `https` and `socks5`.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts, domains and networks reached directly, parted by commas.
    pub no_proxy: Option<String>,
}

/// How long to wait before giving up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection; a host's `dial_timeout` overrides it.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub idle: Duration,
    /// For a whole manifest, token or error message. Blobs have no such limit.
    pub document: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            // containerd's default for a dial.
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            document: Duration::from_secs(120),
        }
    }
}

/// When to try again after 408, 429, 5xx or a broken connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often one thing is tried in all. A body that brings bytes starts over.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each further one, less up to half of it
    /// by chance.
    pub pause: Duration,
    /// The longest such pause.
    pub longest: Duration,
    /// The longest `Retry-After` that is waited for; a longer one ends the attempts.
    pub longest_asked: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 5,
            pause: Duration::from_millis(500),
            longest: Duration::from_secs(15),
            longest_asked: Duration::from_secs(60),
        }
    }
}

/// Caps in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A manifest or index. Registries refuse to store more than 4 MiB.
    pub manifest: u64,
    /// A token server's answer.
    pub token: u64,
    /// How much of an error's body is looked at.
    pub error: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { manifest: 8 << 20, token: 1 << 20, error: 16 << 10 }
    }
}

/// How large blobs are split. Takes `size × (parallel + 1)` bytes of memory a blob at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Bytes a range. Blobs of less than two ranges come in one piece.
    pub size: u64,
    /// Ranges under way at once.
    pub parallel: usize,
}
