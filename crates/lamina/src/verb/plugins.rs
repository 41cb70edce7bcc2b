//! `lamina plugins`: the parts this host is made of.

mod ls;

use clap::Subcommand;
use lamina_core::introspection::PluginInfo;
use lamina_core::{Filters, Result};
use lamina_server::plugin::SNAPSHOTTER;

use crate::cli::{Context, Session};

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

/// The snapshotters, those that do not work among them.
pub(super) async fn snapshotters(cx: &Context<'_>, session: &Session) -> Result<Vec<PluginInfo>> {
    let filters = Filters::parse_all(&[format!("type=={SNAPSHOTTER}")])?;
    session.introspection(cx.settings).plugins(filters).await
}
