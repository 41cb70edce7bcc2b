//! `lamina run`

pub(super) mod make;
pub(super) mod options;
pub(super) mod restart;
pub(super) mod start;

use clap::Args;
use lamina_core::task::ProcessId;
use lamina_core::{Container, Error, Result};

use super::tasks::attach::{Attached, Drain};
use super::tasks::forward::Signals;
use super::tasks::keys::Keys;
use super::tasks::{Tasks, terminal};
use crate::cli::{Context, Exited, Runs, Session};
use make::CreateArgs;
use start::{Made, Mode};

/// Runs a program in a new container
///
/// An image that is not here is pulled. The program's output is ours, signals are sent on to it, and
/// its exit code is ours in the end. With -i it reads what we read, with -t it has a terminal. Needs root,
/// runc and containerd's shim for it.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Print the container's identifier and leave it running; `logs` has its output
    #[arg(long, short, conflicts_with = "rm")]
    detach: bool,
    /// Remove the container when the program has ended
    #[arg(long)]
    rm: bool,
    /// The keys that let go of a terminal whose program goes on
    #[arg(long, value_name = "KEYS", default_value = Keys::DEFAULT)]
    detach_keys: Keys,
    #[command(flatten)]
    create: CreateArgs,
}

impl Run {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        cx.set_runs(Runs::Container);
        let wish = self.create.wish(self.detach)?;
        if self.create.interactive && self.create.tty && !self.detach {
            terminal::check_input()?;
        }
        wish.pull_if_missing(cx).await?;
        let mut signals = Signals::listen()?;
        let mode = match self.detach {
            true => Mode::Detached { stdin: self.create.interactive },
            false => Mode::Attached { stdin: self.create.interactive },
        };
        let (container, made) = {
            let session = cx.connect().await?;
            let container = wish.make(cx, &session).await?;
            let named = |error: Error| error.context(format!("make container {:?}", container.id));
            match start::make(cx, &session, &container, mode).await {
                Ok(made) => (container, made),
                Err(error) => {
                    // Of the container, which did not come to run.
                    discard(cx, Some(session), &container).await;
                    return Err(named(error));
                }
            }
        };
        let tasks = Tasks::reach(cx).await?;
        let ended = match begin(&tasks, &container, made, self.detach, Some(self.detach_keys)).await
        {
            Ok(None) => {
                tasks.close().await;
                let id = container.id.clone();
                restart::kept(cx, container).await?;
                return cx.line(&id);
            }
            Ok(Some(attached)) => attend(&tasks, &container.id, attached, &mut signals).await,
            Err(error) => {
                tasks.close().await;
                discard(cx, None, &container).await;
                return Err(error.context(format!("start container {:?}", container.id)));
            }
        };
        tasks.close().await;
        let Some(status) = ended? else { return Ok(()) };
        if self.rm {
            remove(cx, &container).await?;
        }
        Exited::check(status)
    }
}

/// Starts the task of a container. Answers what is attached to it, unless it is left alone.
pub(super) async fn begin(
    tasks: &Tasks,
    container: &Container,
    made: Made,
    detached: bool,
    keys: Option<Keys>,
) -> Result<Option<Attached>> {
    let process = ProcessId::init(&container.id);
    let Made { mut fifos } = made;
    if detached {
        tasks.service.start(&process).await?;
        fifos.keep();
        return Ok(None);
    }
    let attached = Attached::begin(fifos, keys)?;
    attached.resize(tasks, &process).await;
    match tasks.service.start(&process).await {
        Ok(_) => Ok(Some(attached)),
        Err(error) => {
            // What the error is about says more than what was copied.
            let _ = attached.finish(Drain::Nothing).await;
            Err(error)
        }
    }
}

/// Waits for the end of a container's program; answers its exit status, or none if its user let go.
pub(super) async fn attend(
    tasks: &Tasks,
    id: &str,
    mut attached: Attached,
    signals: &mut Signals,
) -> Result<Option<u32>> {
    let exit = attached.attend(tasks, &ProcessId::init(id), signals).await;
    let drain = if matches!(exit, Ok(Some(_))) { Drain::All } else { Drain::Nothing };
    if matches!(exit, Ok(None)) {
        attached.keep();
    }
    let finished = attached.finish(drain).await;
    let exit = exit?;
    finished?;
    if exit.is_none() {
        eprintln!("let go of {id}, which goes on; `lamina attach {id}` returns to it");
    }
    Ok(exit.map(|exit| exit.status))
}

/// Removes a container that has ended.
async fn remove(cx: &Context<'_>, container: &Container) -> Result<()> {
    let session = cx.connect().await?;
    let tasks = Tasks::make(cx, &session)?;
    let removed = tasks.remove(cx, &session, container).await;
    tasks.close().await;
    removed?;
    session.collect().await.map(drop)
}

/// Takes away a container that did not come to run, whose error is what is told.
async fn discard(cx: &Context<'_>, session: Option<Session>, container: &Container) {
    // The store is opened anew: whoever failed may hold some of it.
    drop(session);
    if let Err(error) = remove(cx, container).await {
        eprintln!("warning: container {:?} is left: {}", container.id, error.chain());
    }
}

/// A new identifier.
///
/// # Errors
/// Internal if the kernel has no random numbers.
pub(super) fn random_id() -> Result<String> {
    let mut bytes = [0; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    rustix::rand::getrandom(&mut bytes, flags)
        .map_err(|error| Error::internal("make up an identifier").with_source(error))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

/// Containers are root's: what they are kept apart by needs it.
///
/// # Errors
/// PermissionDenied for anybody else.
pub(super) fn need_root() -> Result<()> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Error::permission_denied(
            "containers are made by root only: rootless containers (in a user namespace) are not \
             supported",
        )),
    }
}
