//! The verbs of the task service, over one namespace: find the task, ask its shim.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use lamina_api::convert::{any, timestamp};
use lamina_api::proto::containerd::task::v3 as api;
use lamina_core::filter::Filters;
use lamina_core::namespace::check_identifier;
use lamina_core::task::{
    CheckpointOptions, CreateTask, Deleted, ExecProcess, Exit, Metric, MetricSubject, Process,
    ProcessId, ProcessInfo, Status, Stdio, UNKNOWN_EXIT_STATUS,
};
use lamina_core::{Any, Descriptor, Error, Kind, Result, Scope, TaskService};

use crate::bundle::Bundle;
use crate::checkpoint;
use crate::create::{self, shut_down};
use crate::exits;
use crate::reload;
use crate::runtime::{Holder, Inner, Making};
use crate::task::Task;

/// SIGKILL, by Linux's number.
const KILL: u32 = 9;

/// The tasks of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    pub(crate) runtime: Arc<Inner>,
    pub(crate) scope: Scope,
}

/// What there is of a task.
enum Found {
    Task(Arc<Task>),
    /// It is being made, and not done in the time that asking for a state may take.
    Making(Making),
}

impl Tasks {
    /// The task of a container: one that is known, or one whose bundle tells how to reach it. One that
    /// is being made is none yet, but waited for a little.
    async fn find(&self, id: &str) -> Result<Arc<Task>> {
        match self.look(id).await? {
            Found::Task(task) => Ok(task),
            Found::Making(_) => Err(Error::not_found(format!("task {id:?}"))),
        }
    }

    /// The task of a container, for who ends it: one that is being made is waited for, lest it is there
    /// when its container is not. With `give_up`, it is undone if that takes longer.
    ///
    /// # Errors
    /// Unavailable when it is still being made after `timeouts.start`.
    async fn find_to_end(&self, id: &str, give_up: bool) -> Result<Arc<Task>> {
        let limit = self.runtime.config.timeouts.start;
        let made = async {
            loop {
                match self.look(id).await? {
                    Found::Task(task) => return Ok(task),
                    Found::Making(making) if give_up => {
                        making.give_up();
                        making.done().await;
                    }
                    Found::Making(making) => making.done().await,
                }
            }
        };
        let late = |_| Err(Error::unavailable(format!("task {id:?} is being made")));
        tokio::time::timeout(limit, made).await.unwrap_or_else(late)
    }

    async fn look(&self, id: &str) -> Result<Found> {
        check_identifier(id)?;
        let none = || Error::not_found(format!("task {id:?}"));
        let key = (self.scope.namespace.clone(), id.to_owned());
        let limit = self.runtime.config.timeouts.state;
        loop {
            match self.runtime.reserve_or(&key) {
                Err(Holder::Task(task)) => return Ok(Found::Task(task)),
                Err(Holder::Busy(making)) => {
                    if tokio::time::timeout(limit, making.done()).await.is_err() {
                        return Ok(Found::Making(making));
                    }
                }
                Ok(reserved) => {
                    let bundle = Bundle::of(&self.runtime.config, &key.0, id);
                    if !bundle.exists() {
                        return Err(none());
                    }
                    let inner = self.runtime.clone();
                    let reached = self.runtime.run(async move {
                        let reached = reload::reach(&inner, &bundle).await?;
                        if let Some(task) = &reached {
                            reserved.keep(task.clone());
                        }
                        Ok(reached)
                    });
                    return reached.await?.map(Found::Task).ok_or_else(none);
                }
            }
        }
    }

    /// Asks the shim of a container for something that answers nothing.
    async fn tell(&self, id: &str, method: &str, request: &impl prost::Message) -> Result<()> {
        let task = self.find(id).await?;
        task.client.call::<()>(method, request).await.map_err(|error| about(error, id))
    }

