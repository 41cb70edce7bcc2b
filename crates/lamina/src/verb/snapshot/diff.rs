//! `lamina snapshot diff`

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use lamina_core::diff::CompareOptions;
use lamina_core::labels::GC_EXPIRE;
use lamina_core::{Digest, Labels, Result, Scope, media_type};
use lamina_image::changes;

use crate::cli::labels::{LabelArg, of};
use crate::cli::{Context, Session, date};

/// Writes what a snapshot changed, as a layer, to standard output
///
/// With one snapshot, that is what it changed of its parent; with two, what makes the second of the
/// first. Times after $SOURCE_DATE_EPOCH become that.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// What to write: an OCI layer, plain (…tar), …tar+gzip or …tar+zstd
    #[arg(long, value_name = "TYPE", default_value = media_type::OCI_LAYER_GZIP)]
    media_type: String,
    /// A name for the write while it is under way
    #[arg(long = "ref", value_name = "REF", default_value = "", hide_default_value = true)]
    reference: String,
    /// Keep the layer in the content store, until it is removed
    #[arg(long)]
    keep: bool,
    /// A label of the layer's blob
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<LabelArg>,
    /// The snapshot, or the first of two
    #[arg(value_name = "KEY")]
    one: String,
    /// The second
    #[arg(value_name = "KEY")]
    other: Option<String>,
}

/// How long a layer that nobody keeps is there at most, should this process die.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

impl Diff {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        // Looks the snapshotter up, for the hint of an error.
        cx.snapshotter(&session)?;
        let leases = session.leases(&cx.scope());
        let until = (Timestamp::now() + EXPIRES).to_string();
        let lease = leases.create("", Labels::from([(GC_EXPIRE.to_owned(), until)])).await?.id;
        let held = cx.scope().with_lease(&lease);
        let written = self.write(cx, &session, &held).await;
        if let Err(error) = leases.delete(&lease, false).await {
            tracing::warn!(lease, error = %error.chain(), "a lease stays until it expires");
        }
        written
    }

    async fn write(&self, cx: &mut Context<'_>, session: &Session, held: &Scope) -> Result<()> {
        let mut labels = of(&self.label);
        if self.keep {
            labels.extend(super::kept()?);
        }
        let options = CompareOptions {
            media_type: self.media_type.clone(),
            reference: self.reference.clone(),
            labels,
            source_date_epoch: date::of_the_source()?,
        };
        let (host, name) = (&**session, cx.settings.snapshotter.clone());
        let layer = match &self.other {
            None => changes::of_snapshot(host, held, &name, &self.one, options).await,
            Some(other) => changes::between(host, held, &name, (&self.one, other), options).await,
        };
        print(cx, session, held, &layer?.digest).await
    }
}

async fn print(
    cx: &mut Context<'_>,
    session: &Session,
    held: &Scope,
    digest: &Digest,
) -> Result<()> {
    let reader = session.content(held).reader(digest).await?;
    let mut at = 0;
    while at < reader.size() && cx.out.is_read() {
        let bytes = reader.read_at(at, 1 << 20).await?;
        if bytes.is_empty() {
            return Err(lamina_core::Error::data_loss(format!("blob {digest} ends at byte {at}")));
        }
        at += bytes.len() as u64;
        cx.out.bytes(&bytes)?;
    }
    Ok(())
}
