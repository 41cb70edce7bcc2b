//! Containers that are to run are started again, as their labels say.
//!
//! A client asks for it by `containerd.io/restart.status`; nerdctl's `--restart` is that. Every few
//! seconds each such container is looked at, what is to be done is decided ([`policy`]), and done.

mod policy;

use std::time::Duration;

use futures_util::future::join_all;
use lamina_core::task::{CreateTask, ProcessId, Stdio};
use lamina_core::{Container, Error, Filters, Host as _, Result, Scope, TaskService};
use lamina_runtime::Runtime;
use lamina_store::Store;
use tokio_util::sync::CancellationToken;

use policy::{Change, Found};

/// What there is in `restart.policy`, as clients are told.
pub(crate) const POLICIES: [&str; 4] = ["no", "always", "on-failure", "unless-stopped"];

/// How often to look, unless configured otherwise.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

const KILL: u32 = 9;

/// What one container may take: others are not to wait for a shim that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks at once, and then every `interval`, until the daemon stops. What is half done then is seen by
/// the next daemon.
pub(crate) async fn run(
    store: Store,
    runtime: Runtime,
    interval: Duration,
    stopping: CancellationToken,
) {
    let monitor = Monitor { store, runtime };
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = monitor.round() => {}
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stopping.cancelled() => return,
        }
    }
}

struct Monitor {
    store: Store,
    runtime: Runtime,
}

impl Monitor {
    async fn round(&self) {
        let namespaces = match self.store.namespaces().list().await {
            Ok(namespaces) => namespaces,
            Err(error) => return tracing::warn!("restart: {}", error.chain()),
        };
        for (namespace, _) in namespaces {
            let scope = Scope::new(namespace);
            if let Err(error) = self.look(&scope).await {
                tracing::warn!(namespace = %scope.namespace, "restart: {}", error.chain());
            }
        }
    }

    /// All of a namespace, side by side: one that hangs holds nobody else up.
    async fn look(&self, scope: &Scope) -> Result<()> {
        let wanted = format!("labels.{:?}", policy::STATUS);
        let found = self.store.containers(scope).list(Filters::parse_all(&[wanted])?).await?;
        join_all(found.into_iter().map(|container| async {
            let id = container.id.clone();
            let done = tokio::time::timeout(LIMIT, self.reconcile(scope, container)).await;
            let late = || Error::unavailable(format!("it takes longer than {LIMIT:?}"));
            if let Err(error) = done.unwrap_or_else(|_| Err(late())) {
                tracing::warn!(namespace = %scope.namespace, id, "restart: {}", error.chain());
            }
        }))
        .await;
        Ok(())
    }

    async fn reconcile(&self, scope: &Scope, container: Container) -> Result<()> {
        let tasks = self.runtime.tasks(scope);
        let found = match tasks.get(&ProcessId::init(&container.id)).await {
            Ok(found) => Some(Found {
                status: found.status,
                exit_status: found.exit.map_or(0, |exit| exit.status),
            }),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        // After its task: who ends one by hand says so in the labels before.
        let containers = self.store.containers(scope);
        let container = match containers.get(&container.id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            container => container?,
        };
        match policy::decide(&container.labels, found)? {
            Change::None => Ok(()),
            Change::Stop => end(&*tasks, &container.id).await,
            Change::Start { count } => {
                let label = format!("labels.{}", policy::COUNT);
                let mut counted = container.clone();
                counted.labels.insert(policy::COUNT.to_owned(), count.to_string());
                containers.update(counted, &[label]).await?;
                end(&*tasks, &container.id).await?;
                tracing::info!(namespace = %scope.namespace, id = container.id, count, "restart");
                self.start(scope, &*tasks, &container).await
            }
        }
    }

    async fn start(
        &self,
        scope: &Scope,
        tasks: &dyn TaskService,
        container: &Container,
    ) -> Result<()> {
        let mut rootfs = Vec::new();
        if !container.snapshot_key.is_empty() {
            let snapshots = self.store.snapshotter(scope, &container.snapshotter)?;
            rootfs = snapshots.mounts(&container.snapshot_key).await?;
        }
        let stdio = stdio(container);
        let id = container.id.clone();
        tasks
            .create(CreateTask { container: id.clone(), rootfs, stdio, ..CreateTask::default() })
            .await?;
        let started = async {
            // By hand in the meantime, when there was no task to end.
            let now = self.store.containers(scope).get(&id).await?;
            if policy::is_stopped(&now.labels) {
                return Err(Error::cancelled("it was stopped by hand meanwhile"));
            }
            tasks.start(&ProcessId::init(&id)).await
        }
        .await;
        if started.is_err() {
            // The next round begins from nothing.
            let _ = tasks.delete(&id).await;
        }
        started.map(drop)
    }
}

/// Ends the task of a container, if it has one.
async fn end(tasks: &dyn TaskService, id: &str) -> Result<()> {
    let absent = |error: Error| if error.is_not_found() { Ok(()) } else { Err(error) };
    let process = ProcessId::init(id);
    // NotFound also when it has ended.
    tasks.kill(&process, KILL, true).await.or_else(absent)?;
    tasks.wait(&process).await.map(drop).or_else(absent)?;
    tasks.delete(id).await.map(drop).or_else(absent)
}

/// Where the output goes: to what a label says, or nowhere.
fn stdio(container: &Container) -> Stdio {
    #[derive(Default, serde::Deserialize)]
    struct Spec {
        #[serde(default)]
        process: Option<Process>,
    }
    #[derive(serde::Deserialize)]
    struct Process {
        #[serde(default)]
        terminal: bool,
    }
    let log = container.labels.get(policy::LOG).cloned().unwrap_or_default();
    // A spec that cannot be read is the shim's to refuse.
    let spec: Spec = serde_json::from_slice(&container.spec.value).unwrap_or_default();
    let terminal = spec.process.is_some_and(|process| process.terminal);
    let stderr = if terminal { String::new() } else { log.clone() };
    Stdio { stdin: String::new(), stdout: log, stderr, terminal }
}
