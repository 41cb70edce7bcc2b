//! `lamina rm`

use clap::Args;
use lamina_core::Result;

use super::run::make::ROOT_OF;
use super::run::restart;
use super::snapshot;
use super::tasks::Tasks;
use crate::cli::{Context, Session, each};
use crate::out::visible;

/// Removes containers with what they have written, and prints them
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill those that run, with their shims if these do not answer
    #[arg(long, short)]
    force: bool,
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let tasks = Tasks::make(cx, &session)?;
        tasks.reconcile().await?;
        let containers = session.containers(&cx.scope());
        let removed = each(&self.ids, async |id| {
            match containers.get(id).await {
                Ok(container) => {
                    let container = match self.force {
                        true => restart::stopped(&*containers, container).await?,
                        false => container,
                    };
                    if self.force {
                        tasks.kill_surely(cx, id).await?;
                    }
                    tasks.remove(cx, &session, &container).await?;
                }
                Err(error) if error.is_not_found() && self.force => {
                    remove_rest(cx, &tasks, &session, id).await?.then_some(()).ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
            cx.line(visible(id))
        })
        .await;
        tasks.close().await;
        let collected = session.collect().await;
        removed.and(collected.map(drop))
    }
}

/// Removes what there is without a container's record: the task that a client left, and the root of one
/// whose `run` was killed before it made the record. Whether there was something.
async fn remove_rest(cx: &Context<'_>, tasks: &Tasks, session: &Session, id: &str) -> Result<bool> {
    let task = tasks.end_orphan(cx, id).await?;
    let snapshotter = session.snapshotter(&cx.scope(), &cx.settings.snapshotter)?;
    match snapshotter.stat(id).await {
        Ok(found) if found.labels.get(ROOT_OF).is_some_and(|of| of == id) => {}
        Err(error) if !error.is_not_found() => return Err(error),
        _ => return Ok(task),
    }
    snapshot::deactivate(cx, session, id).await?;
    snapshotter.remove(id).await?;
    Ok(true)
}
