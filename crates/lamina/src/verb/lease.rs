//! `lamina lease`: what holds content and snapshots while nothing else refers to them.

mod add;
mod create;
mod drop;
mod ls;
mod resources;
mod rm;

use std::sync::Arc;

use clap::{Args, Subcommand};
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::{LeaseStore, Result};

use crate::cli::{Context, Session};

/// Works with leases, which keep things that nothing else refers to
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Create(create::Create),
    Rm(rm::Rm),
    Resources(resources::Resources),
    Add(add::Add),
    Drop(drop::Drop),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Create(verb) => verb.run(cx).await,
            Verb::Rm(verb) => verb.run(cx).await,
            Verb::Resources(verb) => verb.run(cx).await,
            Verb::Add(verb) => verb.run(cx).await,
            Verb::Drop(verb) => verb.run(cx).await,
        }
    }
}

/// The leases of the namespace that was asked for.
fn leases(cx: &Context<'_>, session: &Session) -> Arc<dyn LeaseStore> {
    session.leases(&cx.scope())
}

/// A lease and a thing that it holds or is to hold.
#[derive(Debug, Args)]
struct Held {
    /// The lease
    #[arg(value_name = "LEASE")]
    id: String,
    /// content, ingests, images or snapshots/<snapshotter>
    #[arg(value_name = "TYPE", value_parser = ResourceType::parse)]
    kind: ResourceType,
    /// Its digest, reference, name or key; it need not exist yet
    resource: String,
}

impl Held {
    fn resource(&self) -> Resource {
        Resource { kind: self.kind.clone(), id: self.resource.clone() }
    }
}
