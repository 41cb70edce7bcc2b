//! Tasks: running containers. A task is a container's first process and all that were started beside
//! it; its shim holds them, so they outlive the daemon.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::container::Any;
use crate::filter::{Fields, Filters};
use crate::{Descriptor, Digest, Mount, Namespace, Result};

/// The exit status of a process whose end nobody saw.
pub const UNKNOWN_EXIT_STATUS: u32 = 255;

/// One process of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// The container.
    pub container: String,
    /// The process started beside the first one; none for the first.
    pub exec: Option<String>,
}

impl ProcessId {
    /// The first process of a container.
    pub fn init(container: impl Into<String>) -> Self {
        ProcessId { container: container.into(), exec: None }
    }

    /// A process started later. An empty `exec` is the first process, as on the wire.
    pub fn new(container: impl Into<String>, exec: impl Into<String>) -> Self {
        let exec = exec.into();
        ProcessId { container: container.into(), exec: (!exec.is_empty()).then_some(exec) }
    }

    /// The exec id on the wire: empty for the first process.
    pub fn exec_id(&self) -> &str {
        self.exec.as_deref().unwrap_or_default()
    }

    /// What events and listings call the process: the exec id, or the container's for the first.
    pub fn id(&self) -> &str {
        self.exec.as_deref().unwrap_or(&self.container)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.container)?;
        match &self.exec {
            Some(exec) => write!(f, "/{exec}"),
            None => Ok(()),
        }
    }
}

/// What a process does. The numbers are containerd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Its shim does not answer.
    Unknown = 0,
    /// Made, not started.
    Created = 1,
    /// Runs.
    Running = 2,
    /// Ended, not deleted yet.
    Stopped = 3,
    /// Frozen.
    Paused = 4,
    /// Being frozen.
    Pausing = 5,
}

impl Status {
    /// The status with that number; [`Unknown`](Status::Unknown) for any number nobody knows.
    pub fn from_number(number: i32) -> Self {
        match number {
            1 => Status::Created,
            2 => Status::Running,
            3 => Status::Stopped,
            4 => Status::Paused,
            5 => Status::Pausing,
            _ => Status::Unknown,
        }
    }
}

impl fmt::Display for Status {
    /// The words of `ctr tasks ls`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Unknown => "UNKNOWN",
            Status::Created => "CREATED",
            Status::Running => "RUNNING",
            Status::Stopped => "STOPPED",
            Status::Paused => "PAUSED",
            Status::Pausing => "PAUSING",
        })
    }
}

/// Where a process's streams go: a FIFO's path, or a `file://`, `binary://` address. Empty for
/// nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// What it reads.
    pub stdin: String,
    /// What it writes.
    pub stdout: String,
    /// Its complaints; unused with a terminal.
    pub stderr: String,
    /// Whether it gets a terminal.
    pub terminal: bool,
}

/// A process as its shim sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Which.
    pub id: ProcessId,
    /// Its process id on the host; 0 before it was started.
    pub pid: u32,
    /// What it does.
    pub status: Status,
    /// Its streams.
    pub stdio: Stdio,
    /// How it ended; none while it has not.
    pub exit: Option<Exit>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status; 128 and the signal when one killed it, [`UNKNOWN_EXIT_STATUS`] when its end
    /// was not seen.
    pub status: u32,
    /// When.
    pub at: Timestamp,
}

/// A process that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Which.
    pub id: ProcessId,
    /// Its process id on the host; 0 if it never was started.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
}

/// What to make a task from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateTask {
    /// The container; its record exists.
    pub container: String,
    /// The mounts of its root, made by the shim in the bundle.
    pub rootfs: Vec<Mount>,
    /// Its streams.
    pub stdio: Stdio,
    /// Go on from this checkpoint.
    pub checkpoint: Option<Descriptor>,
    /// Options of the runtime; those of the container's record when not given.
    pub options: Option<Any>,
    /// The shim's path; by the runtime's name when empty.
    pub runtime_path: String,
    /// A task service that runs already (a sandbox's); a new shim when empty.
    pub task_api_address: String,
    /// The version of its API; of no meaning without an address.
    pub task_api_version: u32,
}

/// A process to start beside the first.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecProcess {
    /// The container.
    pub container: String,
    /// What the process is to be called.
    pub exec: String,
    /// Its streams.
    pub stdio: Stdio,
    /// Its OCI `Process`, raw.
    pub spec: Any,
}

/// One process id in a container's control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// The process id on the host.
    pub pid: u32,
    /// What the runtime says of it.
    pub info: Option<Any>,
}

/// What a task uses at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The container.
    pub id: String,
    /// The moment.
    pub timestamp: Timestamp,
    /// The numbers, of a type that depends on the control groups.
    pub data: Any,
}

/// What a filter of [`TaskService::metrics`] looks at; decided before a shim is asked.
#[derive(Clone, Copy, Debug)]
pub struct MetricSubject<'a> {
    /// The container.
    pub id: &'a str,
    /// Its namespace.
    pub namespace: &'a Namespace,
}

