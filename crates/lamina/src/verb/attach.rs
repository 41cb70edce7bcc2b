//! `lamina attach`

use clap::Args;
use lamina_core::task::{ProcessId, Status};
use lamina_core::{Error, Result};

use super::run;
use super::tasks::Tasks;
use super::tasks::attach::Attached;
use super::tasks::fifos::Fifos;
use super::tasks::forward::Signals;
use super::tasks::keys::Keys;
use super::tasks::log::follow::Follower;
use super::tasks::place::Place;
use crate::cli::{Context, Exited};

/// Shows what the program of a container writes from now on, and lets it read what is typed
///
/// Signals and the exit code are as with `run`. One that was not started with -i reads nothing.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Send it nothing that is typed
    #[arg(long)]
    no_stdin: bool,
    /// The keys that let go of a terminal whose program goes on
    #[arg(long, value_name = "KEYS", default_value = Keys::DEFAULT)]
    detach_keys: Keys,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Attach {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let place = {
            let session = cx.connect().await?;
            session.containers(&cx.scope()).get(&self.id).await?;
            Place::of(cx, &session, &self.id).await?
        };
        let mut signals = Signals::listen()?;
        let tasks = Tasks::reach(cx).await?;
        let ended = self.attach(&tasks, place, &mut signals).await;
        tasks.close().await;
        match ended? {
            Some(status) => Exited::check(status),
            None => Ok(()),
        }
    }

    async fn attach(
        self,
        tasks: &Tasks,
        place: Place,
        signals: &mut Signals,
    ) -> Result<Option<u32>> {
        let process = ProcessId::init(&self.id);
        let state = tasks.service.get(&process).await?;
        if !matches!(state.status, Status::Running | Status::Paused | Status::Pausing) {
            let status = state.status.to_string().to_lowercase();
            return Err(Error::failed_precondition(format!("container {:?} is {status}", self.id)));
        }
        // Where there is a logger, it reads the output, and we read its log.
        let log = place.is_written().then(|| Follower::from_now(place)).transpose()?;
        let fifos = Fifos::open(&state.stdio, !self.no_stdin, log.is_none())?;
        if log.is_none() && !fifos.has_output() {
            return Err(Error::failed_precondition(format!(
                "the output of container {:?} goes where it cannot be had: {:?}",
                self.id, state.stdio.stdout
            )));
        }
        let mut attached = Attached::begin(fifos, Some(self.detach_keys))?;
        if let Some(log) = log {
            attached = attached.with_log(log);
        }
        attached.resize(tasks, &process).await;
        run::attend(tasks, &self.id, attached, signals).await
    }
}
