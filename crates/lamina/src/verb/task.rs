//! `lamina task`: what runs in containers, with ctr's words.

mod delete;
mod ls;
mod metrics;
mod ps;
mod start;

use clap::Subcommand;
use lamina_core::Result;

use crate::cli::Context;

/// Works with the programs of containers
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Start(start::Start),
    Attach(super::attach::Attach),
    Exec(Box<super::exec::Exec>),
    Kill(super::kill::Kill),
    Pause(super::pause::Pause),
    Resume(super::pause::Unpause),
    Ps(ps::Ps),
    Metrics(metrics::Metrics),
    Delete(delete::Delete),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Start(verb) => verb.run(cx).await,
            Verb::Attach(verb) => verb.run(cx).await,
            Verb::Exec(verb) => verb.run(cx).await,
            Verb::Kill(verb) => verb.run(cx).await,
            Verb::Pause(verb) => verb.run(cx).await,
            Verb::Resume(verb) => verb.run(cx).await,
            Verb::Ps(verb) => verb.run(cx).await,
            Verb::Metrics(verb) => verb.run(cx).await,
            Verb::Delete(verb) => verb.run(cx).await,
        }
    }
}
