//! `lamina namespace`: the partitions that clients live in.

mod create;
mod label;
mod ls;
mod rm;

use clap::Subcommand;
use lamina_core::Result;

use crate::cli::Context;

/// Works with namespaces, which keep the things of several users apart
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Create(create::Create),
    Label(label::Label),
    Rm(rm::Rm),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Create(verb) => verb.run(cx).await,
            Verb::Label(verb) => verb.run(cx).await,
            Verb::Rm(verb) => verb.run(cx).await,
        }
    }
}

/// For arguments: a checked name, or all of why it is none.
fn parse(text: &str) -> Result<lamina_core::Namespace, String> {
    lamina_core::Namespace::new(text).map_err(|error| error.chain())
}
