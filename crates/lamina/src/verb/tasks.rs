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
use std::time::{Duration, Instant};

use lamina_core::event::NoEvents;
use lamina_core::task::ProcessId;
use lamina_core::{Container, Error, Kind, Result, TaskService};
use lamina_runtime::{Config, Runtime, Timeouts};

use super::stop::KILL;
use crate::cli::{Context, Session, Settings};

/// How long a shim may take to end a program that is killed.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a daemon may take for that, and to undo what it makes just then.
const UNDONE: Duration = Duration::from_secs(90);

/// How soon a daemon is asked again.
const AGAIN: Duration = Duration::from_millis(200);

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
        let silent = || {
            let message = format!("the shim of container {id:?} does not answer");
            Error::new(Kind::DeadlineExceeded, message)
        };
        let limit = if self.runtime.is_some() { ANSWER } else { UNDONE };
        let begun = Instant::now();
        let ended = loop {
            let ended = tokio::time::timeout(limit, self.kill(id)).await;
            match ended.unwrap_or_else(|_| Err(silent())) {
                // A daemon may just be cleaning up after it.
                Err(error)
                    if error.kind() == Kind::DeadlineExceeded
                        && self.runtime.is_none()
                        && begun.elapsed() < ANSWER =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                ended => break ended,
            }
        };
        match (&self.runtime, ended) {
            (Some(runtime), Err(error)) => match runtime.destroy(&cx.scope(), id).await {
                Err(gone) if gone.is_not_found() => Ok(()),
                Err(stays) => Err(error.context(stays.chain())),
                Ok(()) => Ok(()),
            },
            (None, Err(error)) if error.kind() == Kind::DeadlineExceeded => {
                Err(error.context("the daemon has it"))
            }
            (_, ended) => ended,
        }
    }

    async fn kill(&self, id: &str) -> Result<()> {
        let process = ProcessId::init(id);
        match self.service.get(&process).await {
            // One that is being made is found by who kills it; the client that wanted it may be gone.
            Err(error) if error.is_not_found() => self.signal(&process, KILL).await?,
            _ => {}
        }
        super::stop::end(self, id, KILL, Duration::ZERO).await
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
        absent_or(session.containers(&scope).delete(&container.id).await)?;
        // Made while there was a record, by who is no daemon's client any more.
        self.end_orphan(cx, &container.id).await.map(drop)
    }

    /// Ends the task of a container that has no record. Whether there was one.
    ///
    /// # Errors
    /// As [`kill_surely`](Self::kill_surely).
    pub(super) async fn end_orphan(&self, cx: &Context<'_>, id: &str) -> Result<bool> {
        if absent_or(self.service.get(&ProcessId::init(id)).await.map(Some))?.is_none() {
            return Ok(false);
        }
        self.kill_surely(cx, id).await?;
        absent_or(self.service.delete(id).await.map(drop))?;
        Ok(true)
    }
}

/// What is gone already needs not be taken away.
fn absent_or<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unimplemented) => {
            Ok(T::default())
        }
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