    /// The state of a process; Unknown when there is no answer in time.
    async fn state(&self, task: &Task, process: &ProcessId) -> Result<Process> {
        let ask = api::StateRequest {
            id: process.container.clone(),
            exec_id: process.exec_id().to_owned(),
        };
        let limit = self.runtime.config.timeouts.state;
        match task.client.call_within::<api::StateResponse>(limit, "State", &ask).await {
            Ok(answer) => read_state(process, answer),
            Err(error) if matches!(error.kind(), Kind::DeadlineExceeded | Kind::Unavailable) => {
                Ok(Process {
                    id: process.clone(),
                    pid: 0,
                    status: Status::Unknown,
                    stdio: Stdio::default(),
                    exit: None,
                })
            }
            Err(error) => Err(about(error, process)),
        }
    }

    /// FailedPrecondition for a process that is not over.
    async fn refuse_running(&self, task: &Task, process: &ProcessId) -> Result<()> {
        match self.state(task, process).await?.status {
            status @ (Status::Running | Status::Paused | Status::Pausing) => {
                let status = status.to_string().to_lowercase();
                Err(Error::failed_precondition(format!("process {process} is {status}")))
            }
            _ => Ok(()),
        }
    }

    async fn ask_delete(&self, task: &Task, process: &ProcessId) -> Result<Deleted> {
        let ask = api::DeleteRequest {
            id: process.container.clone(),
            exec_id: process.exec_id().to_owned(),
        };
        let answer: api::DeleteResponse =
            task.client.call("Delete", &ask).await.map_err(|error| about(error, process))?;
        let at = timestamp::decode("exited_at", answer.exited_at)?;
        let exit = Exit { status: answer.exit_status, at };
        Ok(Deleted { id: process.clone(), pid: answer.pid, exit })
    }

    async fn delete_whole(self, task: Arc<Task>) -> Result<Deleted> {
        let process = ProcessId::init(task.id());
        let mut gone = task.gone.lock().await;
        if *gone {
            return Err(Error::not_found(format!("task {:?}", task.id())));
        }
        self.refuse_running(&task, &process).await?;
        let deleted = self.ask_delete(&task, &process).await?;
        // From here on the shim's end is no surprise.
        *gone = true;
        let retired = self.runtime.retire(&task);
        // A sandbox's shim ends with the sandbox.
        if task.bundle.sandbox().is_none() || task.bundle.shim().is_ok() {
            shut_down(&self.runtime, &task.client, task.id().to_owned()).await;
        }
        task.end(deleted.exit);
        if let Err(error) = exits::remove(&self.runtime, &task.bundle).await {
            tracing::error!(task = task.id(), "left something behind: {}", error.chain());
        }
        drop(retired);
        Ok(deleted)
    }

    /// What a closed connection means for who waits: the end that the cleaning up finds.
    async fn wait_for_cleanup(&self, task: &Task, process: &ProcessId) -> Result<Exit> {
        let mut exit = task.exit.subscribe();
        let ended = tokio::select! {
            ended = exit.wait_for(Option::is_some) => ended.ok().and_then(|exit| *exit),
            () = self.runtime.closing.cancelled() => None,
        };
        let Some(exit) = ended else {
            return Err(Error::unavailable(format!("process {process}: shutting down")));
        };
        let status = if process.exec.is_some() { UNKNOWN_EXIT_STATUS } else { exit.status };
        Ok(Exit { status, at: exit.at })
    }

    async fn stats(&self, task: &Task) -> Option<Metric> {
        let ask = api::StatsRequest { id: task.id().to_owned() };
        let limit = self.runtime.config.timeouts.state;
        let answer = task.client.call_within::<api::StatsResponse>(limit, "Stats", &ask).await;
        let data = any::decode(answer.ok()?.stats?);
        Some(Metric { id: task.id().to_owned(), timestamp: Timestamp::now(), data })
    }
}

