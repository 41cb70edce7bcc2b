//! Making a task: bundle, mounts, shim, task, in this order; and all of it undone when a step fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamina_api::convert::{any, mount};
use lamina_api::proto::containerd::task::v3 as api;
use lamina_core::mount::ActivateOptions;
use lamina_core::namespace::check_identifier;
use lamina_core::task::CreateTask;
use lamina_core::{Any, Container, Error, Kind, Labels, Mount, Namespace, Result, Scope};
use tokio_util::sync::CancellationToken;

use crate::bundle::Bundle;
use crate::checkpoint;
use crate::exits::{self, blocking};
use crate::kill;
use crate::reload;
use crate::runtime::{Holder, Inner, Key, Reserved};
use crate::shim::answer::Endpoint;
use crate::shim::client::Client;
use crate::shim::{name, start};
use crate::task::{Task, copy_log};

/// Keeps an activation as long as the container has its record.
const CONTAINER: &str = "containerd.io/gc.bref.container";

/// Makes a task; answers the process id of its first process.
pub(crate) async fn create(
    inner: Arc<Inner>,
    namespace: Namespace,
    request: CreateTask,
) -> Result<u32> {
    check_identifier(&request.container)?;
    let containers = inner.host()?.containers(&Scope::new(namespace.clone()));
    let container = containers.get(&request.container).await?;
    let bundle = Bundle::of(&inner.config, &namespace, &container.id);
    let reserved = reserve(&inner, &(namespace, container.id.clone())).await?;
    if bundle.exists()
        && let Some(task) = reload::reach(&inner, &bundle).await?
    {
        reserved.keep(task);
        return Err(Error::already_exists(format!("task {:?}", container.id)));
    }
    let server = server(&inner, &container, &request)?;
    let (made, spec) = (bundle.clone(), container.spec.value.clone());
    blocking(move || made.create(&spec)).await?;
    let mut draft = Draft { inner: &inner, bundle, server, client: None, log: None };
    let made: Result<u32> = async {
        let pid = draft.make(&container, request, reserved.given_up()).await?;
        // A container that was removed meanwhile has nobody who would end its task.
        containers.get(&container.id).await?;
        Ok(pid)
    }
    .await;
    match made {
        Ok(pid) => {
            let Draft { bundle, client, log, .. } = draft;
            let (Some(client), Some(log)) = (client, log) else {
                return Err(Error::internal("a task without a connection"));
            };
            reserved.keep(Task::new(&inner, bundle, client, log));
            Ok(pid)
        }
        Err(error) => {
            let error = error.context(format!("create task {:?}", container.id));
            let hangs = matches!(error.kind(), Kind::Cancelled | Kind::DeadlineExceeded);
            draft.undo(hangs).await;
            Err(error)
        }
    }
}

/// Reserves the name. Whoever has it for a moment only, to look for such a task or to take one away, is
/// waited for.
async fn reserve(inner: &Arc<Inner>, key: &Key) -> Result<Reserved> {
    let taken = || Error::already_exists(format!("task {:?}", key.1));
    let free = async {
        loop {
            match inner.reserve_or(key) {
                Ok(reserved) => return Ok(reserved),
                Err(Holder::Task(_)) => return Err(taken()),
                Err(Holder::Busy(making)) => making.done().await,
            }
        }
    };
    let limit = inner.config.timeouts.state;
    tokio::time::timeout(limit, free).await.unwrap_or_else(|_| Err(taken()))
}

/// Who serves the task.
enum Server {
    /// A shim of its own, by its program.
    Shim(PathBuf),
    /// One that runs already.
    Running(Endpoint),
}

fn server(inner: &Inner, container: &Container, request: &CreateTask) -> Result<Server> {
    if !request.task_api_address.is_empty() {
        let address = request.task_api_address.as_str();
        let (protocol, address) = address.split_once('+').unwrap_or(("ttrpc", address));
        let endpoint = Endpoint {
            version: request.task_api_version,
            address: address.to_owned(),
            protocol: protocol.to_owned(),
        };
        return endpoint.checked().map(Server::Running);
    }
    let runtime = match request.runtime_path.as_str() {
        "" => container.runtime.as_str(),
        path if Path::new(path).is_absolute() => path,
        path => {
            let message = format!("runtime path {path:?} is not absolute");
            return Err(Error::invalid_argument(message));
        }
    };
    name::find(runtime, &inner.config.path, inner.config.beside.as_deref()).map(Server::Shim)
}

/// A task being made: what there is of it so far.
struct Draft<'a> {
    inner: &'a Arc<Inner>,
    bundle: Bundle,
    server: Server,
    client: Option<Client>,
    log: Option<CancellationToken>,
}

