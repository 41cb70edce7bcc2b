//! `lamina completion`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use lamina_core::{Error, Result};

use crate::cli::{Cli, Context};

/// Prints a script that completes commands in a shell
///
/// For bash: source <(lamina completion bash)
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lamina", &mut script);
        let script = String::from_utf8(script)
            .map_err(|error| Error::internal("write the completion script").with_source(error))?;
        cx.line(script.trim_end())
    }
}
