//! `lamina events`

use clap::Args;
use futures_util::StreamExt as _;
use lamina_core::{Any, Envelope, Error, Event, Filters, Result};
use serde_json::{Value, json};

use crate::cli::{Context, until_interrupted};
use crate::out::visible;

/// Prints what happens in all namespaces, a line each, until it is interrupted
///
/// A line has the time, the namespace, the topic, and what is told as JSON. Events are a daemon's: it
/// must run.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only what one of these matches, such as topic~=^/images/ or namespace==default
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Events {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let filters = Filters::parse_all(&self.filters)?;
        let daemon = cx.daemon().await?.ok_or_else(|| {
            let socket = cx.settings.default_socket();
            Error::unavailable(format!(
                "events are told by a daemon, and none listens on the socket {}",
                socket.display()
            ))
        })?;
        let mut events = daemon.client.events(&filters).await?;
        until_interrupted("events", async {
            while let Some(event) = events.next().await {
                cx.line(line(&event?))?;
                cx.out.finish()?;
                if !cx.out.is_read() {
                    return Ok(());
                }
            }
            let socket = daemon.socket.display();
            Err(Error::unavailable(format!("the daemon at {socket} has ended the events")))
        })
        .await
    }
}

fn line(told: &Envelope) -> String {
    let Envelope { timestamp, namespace, event } = told;
    format!("{timestamp} {namespace} {} {}", visible(event.topic()), fields(event))
}

/// The fields by their names in `containerd.events`.
fn fields(event: &Event) -> Value {
    match event {
        Event::NamespaceCreate { name, labels }
        | Event::NamespaceUpdate { name, labels }
        | Event::ImageCreate { name, labels }
        | Event::ImageUpdate { name, labels } => json!({ "name": name, "labels": labels }),
        Event::NamespaceDelete { name } | Event::ImageDelete { name } => json!({ "name": name }),
        Event::ContentCreate { digest, size } => json!({ "digest": digest, "size": size }),
        Event::ContentDelete { digest } => json!({ "digest": digest }),
        Event::SnapshotPrepare { key, parent, snapshotter } => {
            json!({ "key": key, "parent": parent, "snapshotter": snapshotter })
        }
        Event::SnapshotCommit { key, name, snapshotter } => {
            json!({ "key": key, "name": name, "snapshotter": snapshotter })
        }
        Event::SnapshotRemove { key, snapshotter } => {
            json!({ "key": key, "snapshotter": snapshotter })
        }
        Event::ContainerCreate { id, image, runtime, .. } => {
            json!({ "id": id, "image": image, "runtime": { "name": runtime } })
        }
        Event::ContainerUpdate { id, image, labels, snapshot_key } => {
            json!({ "id": id, "image": image, "labels": labels, "snapshot_key": snapshot_key })
        }
        Event::ContainerDelete { id } => json!({ "id": id }),
        Event::Other { payload, .. } => unread(payload),
        // What later versions tell has at least its topic.
        _ => json!({}),
    }
}

/// What nobody here can read is named and measured.
fn unread(payload: &Any) -> Value {
    json!({ "type_url": payload.type_url, "bytes": payload.value.len() })
}
