//! `lamina image`: names of manifests, and what they stand for.

mod check;
mod convert;
pub(super) mod export;
pub(super) mod import;
mod inspect;
mod label;
mod ls;
mod mount;
mod prune;
pub(super) mod rm;
pub(super) mod tag;
mod unmount;
mod unpack;
mod usage;

use std::sync::Arc;

use clap::Subcommand;
use lamina_core::image::{Image, ImageStore};
use lamina_core::introspection::PluginStatus;
use lamina_core::{Filters, Reference, Result};
use lamina_image::check::Snapshotters;

use crate::cli::{Context, Session};

/// Works with images
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Check(check::Check),
    Usage(usage::Usage),
    Unpack(unpack::Unpack),
    Mount(mount::Mount),
    Unmount(unmount::Unmount),
    Prune(prune::Prune),
    Pull(super::pull::Pull),
    Push(super::push::Push),
    Import(import::Import),
    Export(export::Export),
    Convert(convert::Convert),
    Inspect(inspect::Inspect),
    Tag(tag::Tag),
    Rm(rm::Rm),
    Label(label::Label),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Check(verb) => verb.run(cx).await,
            Verb::Usage(verb) => verb.run(cx).await,
            Verb::Unpack(verb) => verb.run(cx).await,
            Verb::Mount(verb) => verb.run(cx).await,
            Verb::Unmount(verb) => verb.run(cx).await,
            Verb::Prune(verb) => verb.run(cx).await,
            Verb::Pull(verb) => verb.run(cx).await,
            Verb::Push(verb) => verb.run(cx).await,
            Verb::Import(verb) => verb.run(cx).await,
            Verb::Export(verb) => verb.run(cx).await,
            Verb::Convert(verb) => verb.run(cx).await,
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
pub(super) async fn name_of(images: &dyn ImageStore, typed: &str) -> Result<String> {
    match images.get(typed).await {
        Err(error) if error.is_not_found() => {}
        found => return found.map(|image| image.name),
    }
    let full = Reference::parse(typed).map(|reference| reference.to_string());
    Ok(full.unwrap_or_else(|_| typed.to_owned()))
}

/// The images that were named, or all of them.
async fn named_or_all(images: &dyn ImageStore, typed: &[String]) -> Result<Vec<Image>> {
    if typed.is_empty() {
        return images.list(Filters::default()).await;
    }
    let mut found = Vec::with_capacity(typed.len());
    for typed in typed {
        found.push(images.get(&name_of(images, typed).await?).await?);
    }
    Ok(found)
}

/// Every snapshotter that works here, as the namespace sees it.
async fn snapshotters(cx: &Context<'_>, session: &Session) -> Result<Snapshotters> {
    let plugins = super::plugins::snapshotters(cx, session).await?.into_iter();
    let ready = plugins.filter(|plugin| plugin.status() == PluginStatus::Ok);
    ready
        .map(|plugin| Ok((plugin.id.clone(), session.snapshotter(&cx.scope(), &plugin.id)?)))
        .collect()
}
