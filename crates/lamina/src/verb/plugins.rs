//! `lamina plugins`: the parts this host is made of.

mod ls;

use clap::Subcommand;
use lamina_core::Result;

use crate::cli::Context;

/// Shows the parts of Lamina and whether they work here
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
        }
    }
}
