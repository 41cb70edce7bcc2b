//! `lamina publish`

use std::io::{IsTerminal as _, Read as _};

use clap::Args;
use lamina_core::{Any, Error, Result};

use crate::cli::Context;

/// An event is some names and numbers; what is larger than a message to the daemon is none.
const BYTES: u64 = 16 << 20;

/// Publishes an event, for shims
///
/// The event is read from the standard input, as an encoded google.protobuf.Any. Needs a daemon.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// What it is about, such as /tasks/exit
    #[arg(long, value_name = "TOPIC")]
    topic: String,
}

impl Publish {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let daemon = cx.daemon().await?.ok_or_else(|| {
            let socket = cx.settings.default_socket();
            let message = format!("no daemon listens on the socket {}", socket.display());
            Error::unavailable(message)
        })?;
        daemon.client.publish(&cx.scope(), &self.topic, read_event()?).await
    }
}

fn read_event() -> Result<Any> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Error::invalid_argument("the event is read from a pipe, not a terminal"));
    }
    let mut bytes = Vec::new();
    stdin
        .lock()
        .take(BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::internal("read the event").with_source(error))?;
    if bytes.len() as u64 > BYTES {
        return Err(Error::invalid_argument("the event is larger than 16 MiB"));
    }
    lamina_client::decode_event(&bytes)
}