impl Fields for MetricSubject<'_> {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["id"] => Some(self.id.into()),
            ["namespace"] => Some(self.namespace.as_str().into()),
            _ => None,
        }
    }
}

/// How to make a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckpointOptions {
    /// The checkpoint that this one only adds to.
    pub parent: Option<Digest>,
    /// Options of the runtime.
    pub options: Option<Any>,
}

/// The tasks of one namespace.
///
/// Every method answers NotFound for no such container, task or process. An error of the shim keeps
/// its class. A caller that drops a future does not undo what the shim was asked to do.
#[async_trait]
pub trait TaskService: Send + Sync + fmt::Debug {
    /// Makes the bundle, starts the shim and makes the task, whose first process then waits for
    /// [`start`](Self::start). Answers its process id.
    ///
    /// # Errors
    /// AlreadyExists when the container has a task. A failure leaves neither bundle, shim nor mounts.
    async fn create(&self, task: CreateTask) -> Result<u32>;

    /// Starts a process that was made. Answers its process id. FailedPrecondition when it was
    /// started before.
    async fn start(&self, process: &ProcessId) -> Result<u32>;

    /// Deletes a task that has ended or was never started, with its bundle and shim.
    /// FailedPrecondition while it runs.
    async fn delete(&self, container: &str) -> Result<Deleted>;

    /// Deletes a process that was started beside the first. FailedPrecondition while it runs,
    /// InvalidArgument for a container's first process.
    async fn delete_process(&self, process: &ProcessId) -> Result<Deleted>;

    /// How a process fares. A shim that does not answer in time gives [`Status::Unknown`].
    async fn get(&self, process: &ProcessId) -> Result<Process>;

    /// The first process of every task, by container. Shims that do not answer are listed with
    /// [`Status::Unknown`].
    async fn list(&self) -> Result<Vec<Process>>;

    /// Sends a signal; with `all`, to every process of the container. NotFound also for a process
    /// that has ended.
    async fn kill(&self, process: &ProcessId, signal: u32, all: bool) -> Result<()>;

    /// Makes a process beside the first one, for [`start`](Self::start) to start.
    ///
    /// # Errors
    /// InvalidArgument for an empty or bad name, AlreadyExists for one in use.
    async fn exec(&self, process: ExecProcess) -> Result<()>;

    /// Sets the size of a process's terminal, in characters.
    async fn resize_pty(&self, process: &ProcessId, width: u32, height: u32) -> Result<()>;

    /// Closes a process's standard input: it reads to the end and no further.
    async fn close_io(&self, process: &ProcessId) -> Result<()>;

    /// Freezes a container.
    async fn pause(&self, container: &str) -> Result<()>;

    /// Lets a frozen container go on.
    async fn resume(&self, container: &str) -> Result<()>;

    /// Every process in a container's control group.
    async fn list_pids(&self, container: &str) -> Result<Vec<ProcessInfo>>;

    /// Writes the state of a task into the content store: the dump, and the config it was made
    /// with. What happens to the task after it is the options'.
    async fn checkpoint(
        &self,
        container: &str,
        options: CheckpointOptions,
    ) -> Result<Vec<Descriptor>>;

    /// Changes limits of a container; `resources` are OCI `LinuxResources`, raw.
    async fn update(
        &self,
        container: &str,
        resources: Option<Any>,
        annotations: BTreeMap<String, String>,
    ) -> Result<()>;

    /// What every task uses of those that `filters` match, as [`MetricSubject`], by container. A task
    /// that ends meanwhile is left out.
    async fn metrics(&self, filters: Filters) -> Result<Vec<Metric>>;

    /// Waits for the end of a process; answers at once if it ended already. A shim that vanishes is
    /// an end too.
    async fn wait(&self, process: &ProcessId) -> Result<Exit>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_has_no_exec_id() {
        for (process, wire, id, shown) in [
            (ProcessId::init("c"), "", "c", "c"),
            (ProcessId::new("c", ""), "", "c", "c"),
            (ProcessId::new("c", "e"), "e", "e", "c/e"),
        ] {
            assert_eq!(process.exec_id(), wire);
            assert_eq!(process.id(), id);
            assert_eq!(process.to_string(), shown);
        }
    }

    #[test]
    fn status_by_number() {
        for status in [
            Status::Unknown,
            Status::Created,
            Status::Running,
            Status::Stopped,
            Status::Paused,
            Status::Pausing,
        ] {
            assert_eq!(Status::from_number(status as i32), status);
        }
        assert_eq!(Status::from_number(6), Status::Unknown);
        assert_eq!(Status::from_number(-1), Status::Unknown);
        assert_eq!(format!("{:>8}", Status::Paused), "  PAUSED");
    }

    #[test]
    fn metrics_are_filtered_by_id_and_namespace() {
        let namespace = Namespace::new("k8s.io").unwrap();
        let subject = MetricSubject { id: "c", namespace: &namespace };
        for (filter, found) in
            [("id==c,namespace==k8s.io", true), ("id==d", false), ("timestamp", false)]
        {
            assert_eq!(Filters::parse_all(&[filter]).unwrap().matches(&subject), found, "{filter}");
        }
    }
}
