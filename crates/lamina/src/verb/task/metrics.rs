//! `lamina task metrics`

use clap::Args;
use lamina_core::{Error, Filters, Result};
use lamina_runtime::metrics;
use serde_json::{Map, Value, json};

use crate::cli::Context;
use crate::out::{FormatArg, Table};
use crate::verb::tasks::Tasks;

/// Shows what a container uses
///
/// What there is depends on whether the host's control groups are of version 1 or 2.
#[derive(Debug, Args)]
#[command(visible_alias = "metric")]
pub(crate) struct Metrics {
    #[command(flatten)]
    format: FormatArg,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Metrics {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        lamina_core::namespace::check_identifier(&self.id)?;
        let filters = Filters::parse_all(&[format!("id=={}", self.id)])?;
        let tasks = Tasks::reach(cx).await?;
        let found = tasks.service.metrics(filters).await;
        tasks.close().await;
        let none = || Error::not_found(format!("metrics of container {:?}", self.id));
        let metric = found?.into_iter().next().ok_or_else(none)?;
        let values = metrics::read(&metric.data)?;
        let time = metric.timestamp.to_string();
        if self.format.is_json() {
            let values = values.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
            let mut all: Map<String, Value> = values.collect();
            all.insert("ID".to_owned(), metric.id.into());
            all.insert("Timestamp".to_owned(), time.into());
            return cx.out.json(&all);
        }
        let mut head = Table::new(["ID", "TIMESTAMP"]);
        head.row([&metric.id, &time]);
        cx.line(head)?;
        cx.line("")?;
        let mut table = Table::new(["METRIC", "VALUE"]);
        for (name, value) in values {
            table.row([name, &value.to_string()]);
        }
        cx.line(table)
    }
}
