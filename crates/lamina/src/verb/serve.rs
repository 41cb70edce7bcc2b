//! `lamina serve`

use std::time::Duration;

use clap::Args;
use lamina_core::{Error, Kind, Result};
use lamina_server::{Daemon, daemon};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::Settings;

/// A command that has the store may take that long before the daemon gives up.
const WAIT: Duration = Duration::from_secs(60);

/// Serves containerd's API on a socket until it is told to stop
///
/// SIGTERM and SIGINT let calls in progress end; a second one does not. Containers live on.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The user that owns the socket [default: as configured, or 0]
    #[arg(long, value_name = "ID")]
    uid: Option<u32>,

    /// The group that owns the socket [default: as configured, or 0]
    #[arg(long, value_name = "ID")]
    gid: Option<u32>,
}

impl Serve {
    /// Serves on the address that was asked for.
    pub(super) async fn run(self, settings: &Settings) -> Result<()> {
        let mut config = settings.config.clone();
        config.grpc.address = settings.address.clone().or(config.grpc.address);
        config.grpc.uid = self.uid.unwrap_or(config.grpc.uid);
        config.grpc.gid = self.gid.unwrap_or(config.grpc.gid);
        set_oom_score(config.oom_score)?;
        raise_file_limit();
        // Chunks of many readers are a lot for a moment, and then nothing.
        lamina_store::return_large_blocks();
        let options = daemon::Options { store: settings.store(config.durability, WAIT), config };
        // First of all: a signal that comes just after the socket is to drain, too.
        let mut signals = daemon::Signals::new()?;
        let built = tokio::select! {
            built = Daemon::build(options) => built?,
            // There is no socket yet, and nobody was answered. Returning would wait for the store.
            () = signals.next() => std::process::exit(0),
        };
        let ended = built.spawn().until_signalled(signals).await;
        if let Err(error) = &ended
            && error.kind() == Kind::Cancelled
        {
            // Returning would wait for the blocking threads, which is what nobody wants to wait for.
            eprintln!("error: {error}");
            std::process::exit(130);
        }
        ended
    }
}

/// As many open files as the service manager allows: each connection is one. The lower limit is there
/// for programs that use select(2), <https://0pointer.net/blog/file-descriptor-limits.html>.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Tells the kernel how likely it should end this process when memory runs out; 0 leaves it as the
/// service manager has it.
fn set_oom_score(score: i32) -> Result<()> {
    if score == 0 {
        return Ok(());
    }
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        // Only root may lower it, and a daemon of another user works without.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            tracing::warn!(score, %error, "oom_score stays as it is");
            Ok(())
        }
        written => written.map_err(|error| {
            Error::internal(format!("set oom_score to {score}")).with_source(error)
        }),
    }
}
