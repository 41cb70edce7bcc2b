//! `lamina lease create`

use std::time::Duration;

use clap::Args;
use jiff::{Timestamp, Unit};
use lamina_core::{Error, Result, labels};

use crate::cli::Context;
use crate::cli::labels::{LabelArg, of};
use crate::out::parse_duration;

/// Makes a lease, and prints its id
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its id; a random one if none is given
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    /// How long it lasts, 0 for as long as it is not removed
    #[arg(long, short = 'x', default_value = "24h", value_parser = duration)]
    expires: Duration,
    /// Its labels
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<LabelArg>,
}

impl Create {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let mut labels = of(&self.labels);
        if !self.expires.is_zero() {
            labels.insert(labels::GC_EXPIRE.to_owned(), after(self.expires)?.to_string());
        }
        let session = cx.connect().await?;
        let lease = super::leases(cx, &session).create(&self.id, labels).await?;
        cx.line(lease.id)
    }
}

/// For arguments: a duration, or all of why it is none.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.chain())
}

/// The moment so much later than now, in whole seconds.
fn after(wait: Duration) -> Result<Timestamp> {
    let then = Timestamp::now().checked_add(wait).and_then(|then| then.round(Unit::Second));
    then.map_err(|error| {
        Error::invalid_argument(format!("a lease cannot last {} s", wait.as_secs()))
            .with_source(error)
    })
}
