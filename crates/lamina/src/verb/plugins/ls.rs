//! `lamina plugins ls`

use std::collections::BTreeMap;

use clap::Args;
use lamina_core::introspection::PluginInfo;
use lamina_core::{Filters, Result};
use serde::Serialize;

use crate::cli::Context;
use crate::out::{FormatArg, Table, visible};

/// Lists plugins: ok works, skip is not for this host, error should work and does not
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    /// Print why a plugin does not work, what it needs, exports and can do
    #[arg(long, short)]
    detailed: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// A plugin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    r#type: String,
    #[serde(rename = "ID")]
    id: String,
    requires: Vec<String>,
    platforms: Vec<String>,
    status: String,
    exports: BTreeMap<String, String>,
    capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    code: &'static str,
    message: String,
}

impl Ls {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let plugins = session.introspection(cx.settings).plugins(Filters::default()).await?;
        let rows: Vec<Row> = plugins.into_iter().map(row).collect();
        if self.format.is_json() {
            return cx.out.json(&rows);
        }
        if self.detailed {
            return rows.iter().flat_map(details).try_for_each(|line| cx.line(line));
        }
        let mut table = Table::new(["TYPE", "ID", "PLATFORMS", "STATUS"]);
        for row in &rows {
            let platforms = or_hyphen(&row.platforms.join(","));
            table.row([row.r#type.as_str(), &row.id, &platforms, &row.status]);
        }
        cx.line(table)
    }
}

fn row(plugin: PluginInfo) -> Row {
    Row {
        status: plugin.status().to_string(),
        r#type: plugin.kind,
        id: plugin.id,
        requires: plugin.requires,
        platforms: plugin.platforms.iter().map(ToString::to_string).collect(),
        exports: plugin.exports,
        capabilities: plugin.capabilities,
        error: plugin
            .init_error
            .map(|error| Failure { code: error.kind.text(), message: error.message }),
    }
}

/// A plugin as a block of lines with an empty one behind it.
fn details(row: &Row) -> Vec<String> {
    let mut lines = vec![
        format!("Type:         {}", row.r#type),
        format!("ID:           {}", row.id),
        format!("Platforms:    {}", or_hyphen(&row.platforms.join(","))),
        format!("Status:       {}", row.status),
    ];
    if !row.requires.is_empty() {
        lines.push(format!("Requires:     {}", row.requires.join(",")));
    }
    for (name, value) in &row.exports {
        lines.push(format!("Exports:      {} = {}", visible(name), visible(value)));
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
