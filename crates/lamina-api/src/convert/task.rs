//! Tasks and their processes.

use lamina_core::Result;
use lamina_core::task::{
    CreateTask, Deleted, ExecProcess, Exit, Metric, Process, ProcessId, ProcessInfo, Status, Stdio,
};

use super::{any, descriptor, field, mount, timestamp};
use crate::proto::containerd::services::tasks::v1 as proto;
use crate::proto::containerd::{types, v1};

/// What to make a task from.
///
/// # Errors
/// InvalidArgument for a checkpoint that no descriptor can be.
pub fn decode_create(request: proto::CreateTaskRequest) -> Result<CreateTask> {
    let proto::CreateTaskRequest { stdin, stdout, stderr, terminal, .. } = request;
    Ok(CreateTask {
        container: request.container_id,
        rootfs: mount::decode_all(request.rootfs),
        stdio: Stdio { stdin, stdout, stderr, terminal },
        checkpoint: request
            .checkpoint
            .map(|it| descriptor::decode("checkpoint", it))
            .transpose()?,
        options: request.options.map(any::decode),
        runtime_path: request.runtime_path,
        task_api_address: request.task_api_address,
        task_api_version: request.task_api_version,
    })
}

/// What to make a task from, to send.
pub fn encode_create(task: CreateTask) -> proto::CreateTaskRequest {
    let Stdio { stdin, stdout, stderr, terminal } = task.stdio;
    proto::CreateTaskRequest {
        container_id: task.container,
        rootfs: mount::encode_all(task.rootfs),
        stdin,
        stdout,
        stderr,
        terminal,
        checkpoint: task.checkpoint.map(descriptor::encode),
        options: task.options.map(any::encode),
        runtime_path: task.runtime_path,
        task_api_address: task.task_api_address,
        task_api_version: task.task_api_version,
    }
}

/// A process to start beside the first.
pub fn decode_exec(request: proto::ExecProcessRequest) -> ExecProcess {
    let proto::ExecProcessRequest { stdin, stdout, stderr, terminal, .. } = request;
    ExecProcess {
        container: request.container_id,
        exec: request.exec_id,
        stdio: Stdio { stdin, stdout, stderr, terminal },
        spec: request.spec.map(any::decode).unwrap_or_default(),
    }
}

/// A process to start beside the first, to send.
pub fn encode_exec(process: ExecProcess) -> proto::ExecProcessRequest {
    let Stdio { stdin, stdout, stderr, terminal } = process.stdio;
    proto::ExecProcessRequest {
        container_id: process.container,
        exec_id: process.exec,
        stdin,
        stdout,
        stderr,
        terminal,
        spec: Some(any::encode(process.spec)),
    }
}

/// A process. Servers leave the container out when they were asked about one; it is the id then.
///
/// # Errors
/// InvalidArgument for times that are none.
pub fn decode_process(container: &str, process: v1::types::Process) -> Result<Process> {
    let status = Status::from_number(process.status);
    let exit = match status {
        Status::Stopped => Some(Exit {
            status: process.exit_status,
            at: timestamp::decode("process.exited_at", process.exited_at)?,
        }),
        _ => None,
    };
    let id = if process.id == container {
        ProcessId::init(container)
    } else {
        ProcessId::new(container, process.id)
    };
    let v1::types::Process { pid, stdin, stdout, stderr, terminal, .. } = process;
    let stdio = Stdio { stdin, stdout, stderr, terminal };
    Ok(Process { id, pid, status, stdio, exit })
}

/// A process to send.
pub fn encode_process(process: Process) -> v1::types::Process {
    let Stdio { stdin, stdout, stderr, terminal } = process.stdio;
    v1::types::Process {
        id: process.id.id().to_owned(),
        container_id: process.id.container,
        pid: process.pid,
        status: process.status as i32,
        stdin,
        stdout,
        stderr,
        terminal,
        exit_status: process.exit.map_or(0, |exit| exit.status),
        exited_at: process.exit.map(|exit| timestamp::encode(exit.at)),
    }
}

/// How a process of a container that was deleted had ended.
///
/// # Errors
/// InvalidArgument for times that are none.
pub fn decode_deleted(process: ProcessId, answer: proto::DeleteResponse) -> Result<Deleted> {
    let at = timestamp::decode("exited_at", answer.exited_at)?;
    Ok(Deleted { id: process, pid: answer.pid, exit: Exit { status: answer.exit_status, at } })
}

/// How a process that was deleted had ended, to send.
pub fn encode_deleted(deleted: Deleted) -> proto::DeleteResponse {
    proto::DeleteResponse {
        id: deleted.id.id().to_owned(),
        pid: deleted.pid,
        exit_status: deleted.exit.status,
        exited_at: Some(timestamp::encode(deleted.exit.at)),
    }
}

