//! Containers that run, for the verbs that deal with them.
//!
//! The daemon reaches them, if one runs. Otherwise they are reached through their shims, which need no
//! store: the lock is held while records and snapshots change, never while somebody waits for a container.

pub(super) mod attach;
pub(super) mod fifos;
pub(super) mod forward;
pub(super) mod keys;
pub(super) mod log;
pub(super) mod place;
pub(super) mod pump;
pub(super) mod terminal;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::event::NoEvents;
use lamina_core::task::ProcessId;
use lamina_core::{Container, Error, Kind, Result, TaskService};
use lamina_runtime::{Config, Runtime, Timeouts};

use crate::cli::{Context, Session, Settings};

/// How long a shim may take to end a program that is killed.
const ANSWER: Duration = Duration::from_secs(20);

/// Where shims are looked for when the environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The tasks of the namespace that was asked for, and what they are reached by.
#[derive(Debug)]
pub(super) struct Tasks {
    /// None where they are a daemon's.
    runtime: Option<Runtime>,
    pub(super) service: Arc<dyn TaskService>,
}

impl Tasks {
    /// Reaches tasks, without the store.
    pub(super) async fn reach(cx: &Context<'_>) -> Result<Tasks> {
        if let Some(daemon) = cx.daemon().await? {
            return Ok(Tasks { service: daemon.tasks(&cx.scope()), runtime: None });
        }
        Tasks::of(cx, Runtime::without_host(config(cx.settings), Arc::new(NoEvents))?)
    }

    /// Makes tasks, too, and holds the store until it is closed.
    pub(super) fn make(cx: &Context<'_>, session: &Session) -> Result<Tasks> {
        match session {
            Session::Daemon(daemon) => {
                Ok(Tasks { service: daemon.tasks(&cx.scope()), runtime: None })
            }
            Session::Store(store) => {
                let (host, events) = (Arc::new(store.clone()), Arc::new(NoEvents));
                Tasks::of(cx, Runtime::new(config(cx.settings), host, events)?)
            }
        }
    }

    fn of(cx: &Context<'_>, runtime: Runtime) -> Result<Tasks> {
        Ok(Tasks { service: runtime.tasks(&cx.scope()), runtime: Some(runtime) })
    }

    /// Cleans up after those that nobody has any more, when this process has the store.
    pub(super) async fn reconcile(&self) -> Result<()> {
        match &self.runtime {
            Some(runtime) => runtime.reconcile().await.map(drop),
            // A daemon sees them end.
            None => Ok(()),
        }
    }

    /// Kills the program of a container; with its shim, if that does not answer.
    ///
    /// # Errors
    /// Those of its shim, and of the daemon that has it.
    pub(super) async fn kill_surely(&self, cx: &Context<'_>, id: &str) -> Result<()> {
        let ending = super::stop::end(self, id, super::stop::KILL, Duration::ZERO);
        let ended = tokio::time::timeout(ANSWER, ending).await.unwrap_or_else(|_| {
            let message = format!("the shim of container {id:?} does not answer");
            Err(Error::new(Kind::DeadlineExceeded, message))
        });
        match (&self.runtime, ended) {
            (Some(runtime), Err(error)) => match runtime.destroy(&cx.scope(), id).await {
                Err(gone) if gone.is_not_found() => Ok(()),
                Err(stays) => Err(error.context(stays.chain())),
                Ok(()) => Ok(()),
            },
            (_, ended) => ended,
        }
    }

    /// Lets go of the tasks, which live on.
    pub(super) async fn close(self) {
        if let Some(runtime) = self.runtime {
            runtime.close().await;
        }
    }

    /// Sends a signal to a process; one that has ended does not mind.
    pub(super) async fn signal(&self, process: &ProcessId, signal: u32) -> Result<()> {
        match self.service.kill(process, signal, false).await {
            Err(error) if error.is_not_found() => Ok(()),
            sent => sent,
        }
    }

    /// Takes away a container: its task, which must not run, its mounts, its root and its record.
    ///
    /// # Errors
    /// FailedPrecondition while it runs. What is left after an error is taken by the next call.
    pub(super) async fn remove(
        &self,
        cx: &Context<'_>,
        session: &Session,
        container: &Container,
    ) -> Result<()> {
        let scope = cx.scope();
        absent_or(self.service.delete(&container.id).await.map(drop))?;
        absent_or(session.mounts(&scope).deactivate(&container.id).await)?;
        if !container.snapshot_key.is_empty() {
            let snapshotter = session.snapshotter(&scope, &container.snapshotter)?;
            absent_or(snapshotter.remove(&container.snapshot_key).await)?;
        }
        place::Place::of(cx, session, &container.id).await?.remove()?;
        absent_or(session.containers(&scope).delete(&container.id).await)
    }
}

/// What is gone already needs not be taken away.
fn absent_or(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unimplemented) => Ok(()),
        result => result,
    }
}

fn config(settings: &Settings) -> Config {
    let program = std::env::current_exe().unwrap_or_default();
    let socket = settings.default_socket().display().to_string();
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(PATH));
    let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| name != "PATH").collect();
    env.push(("PATH".into(), path.clone()));
    Config {
        path,
        beside: program.parent().map(ToOwned::to_owned),
        root: settings.config.root.clone(),
        state: settings.config.state.clone(),
        ttrpc_address: format!("{socket}.ttrpc"),
        address: socket,
        publish_binary: program,
        socket_dir: Some(settings.config.state.join("s")),
        env,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        debug: false,
        timeouts: Timeouts::default(),
    }
}
