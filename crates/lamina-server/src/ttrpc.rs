//! The socket for shims, which speak ttrpc: they forward what happens to their tasks.
//!
//! Whoever may send here can tell of ends that were none, so only processes of the daemon's own user
//! are listened to, whatever the socket's mode allows.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, future};
use lamina_api::proto::containerd::services::events::ttrpc::v1::ForwardRequest;
use lamina_api::status::to_status;
use lamina_core::{Error, Result};
use prost::Message as _;
use tokio::net::{UnixListener, UnixStream};
use ttrpc::asynchronous::transport::Listener;
use ttrpc::asynchronous::{MethodHandler, Server, Service, TtrpcContext};
use ttrpc::proto::{Code, Request, Response, Status};

use crate::events::Hub;
use crate::socket;

/// What shims call.
const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";

/// The socket, and who serves it.
pub(crate) struct Ttrpc(Server);

impl std::fmt::Debug for Ttrpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ttrpc")
    }
}

impl Ttrpc {
    /// Begins to serve.
    ///
    /// # Errors
    /// Internal when it cannot.
    pub(crate) async fn start(listener: UnixListener, events: Arc<Hub>) -> Result<Ttrpc> {
        let ours = rustix::process::geteuid().as_raw();
        let trusted = socket::connections(listener)
            .filter(move |peer| future::ready(peer.as_ref().is_ok_and(|peer| is_of(peer, ours))));
        let forward: Box<dyn MethodHandler + Send + Sync> = Box::new(Forward(events));
        let methods = HashMap::from([("Forward".to_owned(), forward)]);
        let service = Service { methods, streams: HashMap::new() };
        let mut server = Server::new()
            .add_listener(Listener::new(trusted))
            .register_service(HashMap::from([(SERVICE.to_owned(), service)]));
        server.start().await.map_err(|error| Error::internal("serve shims").with_source(error))?;
        Ok(Ttrpc(server))
    }

    /// Ends what it does, after the calls in progress. Shims try again at the next daemon.
    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            tracing::warn!(%error, "the socket for shims");
        }
    }
}

fn is_of(peer: &UnixStream, user: u32) -> bool {
    match peer.peer_cred() {
        Ok(who) if who.uid() == user => true,
        Ok(who) => {
            tracing::warn!(uid = who.uid(), "the socket for shims is not for this user");
            false
        }
        Err(_) => false,
    }
}

struct Forward(Arc<Hub>);

#[async_trait]
impl MethodHandler for Forward {
    async fn handler(&self, _: TtrpcContext, request: Request) -> ttrpc::Result<Response> {
        let asked = ForwardRequest::decode(request.payload.as_slice()).map_err(|error| {
            Error::invalid_argument("the request is no ForwardRequest").with_source(error)
        });
        let done = asked.and_then(|asked| self.0.forward(asked.envelope));
        let mut status = Status::new();
        status.set_code(Code::OK);
        if let Err(error) = done {
            // There is no other way to go wrong.
            status.set_code(Code::INVALID_ARGUMENT);
            status.message = to_status(&error).message().to_owned();
        }
        let mut response = Response::new();
        response.set_status(status);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use lamina_api::convert::timestamp;
    use lamina_api::proto::containerd::types::Envelope;
    use lamina_core::Filters;
    use lamina_testkit::env::skip::require_root;
    use lamina_testkit::or_skip;
    use rustix::thread::set_thread_res_uid;
    use ttrpc::asynchronous::Client;

    use super::*;
    use crate::events::Bounds;
    use crate::socket::Owner;

    /// A hub at work, and a socket for shims.
    async fn serve(path: &Path) -> (Arc<Hub>, Ttrpc) {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let owner = Owner { uid: uid.as_raw(), gid: gid.as_raw() };
        let (hub, dispatcher) = Hub::new(Bounds::default());
        // joined: it ends with the hub.
        tokio::spawn(dispatcher.run());
        let served = Ttrpc::start(socket::listen(path, owner).unwrap(), hub.clone()).await;
        (hub, served.unwrap())
    }

    fn request(topic: &str) -> Request {
        let timestamp = Some(timestamp::encode(jiff::Timestamp::now()));
        let (namespace, topic) = ("default".to_owned(), topic.to_owned());
        let envelope = Some(Envelope { timestamp, namespace, topic, event: None });
        let mut request = Request::new();
        request.service = SERVICE.to_owned();
        request.method = "Forward".to_owned();
        request.payload = ForwardRequest { envelope }.encode_to_vec();
        request
    }

    async fn code(client: &Client, request: Request) -> Option<Code> {
        match client.request(request).await {
            Ok(_) => None,
            Err(ttrpc::Error::RpcStatus(status)) => Some(status.code()),
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn what_shims_forward_is_handed_out_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let (hub, served) = serve(&path).await;
        let mut events = Box::pin(hub.subscribe(Filters::default()));
        let client = Client::connect(&format!("unix://{}", path.display())).await.unwrap();
        let topics: Vec<String> = (0..50).map(|n| format!("/tasks/t{n}")).collect();
        for topic in &topics {
            assert_eq!(code(&client, request(topic)).await, None);
        }
        for topic in &topics {
            assert_eq!(events.next().await.unwrap().unwrap().topic, *topic);
        }
        assert_eq!(code(&client, request("no topic")).await, Some(Code::INVALID_ARGUMENT));
        let mut broken = request("/tasks/exit");
        broken.payload = vec![0xff; 9];
        assert_eq!(code(&client, broken).await, Some(Code::INVALID_ARGUMENT));
        let mut other = request("/tasks/exit");
        other.service = "containerd.services.events.v1.Events".to_owned();
        assert!(code(&client, other).await.is_some());
        assert_eq!(code(&client, request("/tasks/last")).await, None);
        assert_eq!(events.next().await.unwrap().unwrap().topic, "/tasks/last");
        // A shim keeps its connection, which is nothing to wait for.
        served.stop().await;
        drop(client);
    }

    #[tokio::test]
    async fn privileged_nobody_else_is_listened_to() {
        or_skip!("privileged_nobody_else_is_listened_to", require_root());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let (hub, served) = serve(&path).await;
        // The socket's mode is to be no help.
        for place in [dir.path(), &path] {
            std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let there = path.clone();
        let other = std::thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65534);
            set_thread_res_uid(nobody, nobody, nobody).unwrap();
            std::os::unix::net::UnixStream::connect(there).unwrap()
        });
        let mut stream = other.join().unwrap();
        let limit = Some(std::time::Duration::from_secs(60));
        stream.set_read_timeout(limit).unwrap();
        let read = tokio::task::spawn_blocking(move || {
            std::io::Read::read(&mut stream, &mut [0; 1]).unwrap()
        });
        assert_eq!(read.await.unwrap(), 0, "it is not hung up on");
        assert_eq!(hub.counts().published, 0);
        served.stop().await;
    }
}
