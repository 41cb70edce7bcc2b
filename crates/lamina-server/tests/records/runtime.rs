//! The services Tasks and Controller where nothing runs.

use lamina_api::proto::containerd::services::containers::v1::Container;
use lamina_api::proto::containerd::services::containers::v1::containers_client::ContainersClient;
use lamina_api::proto::containerd::services::sandbox::v1 as sandbox;
use lamina_api::proto::containerd::services::tasks::v1 as proto;
use proto::tasks_client::TasksClient;
use sandbox::controller_client::ControllerClient;
use tonic::{Code, Request};

use crate::containers;
use crate::support::{Server, call, refused};
use crate::texts;

#[tokio::test]
async fn tasks_that_are_not_there() {
    let server = Server::start().await;
    let mut client = TasksClient::new(server.channel());
    let mut containers = ContainersClient::new(server.channel());
    let runtime = containers::runtime("io.absent.v1");
    let record = containers::container("c");
    let record = Container { runtime, ..record };
    containers.create(containers::create(record)).await.unwrap();

    for (id, code, text) in
        [("c", Code::NotFound, "task \"c\""), ("none", Code::NotFound, "container \"none\"")]
    {
        /// Each call about a task is refused alike.
        macro_rules! each {
            ($($call:ident($request:ident)),* $(,)?) => {$(
                let mut asked = proto::$request::default();
                asked.container_id = id.to_owned();
                refused(stringify!($call), client.$call(call(asked)).await, code, text);
            )*};
        }
        each!(
            get(GetRequest),
            start(StartRequest),
            delete(DeleteTaskRequest),
            delete_process(DeleteProcessRequest),
            kill(KillRequest),
            resize_pty(ResizePtyRequest),
            close_io(CloseIoRequest),
            pause(PauseTaskRequest),
            resume(ResumeTaskRequest),
            list_pids(ListPidsRequest),
            checkpoint(CheckpointTaskRequest),
            update(UpdateTaskRequest),
            wait(WaitRequest),
        );
        let (container_id, exec_id) = (id.to_owned(), "e".to_owned());
        let exec = proto::ExecProcessRequest { container_id, exec_id, ..Default::default() };
        refused("exec", client.exec(call(exec)).await, code, text);
    }

    let create = |id: &str| {
        call(proto::CreateTaskRequest { container_id: id.to_owned(), ..Default::default() })
    };
    let made = client.create(create("c")).await;
    refused("create", made, Code::NotFound, "there is no containerd-shim-absent-v1 in ");
    let mut lost = create("c");
    lost.get_mut().runtime_path = "shim".to_owned();
    refused("create", client.create(lost).await, Code::InvalidArgument, "is not absolute");
    refused("create", client.create(create("none")).await, Code::NotFound, "none");
    let nameless = proto::ExecProcessRequest { container_id: "c".to_owned(), ..Default::default() };
    refused("exec", client.exec(call(nameless)).await, Code::InvalidArgument, "exec_id");

    let listed = client.list(call(proto::ListTasksRequest::default())).await.unwrap();
    assert!(listed.into_inner().tasks.is_empty());
    let metrics = client.metrics(call(proto::MetricsRequest::default())).await.unwrap();
    assert!(metrics.into_inner().metrics.is_empty());
    let bad = call(proto::MetricsRequest { filters: texts(&["id=c"]) });
    refused("a filter", client.metrics(bad).await, Code::InvalidArgument, "filters: ");
    let nowhere = Request::new(proto::ListTasksRequest::default());
    refused("no namespace", client.list(nowhere).await, Code::FailedPrecondition, "namespace");
    server.stop().await;
}

#[tokio::test]
async fn sandbox_controllers_are_named() {
    let server = Server::start().await;
    let mut client = ControllerClient::new(server.channel());
    for (name, code, text) in [
        ("", Code::InvalidArgument, "sandboxer"),
        ("none", Code::NotFound, "none"),
        ("shim", Code::Unimplemented, "runs no sandboxes"),
        ("podsandbox", Code::Unimplemented, "runs no sandboxes"),
    ] {
        /// Each call to a controller is refused alike.
        macro_rules! each {
            ($($call:ident($request:ident)),* $(,)?) => {$(
                let mut asked = sandbox::$request::default();
                asked.sandboxer = name.to_owned();
                let answer = client.$call(call(asked.clone())).await;
                refused(stringify!($call), answer, code, text);
                let nowhere = client.$call(Request::new(asked)).await;
                refused(stringify!($call), nowhere, Code::FailedPrecondition, "namespace");
            )*};
        }
        each!(
            create(ControllerCreateRequest),
            start(ControllerStartRequest),
            platform(ControllerPlatformRequest),
            stop(ControllerStopRequest),
            wait(ControllerWaitRequest),
            status(ControllerStatusRequest),
            shutdown(ControllerShutdownRequest),
            metrics(ControllerMetricsRequest),
            update(ControllerUpdateRequest),
        );
    }
    server.stop().await;
}
