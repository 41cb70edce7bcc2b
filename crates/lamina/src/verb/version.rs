//! `lamina version`

use clap::Args;
use lamina_client::Version;
use lamina_core::Result;

use crate::cli::Context;
use crate::out::visible;

/// Our own version.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// What clients are told.
pub(crate) use lamina_server::VERSION as LINE;

/// Prints the version, and the daemon's if one runs
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    format: crate::out::FormatArg,
}

impl Show {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let server = match cx.daemon().await? {
            Some(daemon) => Some(daemon.client.version().await?),
            None => None,
        };
        if let Some(server) = &server
            && server.version != LINE
        {
            let theirs = visible(&server.version);
            eprintln!("warning: the daemon is another version: {theirs}, and this is {LINE}");
        }
        if self.format.is_json() {
            let mut version = serde_json::json!({ "Version": OURS, "API": LINE });
            if let Some(Version { version: theirs, revision }) = server {
                version["Daemon"] = serde_json::json!({ "API": theirs, "Revision": revision });
            }
            return cx.out.json(&version);
        }
        cx.line(format_args!("lamina {OURS}"))?;
        cx.line(format_args!("API    {LINE}"))?;
        match server {
            Some(server) => cx.line(format_args!("daemon {}", visible(&server.version))),
            None => Ok(()),
        }
    }
}
