//! `lamina plugins`: the parts this host's store is made of.

mod ls;

use clap::Subcommand;
use lamina_core::Result;

use crate::cli::Context;

/// Shows the parts of the store and whether they work here
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
}

impl Verb {
    pub(crate) fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx),
        }
    }
}
