//! What a user asks for, by nerdctl's flags.

use super::limits::Ulimit;
use super::{Mount, Privileges};

/// What a user asks for. The default asks for nothing: the image decides.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The arguments; they replace the image's `Cmd`.
    pub args: Vec<String>,
    /// `--entrypoint`: replaces the image's, and then its `Cmd` is not used.
    pub entrypoint: Option<Vec<String>>,
    /// `--env`, `--env-file`: `NAME=value`, as [`env::variable`](super::env::variable) answers them.
    pub env: Vec<String>,
    /// `--volume`, `--mount`, `--tmpfs`. One at a place where containers have a mount replaces that.
    pub mounts: Vec<Mount>,
    /// `--user`: `user[:group]`; see [`user::find`](super::user::find).
    pub user: Option<String>,
    /// `--workdir`: an absolute path.
    pub workdir: Option<String>,
    /// `--hostname`. None is the beginning of the id, or with the host's network the host's name.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: Network,
    /// `--memory`, in bytes; see [`limits::bytes`](super::limits::bytes).
    pub memory: Option<u64>,
    /// `--cpus`, as a quota; see [`limits::cpus`](super::limits::cpus).
    pub cpu_quota: Option<u64>,
    /// `--pids-limit`.
    pub pids: Option<u64>,
    /// `--ulimit`; see [`limits::ulimit`](super::limits::ulimit).
    pub ulimits: Vec<Ulimit>,
    /// `--cap-add`, `--cap-drop`: see [`host::capabilities`](super::host::capabilities). None are
    /// containerd's; a privileged container has all.
    pub capabilities: Option<Vec<&'static str>>,
    /// `--read-only`: the root file system cannot be written.
    pub read_only: bool,
    /// `--privileged`: what the container may do beyond others.
    pub privileged: Option<Privileges>,
    /// `--security-opt seccomp=unconfined`: every system call is allowed.
    pub seccomp_unconfined: bool,
    /// Whether programs may gain privileges by running others (setuid). containerd's default is no,
    /// nerdctl's is yes.
    pub new_privileges: bool,
    /// `--tty`.
    pub terminal: bool,
    /// The control group; none is `/<namespace>/<id>`.
    pub cgroup: Option<String>,
    /// How mounts spread into and out of the root file system: `private`, `slave`, `shared`,
    /// `unbindable`, or one of these with `r` before it.
    pub rootfs_propagation: Option<String>,
}

/// What network a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// One of its own, which nobody has set up.
    #[default]
    Own,
    /// The host's.
    Host {
        /// Files of the host (see [`host::NETWORK_FILES`](super::host::NETWORK_FILES)) that are shown
        /// at the same place, and cannot be written there.
        files: Vec<String>,
    },
    /// That of a path, as `/proc/<pid>/ns/net`.
    Path(String),
}

/// As much of an id as is shown where it stands for a name.
const SHORT_ID: usize = 12;

impl Options {
    /// The name that the container has for its host; none leaves it as the host's.
    pub(super) fn hostname<'a>(&'a self, id: &'a str) -> Option<&'a str> {
        match (&self.hostname, &self.network) {
            (Some(name), _) => Some(name),
            (None, Network::Host { .. }) => None,
            (None, _) => Some(id.get(..SHORT_ID).unwrap_or(id)),
        }
    }
}
