//! `containerd.services.tasks.v1.Tasks`, of a daemon that runs no containers: there are no tasks, and
//! none can be made. Clients that delete or list containers ask for their tasks first, and go on when
//! they hear that there is none.

use std::sync::Arc;

use lamina_api::convert::field;
use lamina_api::proto::containerd::services::tasks::v1 as proto;
use lamina_core::{ContainerStore, Error, Host as _};
use proto::tasks_server::TasksServer;
use tonic::{Request, Response, Status};

use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Tasks(Parts);

pub(super) fn server(parts: &Parts) -> TasksServer<Tasks> {
    TasksServer::new(Tasks(parts.clone()))
}

impl Tasks {
    fn containers<T>(&self, request: &Request<T>) -> Result<Arc<dyn ContainerStore>, Status> {
        Ok(self.0.store.containers(&scope(request)?))
    }

    /// What a call about the task of a container is answered: no such container, or it has no task.
    async fn none<T, A>(&self, request: Request<T>, id: fn(&T) -> &str) -> Answer<A> {
        let containers = self.containers(&request)?;
        let request = request.into_inner();
        let container = containers.get(id(&request)).await.map_err(status)?;
        Err(status(Error::not_found(format!("task {:?}", container.id))))
    }
}

#[tonic::async_trait]
impl proto::tasks_server::Tasks for Tasks {
    async fn create(
        &self,
        request: Request<proto::CreateTaskRequest>,
    ) -> Answer<proto::CreateTaskResponse> {
        let containers = self.containers(&request)?;
        let id = request.into_inner().container_id;
        let container = containers.get(&id).await.map_err(status)?;
        let message = format!(
            "this daemon runs no containers: make a task of container {:?} with runtime {:?}",
            container.id, container.runtime
        );
        Err(status(Error::unimplemented(message)))
    }

    async fn start(&self, request: Request<proto::StartRequest>) -> Answer<proto::StartResponse> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteTaskRequest>,
    ) -> Answer<proto::DeleteResponse> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn delete_process(
        &self,
        request: Request<proto::DeleteProcessRequest>,
    ) -> Answer<proto::DeleteResponse> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn get(&self, request: Request<proto::GetRequest>) -> Answer<proto::GetResponse> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn list(
        &self,
        request: Request<proto::ListTasksRequest>,
    ) -> Answer<proto::ListTasksResponse> {
        scope(&request)?;
        Ok(Response::new(proto::ListTasksResponse::default()))
    }

    async fn kill(&self, request: Request<proto::KillRequest>) -> Answer<()> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn exec(&self, request: Request<proto::ExecProcessRequest>) -> Answer<()> {
        if request.get_ref().exec_id.is_empty() {
            return Err(status(Error::invalid_argument("exec_id is required")));
        }
        self.none(request, |asked| &asked.container_id).await
    }

    async fn resize_pty(&self, request: Request<proto::ResizePtyRequest>) -> Answer<()> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn close_io(&self, request: Request<proto::CloseIoRequest>) -> Answer<()> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn pause(&self, request: Request<proto::PauseTaskRequest>) -> Answer<()> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn resume(&self, request: Request<proto::ResumeTaskRequest>) -> Answer<()> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn list_pids(
        &self,
        request: Request<proto::ListPidsRequest>,
    ) -> Answer<proto::ListPidsResponse> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn checkpoint(
        &self,
        request: Request<proto::CheckpointTaskRequest>,
    ) -> Answer<proto::CheckpointTaskResponse> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn update(&self, request: Request<proto::UpdateTaskRequest>) -> Answer<()> {
        self.none(request, |asked| &asked.container_id).await
    }

    async fn metrics(
        &self,
        request: Request<proto::MetricsRequest>,
    ) -> Answer<proto::MetricsResponse> {
        scope(&request)?;
        field::decode_filters(&request.into_inner().filters).map_err(status)?;
        Ok(Response::new(proto::MetricsResponse::default()))
    }

    async fn wait(&self, request: Request<proto::WaitRequest>) -> Answer<proto::WaitResponse> {
        self.none(request, |asked| &asked.container_id).await
    }
}
