//! `lamina version`

use clap::Args;
use lamina_core::Result;

use crate::cli::Context;

/// Our own version.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// What clients are told.
pub(crate) use lamina_server::VERSION as LINE;

/// Prints the version
#[derive(Debug, Args)]
pub(crate) struct Version {
    #[command(flatten)]
    format: crate::out::FormatArg,
}

impl Version {
    pub(super) fn run(self, cx: &mut Context<'_>) -> Result<()> {
        if self.format.is_json() {
            let version = serde_json::json!({ "Version": OURS, "API": LINE });
            return cx.out.json(&version);
        }
        cx.line(format_args!("lamina {OURS}"))?;
        cx.line(format_args!("API    {}", LINE))
    }
}
