//! `lamina serve`

use std::time::Duration;

use clap::Args;
use lamina_core::{Kind, Result};
use lamina_server::{Daemon, Owner, daemon};

use crate::cli::Settings;

/// A command that has the store may take that long before the daemon gives up.
const WAIT: Duration = Duration::from_secs(60);

/// Serves containerd's API on a socket until it is told to stop
///
/// SIGTERM and SIGINT let calls in progress end; a second one does not. Containers live on.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The user that owns the socket
    #[arg(long, default_value_t = 0, value_name = "ID")]
    uid: u32,

    /// The group that owns the socket
    #[arg(long, default_value_t = 0, value_name = "ID")]
    gid: u32,
}

impl Serve {
    /// Serves on the address that was asked for.
    pub(super) async fn run(self, settings: &Settings) -> Result<()> {
        let options = daemon::Options {
            store: settings.store(settings.durability, WAIT),
            address: settings.address.clone().unwrap_or_else(|| settings.default_socket()),
            owner: Owner { uid: self.uid, gid: self.gid },
        };
        let ended = Daemon::build(options).await?.spawn().until_signalled().await;
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
