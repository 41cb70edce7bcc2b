//! Containers that run: the runtime as the daemon opens it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use lamina_core::{Error, Result};
use lamina_runtime::{Runtime, Timeouts};
use lamina_store::Store;

use crate::config::{Config, Level};
use crate::events::Hub;

/// What of this process's environment shims do not get: it is between the service manager and us.
const OURS: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"];

/// Where programs are looked for when the environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The socket for shims, beside that for clients unless configured otherwise.
pub(crate) fn ttrpc_address(config: &Config) -> PathBuf {
    config.ttrpc.address.clone().unwrap_or_else(|| {
        let mut address = config.grpc_address().into_os_string();
        address.push(".ttrpc");
        address.into()
    })
}

/// Opens the runtime.
///
/// # Errors
/// InvalidArgument for sockets whose paths are no text; those of the runtime.
pub(crate) fn open(config: &Config, store: &Store, events: &Arc<Hub>) -> Result<Runtime> {
    let text = |path: PathBuf| {
        let bad = |path| Error::invalid_argument(format!("the socket {path:?} is not UTF-8"));
        path.into_os_string().into_string().map_err(bad)
    };
    let program = std::env::current_exe()
        .map_err(|error| Error::internal("find this program").with_source(error))?;
    // Programs from images come first, as in containerd.
    let inherited = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let mut folders = vec![config.opt.join("bin")];
    folders.extend(std::env::split_paths(&inherited));
    let runtime = lamina_runtime::Config {
        path: std::env::join_paths(folders).unwrap_or(inherited),
        beside: program.parent().map(ToOwned::to_owned),
        root: config.root.clone(),
        state: config.state.clone(),
        address: text(config.grpc_address())?,
        ttrpc_address: text(ttrpc_address(config))?,
        publish_binary: program,
        socket_dir: Some(config.state.join("s")),
        env: environment(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        debug: config.log_level <= Level::Debug,
        timeouts: timeouts(config),
    };
    Runtime::new(runtime, Arc::new(store.clone()), events.clone())
}

fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| OURS.iter().all(|ours| name != ours)).collect()
}

/// The limits that are heeded, by containerd's names: of reaching a shim again, of cleaning up after
/// one, of its end, and of asking for a task's state.
pub(crate) const LIMITS: [&str; 4] = [
    "io.containerd.timeout.shim.load",
    "io.containerd.timeout.shim.cleanup",
    "io.containerd.timeout.shim.shutdown",
    "io.containerd.timeout.task.state",
];

fn timeouts(config: &Config) -> Timeouts {
    let standard = Timeouts::default();
    let limit = |name: &str, default| config.timeouts.get(name).copied().unwrap_or(default);
    let [load, cleanup, shutdown, state] = LIMITS;
    Timeouts {
        start: standard.start,
        load: limit(load, standard.load),
        cleanup: limit(cleanup, standard.cleanup),
        shutdown: limit(shutdown, standard.shutdown),
        state: limit(state, standard.state),
    }
}

/// Reaches again the tasks that outlived the last daemon, and tells the ends of those that did not.
pub(crate) async fn load(runtime: &Runtime) -> Result<()> {
    let loaded = runtime.load().await?;
    if !loaded.tasks.is_empty() || !loaded.lost.is_empty() {
        let (reached, lost) = (loaded.tasks.len(), loaded.lost.len());
        tracing::info!(reached, lost, "tasks of an earlier daemon");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn limits_go_by_containerds_names() {
        let mut config = Config::default();
        let standard = timeouts(&config);
        assert_eq!(standard.load, Timeouts::default().load);
        for (name, seconds) in LIMITS.into_iter().zip(11..) {
            config.timeouts.insert(name.to_owned(), Duration::from_secs(seconds));
        }
        let Timeouts { load, cleanup, shutdown, state, .. } = timeouts(&config);
        assert_eq!([load, cleanup, shutdown, state].map(|limit| limit.as_secs()), [11, 12, 13, 14]);
    }

    #[test]
    fn the_socket_for_shims_is_beside_that_for_clients() {
        let mut config = Config::default();
        assert_eq!(ttrpc_address(&config), PathBuf::from("/run/lamina/lamina.sock.ttrpc"));
        config.ttrpc.address = Some("/x/t".into());
        assert_eq!(ttrpc_address(&config), PathBuf::from("/x/t"));
    }
}
