//! `containerd.services.tasks.v1.Tasks`
//!
//! A task belongs to a container that has a record: calls about others are answered that there is no
//! such container, before a shim is asked.

use std::sync::Arc;

use lamina_api::convert::{any, descriptor, field, task as convert};
use lamina_api::proto::containerd::services::tasks::v1 as proto;
use lamina_core::task::{CheckpointOptions, ProcessId};
use lamina_core::{Digest, Error, Host as _, TaskService};
use proto::tasks_server::TasksServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status, whole};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Tasks(Parts);

pub(super) fn server(parts: &Parts) -> TasksServer<Tasks> {
    TasksServer::new(Tasks(parts.clone()))
}

impl Tasks {
    /// The tasks of the caller's namespace.
    fn all<T>(&self, request: &Request<T>) -> Result<Arc<dyn TaskService>, Status> {
        Ok(self.0.runtime.tasks(&scope(request)?))
    }

    /// The tasks, for a call about one of a container, and the call.
    async fn of<T>(
        &self,
        request: Request<T>,
        id: impl Fn(&T) -> &str,
    ) -> Result<(Arc<dyn TaskService>, T), Status> {
        let containers = self.0.store.containers(&scope(&request)?);
        let tasks = self.all(&request)?;
        let asked = request.into_inner();
        containers.get(id(&asked)).await.map_err(status)?;
        Ok((tasks, asked))
    }
}

#[tonic::async_trait]
impl proto::tasks_server::Tasks for Tasks {
    async fn create(
        &self,
        request: Request<proto::CreateTaskRequest>,
    ) -> Answer<proto::CreateTaskResponse> {
        let tasks = self.all(&request)?;
        let task = convert::decode_create(request.into_inner()).map_err(status)?;
        let container_id = task.container.clone();
        let pid = tasks.create(task).await.map_err(status)?;
        Ok(Response::new(proto::CreateTaskResponse { container_id, pid }))
    }

    async fn start(&self, request: Request<proto::StartRequest>) -> Answer<proto::StartResponse> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let process = ProcessId::new(asked.container_id, asked.exec_id);
        let pid = tasks.start(&process).await.map_err(status)?;
        Ok(Response::new(proto::StartResponse { pid }))
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteTaskRequest>,
    ) -> Answer<proto::DeleteResponse> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let deleted = tasks.delete(&asked.container_id).await.map_err(status)?;
        Ok(Response::new(convert::encode_deleted(deleted)))
    }

    async fn delete_process(
        &self,
        request: Request<proto::DeleteProcessRequest>,
    ) -> Answer<proto::DeleteResponse> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let process = ProcessId::new(asked.container_id, asked.exec_id);
        let deleted = tasks.delete_process(&process).await.map_err(status)?;
        Ok(Response::new(convert::encode_deleted(deleted)))
    }

    async fn get(&self, request: Request<proto::GetRequest>) -> Answer<proto::GetResponse> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let process = ProcessId::new(asked.container_id, asked.exec_id);
        let found = tasks.get(&process).await.map_err(status)?;
        let process = Some(convert::encode_process(found));
        Ok(Response::new(proto::GetResponse { process }))
    }

    /// The filter of the request has no meaning, in containerd either.
    async fn list(
        &self,
        request: Request<proto::ListTasksRequest>,
    ) -> Answer<proto::ListTasksResponse> {
        let found = self.all(&request)?.list().await.map_err(status)?;
        let tasks = found.into_iter().map(convert::encode_process).collect();
        whole("tasks", proto::ListTasksResponse { tasks })
    }

    async fn kill(&self, request: Request<proto::KillRequest>) -> Answer<()> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let process = ProcessId::new(asked.container_id, asked.exec_id);
        let killed = tasks.kill(&process, asked.signal, asked.all).await;
        killed.map_err(status).map(Response::new)
    }

    async fn exec(&self, request: Request<proto::ExecProcessRequest>) -> Answer<()> {
        if request.get_ref().exec_id.is_empty() {
            return Err(status(Error::invalid_argument("exec_id is required")));
        }
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        tasks.exec(convert::decode_exec(asked)).await.map_err(status).map(Response::new)
    }

    async fn resize_pty(&self, request: Request<proto::ResizePtyRequest>) -> Answer<()> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let process = ProcessId::new(asked.container_id, asked.exec_id);
        let resized = tasks.resize_pty(&process, asked.width, asked.height).await;
        resized.map_err(status).map(Response::new)
    }

    async fn close_io(&self, request: Request<proto::CloseIoRequest>) -> Answer<()> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let process = ProcessId::new(asked.container_id, asked.exec_id);
        // There is nothing else that could be closed.
        match asked.stdin {
            true => tasks.close_io(&process).await,
            false => tasks.get(&process).await.map(drop),
        }
        .map_err(status)?;
        Ok(Response::new(()))
    }

    async fn pause(&self, request: Request<proto::PauseTaskRequest>) -> Answer<()> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        tasks.pause(&asked.container_id).await.map_err(status).map(Response::new)
    }

    async fn resume(&self, request: Request<proto::ResumeTaskRequest>) -> Answer<()> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        tasks.resume(&asked.container_id).await.map_err(status).map(Response::new)
    }

    async fn list_pids(
        &self,
        request: Request<proto::ListPidsRequest>,
    ) -> Answer<proto::ListPidsResponse> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let found = tasks.list_pids(&asked.container_id).await.map_err(status)?;
        let processes = found.into_iter().map(convert::encode_info).collect();
        whole("processes", proto::ListPidsResponse { processes })
    }

    async fn checkpoint(
        &self,
        request: Request<proto::CheckpointTaskRequest>,
    ) -> Answer<proto::CheckpointTaskResponse> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let parent = match asked.parent_checkpoint.as_str() {
            "" => None,
            digest => Some(Digest::parse(digest).map_err(status)?),
        };
        let options = CheckpointOptions { parent, options: asked.options.map(any::decode) };
        let made = tasks.checkpoint(&asked.container_id, options).await.map_err(status)?;
        let descriptors = made.into_iter().map(descriptor::encode).collect();
        Ok(Response::new(proto::CheckpointTaskResponse { descriptors }))
    }

    async fn update(&self, request: Request<proto::UpdateTaskRequest>) -> Answer<()> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let resources = asked.resources.map(any::decode);
        let updated = tasks.update(&asked.container_id, resources, asked.annotations).await;
        updated.map_err(status).map(Response::new)
    }

    async fn metrics(
        &self,
        request: Request<proto::MetricsRequest>,
    ) -> Answer<proto::MetricsResponse> {
        let tasks = self.all(&request)?;
        let filters = field::decode_filters(&request.into_inner().filters).map_err(status)?;
        let found = tasks.metrics(filters).await.map_err(status)?;
        let metrics = found.into_iter().map(convert::encode_metric).collect();
        whole("metrics", proto::MetricsResponse { metrics })
    }

    /// A call as long as a container's life, so the daemon's end is one, too: a client that asks the
    /// next daemon misses nothing.
    async fn wait(&self, request: Request<proto::WaitRequest>) -> Answer<proto::WaitResponse> {
        let (tasks, asked) = self.of(request, |asked| &asked.container_id).await?;
        let process = ProcessId::new(asked.container_id, asked.exec_id);
        let waited = tokio::select! {
            waited = tasks.wait(&process) => waited,
            () = self.0.stopping.cancelled() => {
                Err(Error::unavailable(format!("wait for {process}: the daemon is stopping")))
            }
        };
        Ok(Response::new(convert::encode_exit(waited.map_err(status)?)))
    }
}
