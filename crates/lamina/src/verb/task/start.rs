//! `lamina task start`

use clap::Args;
use lamina_core::Result;

use crate::cli::{Context, Exited, Runs};
use crate::verb::run::start::{self, Mode};
use crate::verb::run::{self, need_root, restart};
use crate::verb::tasks::Tasks;
use crate::verb::tasks::forward::Signals;
use crate::verb::tasks::keys::Keys;
use crate::verb::tasks::terminal;

/// Starts the program of a container that does not run
///
/// Output, input, signals and the exit code are as with `run`. What an earlier run of it has written to its
/// files and its log is there.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Print the container's identifier and leave it running; `logs` has its output
    #[arg(long, short)]
    detach: bool,
    /// Let the program read what is typed, or what attaches later
    #[arg(long, short)]
    interactive: bool,
    /// The keys that let go of a terminal whose program goes on
    #[arg(long, value_name = "KEYS", default_value = Keys::DEFAULT)]
    detach_keys: Keys,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Start {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        cx.set_runs(Runs::InContainer);
        need_root()?;
        let mut signals = Signals::listen()?;
        let (container, made) = {
            let session = cx.connect().await?;
            let containers = session.containers(&cx.scope());
            let container = containers.get(&self.id).await?;
            if self.interactive && !self.detach && start::has_terminal(&container)? {
                terminal::check_input()?;
            }
            let stdin = self.interactive;
            let mode = match self.detach {
                true => Mode::Detached { stdin },
                false => Mode::Attached { stdin },
            };
            let made = start::make(cx, &session, &container, mode).await?;
            (container, made)
        };
        let tasks = Tasks::reach(cx).await?;
        let keys = Some(self.detach_keys);
        let ended = match run::begin(&tasks, &container, made, self.detach, keys).await {
            Ok(Some(attached)) => run::attend(&tasks, &self.id, attached, &mut signals).await,
            Ok(None) => {
                restart::kept(cx, container).await.and_then(|()| cx.line(&self.id)).map(|()| None)
            }
            Err(error) => {
                // The container stays, as it was before.
                let _ = tasks.service.delete(&self.id).await;
                Err(error.context(format!("start container {:?}", self.id)))
            }
        };
        tasks.close().await;
        ended?.map_or(Ok(()), Exited::check)
    }
}