#[async_trait]
impl TaskService for Tasks {
    async fn create(&self, task: CreateTask) -> Result<u32> {
        let creating = create::create(self.runtime.clone(), self.scope.namespace.clone(), task);
        self.runtime.run(creating).await
    }

    async fn start(&self, process: &ProcessId) -> Result<u32> {
        let task = self.find(&process.container).await?;
        let ask = api::StartRequest {
            id: process.container.clone(),
            exec_id: process.exec_id().to_owned(),
        };
        match task.client.call::<api::StartResponse>("Start", &ask).await {
            Ok(answer) => Ok(answer.pid),
            // What shims say of a process that runs has no class.
            Err(error) if error.kind() == Kind::Unknown => {
                let state = self.state(&task, process).await;
                let started = state.is_ok_and(|state| {
                    !matches!(state.status, Status::Created | Status::Unknown)
                        && (process.exec.is_none() || state.pid != 0)
                });
                let error = about(error, process);
                Err(if started { error.with_kind(Kind::FailedPrecondition) } else { error })
            }
            Err(error) => Err(about(error, process)),
        }
    }

    async fn delete(&self, container: &str) -> Result<Deleted> {
        let task = self.find_to_end(container, false).await?;
        self.runtime.run(self.clone().delete_whole(task)).await
    }

    async fn delete_process(&self, process: &ProcessId) -> Result<Deleted> {
        let task = self.find(&process.container).await?;
        if process.exec.is_none() {
            let message = format!("process {process} is the first one, which goes with its task");
            return Err(Error::invalid_argument(message));
        }
        self.refuse_running(&task, process).await?;
        self.ask_delete(&task, process).await
    }

    async fn get(&self, process: &ProcessId) -> Result<Process> {
        let task = self.find(&process.container).await?;
        self.state(&task, process).await
    }

    async fn list(&self) -> Result<Vec<Process>> {
        let (inner, namespace) = (self.runtime.clone(), self.scope.namespace.clone());
        let ids = exits::blocking(move || reload::ids(&inner, &namespace)).await?;
        let asked = join_all(ids.into_iter().map(|id| async move {
            let process = ProcessId::init(id);
            match self.get(&process).await {
                Ok(state) => Some(state),
                // It went, or is being made.
                Err(error) if error.is_not_found() || error.kind() == Kind::Unavailable => None,
                Err(error) => {
                    tracing::warn!(task = process.container, "{}", error.chain());
                    let stdio = Stdio::default();
                    Some(Process {
                        id: process,
                        pid: 0,
                        status: Status::Unknown,
                        stdio,
                        exit: None,
                    })
                }
            }
        }));
        Ok(asked.await.into_iter().flatten().collect())
    }

    async fn kill(&self, process: &ProcessId, signal: u32, all: bool) -> Result<()> {
        let ask = api::KillRequest {
            id: process.container.clone(),
            exec_id: process.exec_id().to_owned(),
            signal,
            all,
        };
        let give_up = signal == KILL && process.exec.is_none();
        let task = self.find_to_end(&process.container, give_up).await?;
        let killed = task.client.call::<()>("Kill", &ask).await;
        killed.map_err(|error| about(error, &process.container))
    }

    async fn exec(&self, process: ExecProcess) -> Result<()> {
        check_identifier(&process.exec)?;
        let Stdio { stdin, stdout, stderr, terminal } = process.stdio;
        let ask = api::ExecProcessRequest {
            id: process.container.clone(),
            exec_id: process.exec,
            terminal,
            stdin,
            stdout,
            stderr,
            spec: Some(any::encode(process.spec)),
        };
        self.tell(&process.container, "Exec", &ask).await
    }

    async fn resize_pty(&self, process: &ProcessId, width: u32, height: u32) -> Result<()> {
        let ask = api::ResizePtyRequest {
            id: process.container.clone(),
            exec_id: process.exec_id().to_owned(),
            width,
            height,
        };
        self.tell(&process.container, "ResizePty", &ask).await
    }