impl Draft<'_> {
    /// Makes it, unless it is given up first. What the host does is let end; shims may hang.
    async fn make(
        &mut self,
        container: &Container,
        request: CreateTask,
        given_up: impl Future<Output = ()>,
    ) -> Result<u32> {
        let rootfs = self.activate(&request.rootfs).await?;
        tokio::select! {
            made = self.serve(container, request, rootfs) => made,
            () = given_up => Err(Error::cancelled("it was killed while it was made")),
        }
    }

    async fn serve(
        &mut self,
        container: &Container,
        request: CreateTask,
        rootfs: Vec<Mount>,
    ) -> Result<u32> {
        self.log = Some(copy_log(self.inner, &self.bundle)?);
        if !container.sandbox.is_empty() {
            self.bundle.write_sandbox(&container.sandbox)?;
        }
        let options = request.options.as_ref().or(container.runtime_options.as_ref());
        let checkpoint =
            checkpoint::restore(self.inner, &self.bundle, request.checkpoint, options).await?;
        let endpoint = match &self.server {
            Server::Running(endpoint) => endpoint.clone(),
            Server::Shim(shim) => {
                // Before it is started: whoever finds this bundle after a crash can clean up.
                self.bundle.write_shim(shim)?;
                let config = &self.inner.config;
                start::start(config, &self.bundle, shim, options).await?
            }
        };
        let client = Client::connect(&endpoint, self.bundle.namespace()).await?;
        let client = self.client.insert(client);
        self.bundle.write_endpoint(&endpoint)?;
        let mut ask = task_request(&self.bundle, rootfs, request.stdio, options);
        ask.checkpoint = checkpoint;
        let limit = self.inner.config.timeouts.start;
        let made: api::CreateTaskResponse = client.call_within(limit, "Create", &ask).await?;
        if made.pid != 0 {
            return Ok(made.pid);
        }
        let ask = api::ConnectRequest { id: self.bundle.id().to_owned() };
        let answer: api::ConnectResponse = client.call_within(limit, "Connect", &ask).await?;
        Ok(answer.task_pid)
    }

    /// Has the mount manager mount what the shim cannot.
    async fn activate(&self, rootfs: &[Mount]) -> Result<Vec<Mount>> {
        if rootfs.is_empty() {
            return Ok(Vec::new());
        }
        let id = self.bundle.id();
        let mounts = self.inner.host()?.mounts(&Scope::new(self.bundle.namespace().clone()));
        let labels = Labels::from([(CONTAINER.to_owned(), id.to_owned())]);
        let options = ActivateOptions { labels, ..Default::default() };
        match mounts.activate(id, rootfs, options).await {
            Ok(activation) => Ok(activation.system),
            // Left by a task of this container; nobody else has that name.
            Err(error) if error.is_already_exists() => Ok(mounts.info(id).await?.system),
            Err(error) if error.kind() == Kind::Unimplemented => Ok(rootfs.to_vec()),
            Err(error) => Err(error),
        }
    }

    /// Undoes what was done; a shim that hangs is not asked to. What cannot be undone is logged: the first
    /// error is the one that counts.
    async fn undo(self, hangs: bool) {
        let config = &self.inner.config;
        let ours = matches!(self.server, Server::Shim(_));
        if let Some(client) = &self.client
            && !(hangs && ours)
        {
            let id = || self.bundle.id().to_owned();
            let delete = api::DeleteRequest { id: id(), exec_id: String::new() };
            let limit = config.timeouts.cleanup;
            // NotFound is what a task that was not made answers.
            let _ = client.call_within::<api::DeleteResponse>(limit, "Delete", &delete).await;
            if ours {
                shut_down(self.inner, client, id()).await;
            }
        }
        if ours && self.bundle.shim().is_ok() {
            // One that does not end when it is told to, or was not reached, is nobody's any more.
            kill::all_of(&self.bundle).await;
            exits::call_delete(self.inner, &self.bundle).await;
            exits::remove_socket(&self.bundle).await;
        }
        if let Some(log) = &self.log {
            log.cancel();
        }
        if let Err(error) = exits::remove(self.inner, &self.bundle).await {
            tracing::error!(task = self.bundle.id(), "cannot undo it: {}", error.chain());
        }
    }
}

/// Tells a shim to end, and waits for that. One with other tasks stays.
pub(crate) async fn shut_down(inner: &Inner, client: &Client, id: String) {
    let limit = inner.config.timeouts.shutdown;
    let ask = api::ShutdownRequest { id, now: false };
    // A shim that ends at once does not answer.
    let _ = client.call_within::<()>(limit, "Shutdown", &ask).await;
    if !inner.is_shared(client.address())
        && tokio::time::timeout(limit, client.closed()).await.is_err()
    {
        tracing::warn!(address = client.address(), "the shim has not ended in {limit:?}");
    }
}

fn task_request(
    bundle: &Bundle,
    rootfs: Vec<Mount>,
    stdio: lamina_core::task::Stdio,
    options: Option<&Any>,
) -> api::CreateTaskRequest {
    api::CreateTaskRequest {
        id: bundle.id().to_owned(),
        bundle: bundle.path().to_string_lossy().into_owned(),
        rootfs: mount::encode_all(rootfs),
        terminal: stdio.terminal,
        stdin: stdio.stdin,
        stdout: stdio.stdout,
        stderr: stdio.stderr,
        checkpoint: String::new(),
        parent_checkpoint: String::new(),
        options: options.cloned().map(any::encode),
    }
}
