//! `lamina config`: the configuration as a file.

use clap::Subcommand;
use lamina_core::Result;
use lamina_server::Config;

use crate::cli::Context;

/// Shows the configuration
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Prints a file with every setting, its default and what it means
    Default,
    /// Prints what the configuration file and its imports, variables and flags come to
    Dump,
}

impl Verb {
    pub(crate) fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let text = match self {
            Verb::Default => Config::default().to_toml(),
            Verb::Dump => cx.settings.config.to_toml(),
        };
        cx.out.bytes(text.as_bytes())
    }
}
