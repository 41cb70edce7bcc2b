//! The configuration: containerd's `config.toml`, with a few settings of our own.
//!
//! | module | owns |
//! |---|---|
//! | [`Config`] | what a file says, as values with defaults |
//! | `settings` | the one table of settings: name, meaning, field |
//! | `value` | how a field is read from TOML and written to it |
//! | `load` | files: versions, imports, what is left over |
//! | `names` | what older versions call things |
//! | `render` | a configuration as a file with comments |

mod duration;
mod gc;
mod limits;
mod load;
mod names;
mod proxy;
mod render;
mod settings;
#[cfg(test)]
mod tests;
mod transfer;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lamina_core::Namespace;
use lamina_store::content::Sharing;
use lamina_store::snapshot::drivers;
use lamina_store::{Durability, Options};

pub(crate) use duration::format as go_duration;
pub use gc::Gc;
pub use limits::Limits;
pub use load::{DEFAULT_FILE, Loaded, load};
pub use proxy::{Proxy, ProxyKind};
pub use transfer::{Transfer, Unpack};

/// What a daemon or a command goes by. Every value has a default; a file names what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where images and snapshots are kept.
    pub root: PathBuf,
    /// Where what ends with a boot is kept.
    pub state: PathBuf,
    /// Where temporary files go.
    pub temp: Option<PathBuf>,
    /// Whether answered calls survive a power cut.
    pub durability: Durability,
    /// Whether namespaces share blobs and verified layers.
    pub sharing: Sharing,
    /// How likely the kernel ends the daemon when memory runs out, -1000 to 1000 (`proc(5)`).
    pub oom_score: i32,
    /// Plugins that are left out, as `type.id`.
    pub disabled_plugins: Vec<String>,
    /// Plugins without which the daemon does not start, as `type.id`.
    pub required_plugins: Vec<String>,
    /// The socket for gRPC.
    pub grpc: Socket,
    /// The socket for ttrpc.
    pub ttrpc: Socket,
    /// Where metrics are served by HTTP (`host:port`); nowhere without.
    pub metrics: Option<String>,
    /// From which level on things are logged.
    pub log_level: Level,
    /// The settings of snapshotters.
    pub drivers: drivers::Config,
    /// Caps on what registries and images may send.
    pub limits: Limits,
    /// When garbage is collected.
    pub gc: Gc,
    /// Pulls and pushes that the daemon makes for its clients.
    pub transfer: Transfer,
    /// The snapshotter of the namespace [`CRI_NAMESPACE`].
    pub cri_snapshotter: String,
    /// Where programs from images are installed (`ctr install`).
    pub opt: PathBuf,
    /// How often to look for containers that are to be started again.
    pub restart_interval: Duration,
    /// Time limits by containerd's names.
    pub timeouts: BTreeMap<String, Duration>,
    /// The differs that are asked, in this order.
    pub differs: Vec<String>,
    /// Whether a layer is durable when it was laid down, and not only when it is committed.
    pub sync_diffs: bool,
    /// Plugins in processes of their own, by name.
    pub proxies: BTreeMap<String, Proxy>,
}

/// The namespace of Kubernetes.
pub const CRI_NAMESPACE: &str = "k8s.io";
/// The snapshotter where nobody says which.
pub const DEFAULT_SNAPSHOTTER: &str = "overlayfs";
/// Where the store lies when nobody says otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/lamina";
const DEFAULT_STATE: &str = "/run/lamina";

/// A socket of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// Its path, if it is not the default.
    pub address: Option<PathBuf>,
    /// The user that owns it.
    pub uid: u32,
    /// The group that owns it.
    pub gid: u32,
}

/// From which level on things are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What is done.
    #[default]
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

impl Level {
    /// As `tracing` and containerd name it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            root: DEFAULT_ROOT.into(),
            state: DEFAULT_STATE.into(),
            temp: None,
            durability: Durability::Full,
            sharing: Sharing::Shared,
            oom_score: 0,
            disabled_plugins: Vec::new(),
            required_plugins: Vec::new(),
            grpc: Socket::default(),
            ttrpc: Socket::default(),
            metrics: None,
            log_level: Level::default(),
            drivers: drivers::Config::default(),
            limits: Limits::default(),
            gc: Gc::default(),
            transfer: Transfer::default(),
            cri_snapshotter: DEFAULT_SNAPSHOTTER.into(),
            opt: "/opt/containerd".into(),
            restart_interval: crate::restart::INTERVAL,
            timeouts: BTreeMap::new(),
            differs: vec!["walking".to_owned()],
            sync_diffs: false,
            proxies: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Where gRPC is served: as configured, or `lamina.sock` in the state directory.
    pub fn grpc_address(&self) -> PathBuf {
        self.grpc.address.clone().unwrap_or_else(|| self.state.join("lamina.sock"))
    }

    /// The snapshotter of a namespace where nobody says which.
    pub fn snapshotter(&self, namespace: &Namespace) -> &str {
        match namespace.as_str() == CRI_NAMESPACE {
            true => &self.cri_snapshotter,
            false => DEFAULT_SNAPSHOTTER,
        }
    }

    /// Whether the plugin `id` of type `kind` is left out.
    pub fn disables(&self, kind: &str, id: &str) -> bool {
        self.disabled_plugins.iter().any(|uri| is(uri, kind, id))
    }

    /// How to open the store. What it does beyond that (waiting, events) is the caller's to say.
    pub fn store(&self) -> Options {
        let mut options = Options::new(&self.root, &self.state);
        options.durability = self.durability;
        options.sharing = self.sharing;
        options.snapshotters = drivers::all(&self.drivers);
        let kind = crate::plugin::SNAPSHOTTER;
        options.snapshotters.retain(|source| !self.disables(kind, &source.name));
        options.reserve = self.limits.reserve;
        options.limits = self.limits.layer.clone();
        options
    }
}

/// Whether `uri` means the plugin `id` of type `kind`.
pub(crate) fn is(uri: &str, kind: &str, id: &str) -> bool {
    uri.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')) == Some(id)
}
