//! `lamina snapshotter`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lamina_core::{Error, Kind, Result};
use lamina_server::{daemon, standalone};
use lamina_store::snapshot::drivers;

use crate::cli::{Settings, absolute};

/// Another process that has the root may take that long before this gives up.
const WAIT: Duration = Duration::from_secs(60);

/// Serves one snapshotter on a socket, for the proxy_plugins of another daemon
///
/// It keeps its snapshots in --root, which no daemon shares, until it is told to stop. Namespaces,
/// leases and the collection of garbage are those of the daemon that calls.
#[derive(Debug, Args)]
pub(crate) struct Snapshotter {
    /// Where to listen
    #[arg(long, value_name = "SOCKET")]
    listen: PathBuf,

    /// The snapshotter: overlayfs, native, btrfs, blockfile, …
    #[arg(long, value_name = "NAME")]
    driver: String,

    /// The user that owns the socket [default: who runs this]
    #[arg(long, value_name = "ID")]
    uid: Option<u32>,

    /// The group that owns the socket [default: that of who runs this]
    #[arg(long, value_name = "ID")]
    gid: Option<u32>,
}

impl Snapshotter {
    pub(super) async fn run(self, settings: &Settings) -> Result<()> {
        if !settings.root_is_typed {
            return Err(Error::invalid_argument(
                "--root is missing: a snapshotter that is served has a root of its own",
            ));
        }
        let config = &settings.config;
        let root = config.root.clone();
        let mut store = lamina_store::Options::new(&root, root.join("state"));
        (store.durability, store.wait, store.reserve) = (config.durability, WAIT, 0);
        store.snapshotters = drivers::all(&config.drivers);
        store.snapshotters.retain(|source| source.name == self.driver);
        // What a daemon keeps elsewhere is the daemon's.
        store.snapshotters.iter_mut().for_each(|source| source.root = None);
        if store.snapshotters.is_empty() {
            let driver = &self.driver;
            return Err(Error::invalid_argument(format!("no snapshotter is called {driver:?}")));
        }
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let options = standalone::Options {
            store,
            snapshotter: self.driver,
            address: absolute(self.listen)?,
            uid: self.uid.unwrap_or(uid.as_raw()),
            gid: self.gid.unwrap_or(gid.as_raw()),
        };
        let mut signals = daemon::Signals::new()?;
        let served = standalone::serve(options, async || signals.next().await).await;
        if let Err(error) = &served
            && error.kind() == Kind::Cancelled
        {
            // Returning would wait for the blocking threads, which is what nobody wants to wait for.
            eprintln!("error: {error}");
            std::process::exit(130);
        }
        served
    }
}
