//! `lamina image`: names of manifests, and what they stand for.

mod inspect;
mod label;
mod ls;
pub(super) mod rm;
pub(super) mod tag;

use std::sync::Arc;

use clap::Subcommand;
use lamina_core::image::ImageStore;
use lamina_core::{Reference, Result};

use crate::cli::{Context, Session};

/// Works with images
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Pull(super::pull::Pull),
    Inspect(inspect::Inspect),
    Tag(tag::Tag),
    Rm(rm::Rm),
    Label(label::Label),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Pull(verb) => verb.run(cx).await,
            Verb::Inspect(verb) => verb.run(cx).await,
            Verb::Tag(verb) => verb.run(cx).await,
            Verb::Rm(verb) => verb.run(cx).await,
            Verb::Label(verb) => verb.run(cx).await,
        }
    }
}

/// The image records of the namespace that was asked for.
fn images(cx: &Context<'_>, session: &Session) -> Arc<dyn ImageStore> {
    session.images(&cx.scope())
}

/// The name of a record as typed, or as the reference it stands for when there is no such record.
async fn name_of(images: &dyn ImageStore, typed: &str) -> Result<String> {
    match images.get(typed).await {
        Err(error) if error.is_not_found() => {}
        found => return found.map(|image| image.name),
    }
    let full = Reference::parse(typed).map(|reference| reference.to_string());
    Ok(full.unwrap_or_else(|_| typed.to_owned()))
}
