//! `lamina container info`

use clap::Args;
use jiff::Timestamp;
use lamina_core::{Container, Labels, Result};
use serde::Serialize;
use serde_json::Value;

use crate::cli::Context;

/// Prints a container's record as JSON, with its OCI spec
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Print the spec alone
    #[arg(long)]
    spec: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// A container, as ctr prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct View {
    #[serde(rename = "ID")]
    id: String,
    labels: Labels,
    image: String,
    runtime: RuntimeView,
    #[serde(rename = "SnapshotKey")]
    snapshot_key: String,
    snapshotter: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(rename = "SandboxID", skip_serializing_if = "String::is_empty")]
    sandbox: String,
    /// As text where it is no JSON.
    spec: Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeView {
    name: String,
}

impl From<Container> for View {
    fn from(container: Container) -> View {
        let spec = &container.spec.value;
        let spec = serde_json::from_slice(spec)
            .unwrap_or_else(|_| String::from_utf8_lossy(spec).into_owned().into());
        View {
            id: container.id,
            labels: container.labels,
            image: container.image,
            runtime: RuntimeView { name: container.runtime },
            snapshot_key: container.snapshot_key,
            snapshotter: container.snapshotter,
            created_at: container.created,
            updated_at: container.updated,
            sandbox: container.sandbox,
            spec,
        }
    }
}

impl Info {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let view = View::from(session.containers(&cx.scope()).get(&self.id).await?);
        match self.spec {
            true => cx.out.json(&view.spec),
            false => cx.out.json(&view),
        }
    }
}
