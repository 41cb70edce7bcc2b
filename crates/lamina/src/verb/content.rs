//! `lamina content`: blobs and the ingests they are written through.

mod abort;
mod active;
mod get;
mod info;
mod ingest;
mod label;
mod ls;
mod rm;

use std::sync::Arc;

use clap::Subcommand;
use lamina_core::{ContentStore, Result};

use crate::cli::{Context, Session};

/// Works with blobs, the bytes that digests name
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Info(info::Info),
    Get(get::Get),
    Ingest(ingest::Ingest),
    Rm(rm::Rm),
    Label(label::Label),
    Active(active::Active),
    Abort(abort::Abort),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Info(verb) => verb.run(cx).await,
            Verb::Get(verb) => verb.run(cx).await,
            Verb::Ingest(verb) => verb.run(cx).await,
            Verb::Rm(verb) => verb.run(cx).await,
            Verb::Label(verb) => verb.run(cx).await,
            Verb::Active(verb) => verb.run(cx).await,
            Verb::Abort(verb) => verb.run(cx).await,
        }
    }
}

/// The content of the namespace that was asked for.
fn content(cx: &Context<'_>, session: &Session) -> Arc<dyn ContentStore> {
    session.content(&cx.scope())
}