/// An end.
///
/// # Errors
/// InvalidArgument for times that are none.
pub fn decode_exit(answer: proto::WaitResponse) -> Result<Exit> {
    let at = timestamp::decode("exited_at", answer.exited_at)?;
    Ok(Exit { status: answer.exit_status, at })
}

/// An end to send.
pub fn encode_exit(exit: Exit) -> proto::WaitResponse {
    let exited_at = Some(timestamp::encode(exit.at));
    proto::WaitResponse { exit_status: exit.status, exited_at }
}

/// A process id in a container's control group.
pub fn decode_info(info: v1::types::ProcessInfo) -> ProcessInfo {
    ProcessInfo { pid: info.pid, info: info.info.map(any::decode) }
}

/// A process id in a container's control group, to send.
pub fn encode_info(info: ProcessInfo) -> v1::types::ProcessInfo {
    v1::types::ProcessInfo { pid: info.pid, info: info.info.map(any::encode) }
}

/// What a task uses.
///
/// # Errors
/// InvalidArgument for times that are none, and without numbers.
pub fn decode_metric(metric: types::Metric) -> Result<Metric> {
    Ok(Metric {
        id: metric.id,
        timestamp: timestamp::decode("metric.timestamp", metric.timestamp)?,
        data: any::decode(field::required("metric.data", metric.data)?),
    })
}

/// What a task uses, to send.
pub fn encode_metric(metric: Metric) -> types::Metric {
    types::Metric {
        timestamp: Some(timestamp::encode(metric.timestamp)),
        id: metric.id,
        data: Some(any::encode(metric.data)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamina_core::{Any, Descriptor, Kind, Mount};

    use super::*;

    fn any(type_url: &str) -> Any {
        Any { type_url: type_url.to_owned(), value: vec![1, 2] }
    }

    fn stdio() -> Stdio {
        let text = |text: &str| text.to_owned();
        Stdio { stdin: text("/i"), stdout: text("/o"), stderr: text("/e"), terminal: true }
    }

    fn exit() -> Exit {
        Exit { status: 137, at: Timestamp::new(1, 2).unwrap() }
    }

    #[test]
    fn requests_come_back() {
        let task = CreateTask {
            container: "c".to_owned(),
            rootfs: vec![Mount {
                kind: "bind".to_owned(),
                source: "/s".to_owned(),
                target: String::new(),
                options: vec!["rbind".to_owned()],
            }],
            stdio: stdio(),
            checkpoint: Some(Descriptor::of("x/y", b"z")),
            options: Some(any("containerd.runc.v1.Options")),
            runtime_path: "/shim".to_owned(),
            task_api_address: "ttrpc+unix:///s".to_owned(),
            task_api_version: 3,
        };
        assert_eq!(decode_create(encode_create(task.clone())).unwrap(), task);
        let least = CreateTask { container: "c".to_owned(), ..CreateTask::default() };
        assert_eq!(decode_create(encode_create(least.clone())).unwrap(), least);
        let process = ExecProcess {
            container: "c".to_owned(),
            exec: "e".to_owned(),
            stdio: stdio(),
            spec: any("types.containerd.io/opencontainers/runtime-spec/1/Process"),
        };
        assert_eq!(decode_exec(encode_exec(process.clone())), process);
    }

    #[test]
    fn processes_come_back() {
        for id in [ProcessId::init("c"), ProcessId::new("c", "e")] {
            for (status, exit) in [(Status::Running, None), (Status::Stopped, Some(exit()))] {
                let process = Process { id: id.clone(), pid: 7, status, stdio: stdio(), exit };
                let sent = encode_process(process.clone());
                assert_eq!((sent.container_id.as_str(), sent.id.as_str()), ("c", id.id()));
                assert_eq!(decode_process("c", sent).unwrap(), process);
            }
            let deleted = Deleted { id: id.clone(), pid: 7, exit: exit() };
            assert_eq!(decode_deleted(id, encode_deleted(deleted.clone())).unwrap(), deleted);
        }
        assert_eq!(decode_exit(encode_exit(exit())).unwrap(), exit());
    }

    #[test]
    fn numbers_come_back() {
        for info in [None, Some(any("containerd.runc.v1.ProcessDetails"))] {
            let info = ProcessInfo { pid: 3, info };
            assert_eq!(decode_info(encode_info(info.clone())), info);
        }
        let data = any("io.containerd.cgroups.v2.Metrics");
        let metric = Metric { id: "c".to_owned(), timestamp: exit().at, data };
        let mut sent = encode_metric(metric.clone());
        assert_eq!(decode_metric(sent.clone()).unwrap(), metric);
        sent.data = None;
        assert_eq!(decode_metric(sent).unwrap_err().kind(), Kind::InvalidArgument);
    }
}
