//! `containerd.services.sandbox.v1.Controller`, of a daemon that has no controller: the names of
//! containerd's are known, and what they do is not implemented.

use lamina_api::proto::containerd::services::sandbox::v1 as proto;
use lamina_core::Error;
use proto::controller_server::ControllerServer;
use tonic::{Request, Status};

use super::scope::scope;
use super::{Answer, status};
use crate::parts::Parts;

#[derive(Debug)]
pub(super) struct Controller;

pub(super) fn server(_: &Parts) -> ControllerServer<Controller> {
    ControllerServer::new(Controller)
}

/// The controllers that containerd has.
const KNOWN: [&str; 2] = ["podsandbox", "shim"];

/// Why nothing can be done by the controller that a request names.
fn refusal<T>(request: &Request<T>, name: fn(&T) -> &str) -> Status {
    if let Err(status) = scope(request) {
        return status;
    }
    status(match name(request.get_ref()) {
        "" => Error::invalid_argument("sandboxer is required"),
        name if KNOWN.contains(&name) => {
            Error::unimplemented(format!("this daemon runs no sandboxes: sandboxer {name:?}"))
        }
        name => Error::not_found(format!("sandboxer {name:?}")),
    })
}

#[tonic::async_trait]
impl proto::controller_server::Controller for Controller {
    async fn create(
        &self,
        request: Request<proto::ControllerCreateRequest>,
    ) -> Answer<proto::ControllerCreateResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn start(
        &self,
        request: Request<proto::ControllerStartRequest>,
    ) -> Answer<proto::ControllerStartResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn platform(
        &self,
        request: Request<proto::ControllerPlatformRequest>,
    ) -> Answer<proto::ControllerPlatformResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn stop(
        &self,
        request: Request<proto::ControllerStopRequest>,
    ) -> Answer<proto::ControllerStopResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn wait(
        &self,
        request: Request<proto::ControllerWaitRequest>,
    ) -> Answer<proto::ControllerWaitResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn status(
        &self,
        request: Request<proto::ControllerStatusRequest>,
    ) -> Answer<proto::ControllerStatusResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn shutdown(
        &self,
        request: Request<proto::ControllerShutdownRequest>,
    ) -> Answer<proto::ControllerShutdownResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn metrics(
        &self,
        request: Request<proto::ControllerMetricsRequest>,
    ) -> Answer<proto::ControllerMetricsResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }

    async fn update(
        &self,
        request: Request<proto::ControllerUpdateRequest>,
    ) -> Answer<proto::ControllerUpdateResponse> {
        Err(refusal(&request, |asked| &asked.sandboxer))
    }
}
