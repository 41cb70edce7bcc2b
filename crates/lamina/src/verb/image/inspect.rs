//! `lamina image inspect`

use clap::Args;
use jiff::Timestamp;
use lamina_core::oci::{ImageConfig, Manifest};
use lamina_core::{Descriptor, Labels, Result};
use lamina_image::contents::Contents;
use serde::Serialize;

use crate::cli::Context;

/// Prints an image as JSON: its record, and the manifests and configs that are here
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The image
    #[arg(value_name = "REF")]
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct View {
    name: String,
    target: Descriptor,
    labels: Labels,
    created_at: Timestamp,
    updated_at: Timestamp,
    manifests: Vec<PartView>,
    missing: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PartView {
    descriptor: Descriptor,
    manifest: Manifest,
    config: Option<ImageConfig>,
}

impl Inspect {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let image = images.get(&super::name_of(&*images, &self.name).await?).await?;
        let content = session.content(&cx.scope());
        let contents =
            Contents::of(&*content, &image.target, cx.settings.config.limits.documents).await?;
        let parts = contents.parts.into_iter();
        let manifests = parts
            .map(|part| PartView {
                descriptor: part.descriptor,
                manifest: part.manifest,
                config: part.config,
            })
            .collect();
        cx.out.json(&View {
            name: image.name,
            target: image.target,
            labels: image.labels,
            created_at: image.created,
            updated_at: image.updated,
            manifests,
            missing: contents.missing,
        })
    }
}
