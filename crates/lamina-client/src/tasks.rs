//! The tasks of a daemon.

use std::collections::BTreeMap;

use async_trait::async_trait;
use lamina_api::convert::{any, descriptor, field, task as convert};
use lamina_api::proto::containerd::services::tasks::v1 as proto;
use lamina_core::task::{
    CheckpointOptions, CreateTask, Deleted, ExecProcess, Exit, Metric, Process, ProcessId,
    ProcessInfo,
};
use lamina_core::{Any, Descriptor, Filters, Result, TaskService};
use proto::tasks_client::TasksClient;

use crate::link::Link;

#[derive(Debug)]
pub(crate) struct Tasks(pub(crate) Link);

#[async_trait]
impl TaskService for Tasks {
    async fn create(&self, task: CreateTask) -> Result<u32> {
        let asked = convert::encode_create(task);
        Ok(ask!(self.0, TasksClient.create(asked))?.pid)
    }

    async fn start(&self, process: &ProcessId) -> Result<u32> {
        let (container_id, exec_id) = named(process);
        let asked = proto::StartRequest { container_id, exec_id };
        Ok(ask!(self.0, TasksClient.start(asked))?.pid)
    }

    async fn delete(&self, container: &str) -> Result<Deleted> {
        let asked = proto::DeleteTaskRequest { container_id: container.to_owned() };
        let answer = ask!(self.0, TasksClient.delete(asked))?;
        self.0.read(convert::decode_deleted(ProcessId::init(container), answer))
    }

    async fn delete_process(&self, process: &ProcessId) -> Result<Deleted> {
        let (container_id, exec_id) = named(process);
        let asked = proto::DeleteProcessRequest { container_id, exec_id };
        let answer = ask!(self.0, TasksClient.delete_process(asked))?;
        self.0.read(convert::decode_deleted(process.clone(), answer))
    }

    async fn get(&self, process: &ProcessId) -> Result<Process> {
        let (container_id, exec_id) = named(process);
        let asked = proto::GetRequest { container_id, exec_id };
        let answer = ask!(self.0, TasksClient.get(asked))?;
        let found = field::required("process", answer.process);
        let found = found.and_then(|found| convert::decode_process(&process.container, found));
        Ok(Process { id: process.clone(), ..self.0.read(found)? })
    }

    async fn list(&self) -> Result<Vec<Process>> {
        let asked = proto::ListTasksRequest::default();
        let answer = ask!(self.0, TasksClient.list(asked))?;
        let read = |found: lamina_api::proto::containerd::v1::types::Process| {
            // Each is the first of its container.
            convert::decode_process(&found.id.clone(), found)
        };
        self.0.read(answer.tasks.into_iter().map(read).collect())
    }

    async fn kill(&self, process: &ProcessId, signal: u32, all: bool) -> Result<()> {
        let (container_id, exec_id) = named(process);
        let asked = proto::KillRequest { container_id, exec_id, signal, all };
        ask!(self.0, TasksClient.kill(asked))
    }

    async fn exec(&self, process: ExecProcess) -> Result<()> {
        let asked = convert::encode_exec(process);
        ask!(self.0, TasksClient.exec(asked))
    }

    async fn resize_pty(&self, process: &ProcessId, width: u32, height: u32) -> Result<()> {
        let (container_id, exec_id) = named(process);
        let asked = proto::ResizePtyRequest { container_id, exec_id, width, height };
        ask!(self.0, TasksClient.resize_pty(asked))
    }

    async fn close_io(&self, process: &ProcessId) -> Result<()> {
        let (container_id, exec_id) = named(process);
        let asked = proto::CloseIoRequest { container_id, exec_id, stdin: true };
        ask!(self.0, TasksClient.close_io(asked))
    }

    async fn pause(&self, container: &str) -> Result<()> {
        let asked = proto::PauseTaskRequest { container_id: container.to_owned() };
        ask!(self.0, TasksClient.pause(asked))
    }

    async fn resume(&self, container: &str) -> Result<()> {
        let asked = proto::ResumeTaskRequest { container_id: container.to_owned() };
        ask!(self.0, TasksClient.resume(asked))
    }

    async fn list_pids(&self, container: &str) -> Result<Vec<ProcessInfo>> {
        let asked = proto::ListPidsRequest { container_id: container.to_owned() };
        let answer = ask!(self.0, TasksClient.list_pids(asked))?;
        Ok(answer.processes.into_iter().map(convert::decode_info).collect())
    }

    async fn checkpoint(
        &self,
        container: &str,
        options: CheckpointOptions,
    ) -> Result<Vec<Descriptor>> {
        let asked = proto::CheckpointTaskRequest {
            container_id: container.to_owned(),
            parent_checkpoint: options.parent.map(|digest| digest.to_string()).unwrap_or_default(),
            options: options.options.map(any::encode),
        };
        let answer = ask!(self.0, TasksClient.checkpoint(asked))?;
        let read = |found| descriptor::decode("descriptors", found);
        self.0.read(answer.descriptors.into_iter().map(read).collect())
    }

    async fn update(
        &self,
        container: &str,
        resources: Option<Any>,
        annotations: BTreeMap<String, String>,
    ) -> Result<()> {
        let asked = proto::UpdateTaskRequest {
            container_id: container.to_owned(),
            resources: resources.map(any::encode),
            annotations,
        };
        ask!(self.0, TasksClient.update(asked))
    }

    async fn metrics(&self, filters: Filters) -> Result<Vec<Metric>> {
        let asked = proto::MetricsRequest { filters: field::encode_filters(&filters) };
        let answer = ask!(self.0, TasksClient.metrics(asked))?;
        self.0.read(answer.metrics.into_iter().map(convert::decode_metric).collect())
    }

    /// Unavailable when the daemon ends: the process may live on, and the next daemon can be asked.
    async fn wait(&self, process: &ProcessId) -> Result<Exit> {
        let (container_id, exec_id) = named(process);
        let asked = proto::WaitRequest { container_id, exec_id };
        let answer = ask!(self.0, TasksClient.wait(asked))?;
        self.0.read(convert::decode_exit(answer))
    }
}

/// A process on the wire.
fn named(process: &ProcessId) -> (String, String) {
    (process.container.clone(), process.exec_id().to_owned())
}
