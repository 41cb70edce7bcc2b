//! `lamina container`: records of containers, and what they are made of.

mod create;
mod info;
mod label;
mod ls;

use clap::Subcommand;
use lamina_core::Result;

use crate::cli::Context;

/// Works with containers, whether they run or not
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Info(info::Info),
    Create(Box<create::Create>),
    Label(label::Label),
    Rm(super::rm::Rm),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Info(verb) => verb.run(cx).await,
            Verb::Create(verb) => verb.run(cx).await,
            Verb::Label(verb) => verb.run(cx).await,
            Verb::Rm(verb) => verb.run(cx).await,
        }
    }
}
