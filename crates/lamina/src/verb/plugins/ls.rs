//! `lamina plugins ls`

use clap::Args;
use lamina_core::{Kind, Platform, Result};
use lamina_store::Store;
use lamina_store::snapshot::State;
use serde::Serialize;

use crate::cli::Context;
use crate::out::{FormatArg, Table, visible};

/// Lists plugins: ok works, skip is not for this host, error should work and does not
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print why a plugin does not work, where it keeps its files and what it can do
    #[arg(long, short)]
    detailed: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// A plugin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    r#type: &'static str,
    #[serde(rename = "ID")]
    id: String,
    platforms: Vec<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    code: &'static str,
    message: String,
}

/// What every store has once it is open.
const PARTS: [(&str, &str); 5] = [
    ("io.containerd.content.v1", "content"),
    ("io.containerd.gc.v1", "scheduler"),
    ("io.containerd.lease.v1", "manager"),
    ("io.containerd.metadata.v1", "sqlite"),
    ("io.containerd.mount-manager.v1", "sqlite"),
];
const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";

impl Ls {
    pub(super) fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect()?;
        let rows = rows(session.local());
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        if self.detailed {
            return rows.iter().flat_map(details).try_for_each(|line| cx.line(line));
        }
        let mut table = Table::new(["TYPE", "ID", "PLATFORMS", "STATUS"]);
        for row in &rows {
            table.row([row.r#type, &row.id, &or_hyphen(&row.platforms.join(",")), row.status]);
        }
        cx.line(table)
    }
}

fn rows(store: &Store) -> Vec<Row> {
    let parts = PARTS.iter().map(|(r#type, id)| Row {
        r#type,
        id: (*id).to_owned(),
        platforms: Vec::new(),
        status: "ok",
        root: None,
        capabilities: Vec::new(),
        error: None,
    });
    let snapshotters = store.snapshotters().into_iter().map(|(id, state)| {
        let (status, capabilities, error) = match state {
            State::Ready(engine) => ("ok", engine.driver().capabilities().words(), None),
            State::Skipped(why) => ("skip", Vec::new(), Some((Kind::Unimplemented, why))),
            State::Failed(kind, why) => ("error", Vec::new(), Some((kind, why))),
        };
        Row {
            r#type: SNAPSHOTTER,
            root: Some(store.snapshotter_root(&id).display().to_string()),
            id,
            platforms: vec![Platform::host().to_string()],
            status,
            capabilities,
            error: error.map(|(kind, message)| Failure { code: kind.text(), message }),
        }
    });
    parts.chain(snapshotters).collect()
}

/// A plugin as a block of lines with an empty one behind it.
fn details(row: &Row) -> Vec<String> {
    let mut lines = vec![
        format!("Type:         {}", row.r#type),
        format!("ID:           {}", row.id),
        format!("Platforms:    {}", or_hyphen(&row.platforms.join(","))),
        format!("Status:       {}", row.status),
    ];
    if let Some(root) = &row.root {
        lines.push(format!("Root:         {}", visible(root)));
    }
    if !row.capabilities.is_empty() {
        lines.push(format!("Capabilities: {}", row.capabilities.join(",")));
    }
    if let Some(error) = &row.error {
        lines.push(format!("Error code:   {}", error.code));
        lines.push(format!("Error:        {}", visible(&error.message)));
    }
    lines.push(String::new());
    lines
}

fn or_hyphen(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
