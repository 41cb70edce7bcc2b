//! `lamina stop`

use std::time::Duration;

use clap::Args;
use lamina_core::task::{ProcessId, Status};
use lamina_core::{Container, Error, Kind, Result};
use lamina_runtime::spec::signal;

use super::run::restart;
use super::tasks::Tasks;
use crate::cli::{Context, each};
use crate::out::visible;

/// SIGKILL, and how long its effect may take.
pub(super) const KILL: u32 = 9;
const DYING: Duration = Duration::from_secs(10);

/// Asks the programs of containers to end, kills those that do not, and prints the containers
///
/// They stay, with what they have written, until `rm`.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds until a program is killed
    #[arg(long, short, default_value_t = 10, value_name = "SECONDS")]
    time: u64,
    /// The signal that asks [default: the image's, or TERM]
    #[arg(long, short, value_name = "SIGNAL")]
    signal: Option<String>,
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Stop {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let tasks = Tasks::reach(cx).await?;
        let stopped = each(&self.ids, async |id| {
            let record = {
                let session = cx.connect().await?;
                let containers = session.containers(&cx.scope());
                restart::stopped(&*containers, containers.get(id).await?).await?
            };
            self.stop(&tasks, &record).await?;
            cx.line(visible(id))
        })
        .await;
        tasks.close().await;
        stopped
    }

    async fn stop(&self, tasks: &Tasks, container: &Container) -> Result<()> {
        let number = match &self.signal {
            Some(signal) => signal::parse(signal)?,
            None => restart::stop_signal(&container.labels)?,
        };
        end(tasks, &container.id, number, Duration::from_secs(self.time)).await
    }
}

/// Ends a container's program with a signal, or with SIGKILL after `patience`. One that does not run
/// is let be.
///
/// # Errors
/// DeadlineExceeded for one that cannot be killed; those of its shim.
pub(super) async fn end(tasks: &Tasks, id: &str, signal: u32, patience: Duration) -> Result<()> {
    let process = ProcessId::init(id);
    match tasks.service.get(&process).await {
        Ok(found) if found.status == Status::Unknown => {
            let message = format!("the shim of container {id:?} does not answer");
            return Err(Error::new(Kind::DeadlineExceeded, message));
        }
        Ok(found) if found.status == Status::Stopped => return Ok(()),
        Err(error) if error.is_not_found() => return Ok(()),
        found => found?,
    };
    let ended = async || match tasks.service.wait(&process).await {
        Err(error) if error.is_not_found() => Ok(()),
        ended => ended.map(drop),
    };
    tasks.signal(&process, signal).await?;
    if let Ok(ended) = tokio::time::timeout(patience, ended()).await {
        return ended;
    }
    tasks.signal(&process, KILL).await?;
    tokio::time::timeout(DYING, ended()).await.unwrap_or_else(|_| {
        let message = format!("container {id:?} goes on after SIGKILL");
        Err(Error::new(Kind::DeadlineExceeded, message))
    })
}