    async fn close_io(&self, process: &ProcessId) -> Result<()> {
        let ask = api::CloseIoRequest {
            id: process.container.clone(),
            exec_id: process.exec_id().to_owned(),
            stdin: true,
        };
        self.tell(&process.container, "CloseIO", &ask).await
    }

    async fn pause(&self, container: &str) -> Result<()> {
        self.tell(container, "Pause", &api::PauseRequest { id: container.to_owned() }).await
    }

    async fn resume(&self, container: &str) -> Result<()> {
        self.tell(container, "Resume", &api::ResumeRequest { id: container.to_owned() }).await
    }

    async fn list_pids(&self, container: &str) -> Result<Vec<ProcessInfo>> {
        let task = self.find(container).await?;
        let ask = api::PidsRequest { id: container.to_owned() };
        let answer: api::PidsResponse =
            task.client.call("Pids", &ask).await.map_err(|error| about(error, container))?;
        let read = |p: lamina_api::proto::containerd::v1::types::ProcessInfo| ProcessInfo {
            pid: p.pid,
            info: p.info.map(any::decode),
        };
        Ok(answer.processes.into_iter().map(read).collect())
    }

    async fn checkpoint(
        &self,
        container: &str,
        options: CheckpointOptions,
    ) -> Result<Vec<Descriptor>> {
        let task = self.find(container).await?;
        let work = checkpoint::checkpoint(self.runtime.clone(), self.scope.clone(), task, options);
        let made = self.runtime.run(work).await;
        made.map_err(|error| about(error, container).context("checkpoint"))
    }

    async fn update(
        &self,
        container: &str,
        resources: Option<Any>,
        annotations: BTreeMap<String, String>,
    ) -> Result<()> {
        let ask = api::UpdateTaskRequest {
            id: container.to_owned(),
            resources: resources.map(any::encode),
            annotations,
        };
        self.tell(container, "Update", &ask).await
    }

    async fn metrics(&self, filters: Filters) -> Result<Vec<Metric>> {
        let (inner, namespace) = (self.runtime.clone(), self.scope.namespace.clone());
        let ids = exits::blocking(move || reload::ids(&inner, &namespace)).await?;
        let namespace = &self.scope.namespace;
        let wanted = ids.into_iter().filter(|id| filters.matches(&MetricSubject { id, namespace }));
        let asked = join_all(wanted.map(|id| async move {
            let task = self.find(&id).await.ok()?;
            self.stats(&task).await
        }));
        Ok(asked.await.into_iter().flatten().collect())
    }

    async fn wait(&self, process: &ProcessId) -> Result<Exit> {
        let task = self.find(&process.container).await?;
        let ask = api::WaitRequest {
            id: process.container.clone(),
            exec_id: process.exec_id().to_owned(),
        };
        match task.client.call::<api::WaitResponse>("Wait", &ask).await {
            Ok(answer) => {
                let at = timestamp::decode("exited_at", answer.exited_at)?;
                Ok(Exit { status: answer.exit_status, at })
            }
            Err(_) if task.client.is_closed() => self.wait_for_cleanup(&task, process).await,
            Err(error) => Err(about(error, process)),
        }
    }
}

fn read_state(process: &ProcessId, answer: api::StateResponse) -> Result<Process> {
    let status = Status::from_number(answer.status);
    let exit = match status {
        Status::Stopped => Some(Exit {
            status: answer.exit_status,
            at: timestamp::decode("exited_at", answer.exited_at)?,
        }),
        _ => None,
    };
    let api::StateResponse { pid, stdin, stdout, stderr, terminal, .. } = answer;
    let stdio = Stdio { stdin, stdout, stderr, terminal };
    Ok(Process { id: process.clone(), pid, status, stdio, exit })
}

/// The shim's error, with its subject.
fn about(error: Error, subject: impl std::fmt::Display) -> Error {
    error.context(format!("task {subject}"))
}
