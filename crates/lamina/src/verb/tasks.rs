//! Containers that run, for the verbs that deal with them.
//!
//! They are reached through their shims, which need no store: the lock is held while records and
//! snapshots change, never while somebody waits for a container.

pub(super) mod forward;
pub(super) mod streams;

use std::ffi::OsString;
use std::sync::Arc;

use lamina_core::event::NoEvents;
use lamina_core::task::{Exit, ProcessId};
use lamina_core::{Container, Error, Kind, Result, TaskService};
use lamina_runtime::{Config, Runtime, Timeouts};
use lamina_store::Store;

use crate::cli::{Context, Session, Settings};

/// Where shims are looked for when the environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The tasks of the namespace that was asked for, and what they are reached by.
#[derive(Debug)]
pub(super) struct Tasks {
    runtime: Runtime,
    pub(super) service: Arc<dyn TaskService>,
}

impl Tasks {
    /// Reaches tasks, without the store.
    pub(super) fn reach(cx: &Context<'_>) -> Result<Tasks> {
        let runtime = Runtime::without_host(config(cx.settings), Arc::new(NoEvents))?;
        Ok(Tasks { service: runtime.tasks(&cx.scope()), runtime })
    }

    /// Makes tasks, too, and holds the store until it is closed.
    pub(super) fn make(cx: &Context<'_>, store: &Store) -> Result<Tasks> {
        let host = Arc::new(store.clone());
        let runtime = Runtime::new(config(cx.settings), host, Arc::new(NoEvents))?;
        Ok(Tasks { service: runtime.tasks(&cx.scope()), runtime })
    }

    /// Lets go of the tasks, which live on.
    pub(super) async fn close(self) {
        self.runtime.close().await;
    }

    /// Sends a signal to a process; one that has ended does not mind.
    pub(super) async fn signal(&self, process: &ProcessId, signal: u32) -> Result<()> {
        match self.service.kill(process, signal, false).await {
            Err(error) if error.is_not_found() => Ok(()),
            sent => sent,
        }
    }

    /// Waits for the end of a process, and sends it the signals that this one gets.
    pub(super) async fn attend(
        &self,
        process: &ProcessId,
        signals: &mut forward::Signals,
    ) -> Result<Exit> {
        let mut ended = self.service.wait(process);
        loop {
            let signal = tokio::select! {
                exit = &mut ended => return exit,
                signal = signals.next() => signal,
            };
            if let Err(error) = self.signal(process, signal).await {
                eprintln!("warning: {}", error.chain());
            }
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
        absent_or(session.containers(&scope).delete(&container.id).await)
    }
}

/// The store, which this process has to have: no daemon runs containers yet.
///
/// # Errors
/// Unimplemented when it is a daemon's.
pub(super) async fn own(cx: &Context<'_>, verb: &str) -> Result<Session> {
    let session = cx.connect().await?;
    if let Session::Daemon(daemon) = &session {
        return Err(Error::unimplemented(format!(
            "`{verb}` with the daemon at {}: containers run without a daemon only",
            daemon.socket.display()
        )));
    }
    Ok(session)
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
