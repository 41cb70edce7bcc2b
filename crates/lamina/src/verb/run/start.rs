//! From a container to its task, which waits to be started, and the streams of it.

use std::io::Read as _;
use std::process::{Command, Stdio as Pipe};

use lamina_core::task::{CreateTask, ProcessId, Status, Stdio};
use lamina_core::{Container, Error, Kind, Result};
use serde_json::Value;

use crate::cli::{Context, Session};
use crate::verb::tasks::Tasks;
use crate::verb::tasks::fifos::{Fifos, Wanted};
use crate::verb::tasks::place::Place;

/// Who is at the other end of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verb) enum Mode {
    /// This process.
    Attached {
        /// The program reads what this process reads.
        stdin: bool,
    },
    /// A log.
    Detached {
        /// The program can be written to by who attaches later.
        stdin: bool,
    },
}

/// A task that waits to be started.
#[derive(Debug)]
pub(in crate::verb) struct Made {
    /// Our ends of its streams.
    pub(in crate::verb) fifos: Fifos,
}

/// Makes the task. One of it that has ended is deleted before.
///
/// # Errors
/// FailedPrecondition for a container that runs; those of each step. The container stays as it is.
pub(in crate::verb) async fn make(
    cx: &Context<'_>,
    session: &Session,
    container: &Container,
    mode: Mode,
) -> Result<Made> {
    let tasks = Tasks::make(cx, session)?;
    let made = with(cx, session, &tasks, container, mode).await;
    tasks.close().await;
    made
}

async fn with(
    cx: &Context<'_>,
    session: &Session,
    tasks: &Tasks,
    container: &Container,
    mode: Mode,
) -> Result<Made> {
    tasks.reconcile().await?;
    clear(tasks, &container.id).await?;
    let snapshotter = session.snapshotter(&cx.scope(), &container.snapshotter)?;
    let rootfs = snapshotter.mounts(&container.snapshot_key).await?;
    let place = Place::of(cx, session, &container.id).await?;
    place.prepare()?;
    let terminal = has_terminal(container)?;
    let (wanted, log) = match mode {
        Mode::Attached { stdin } => (Wanted { stdin, output: true, terminal }, false),
        // Shims give a program that a logger listens to a terminal or nothing to read from.
        Mode::Detached { stdin } if stdin && !terminal => {
            (Wanted { stdin, output: true, terminal }, false)
        }
        Mode::Detached { stdin } => (Wanted { stdin, output: false, terminal }, true),
    };
    let mut fifos = Fifos::make(place.folder(), wanted)?;
    let mut stdio = fifos.stdio();
    if log {
        let address = log_address(&place, terminal)?;
        let stderr = if terminal { String::new() } else { address.clone() };
        stdio = Stdio { stdout: address, stderr, ..stdio };
    }
    let task =
        CreateTask { container: container.id.clone(), rootfs, stdio, ..CreateTask::default() };
    tasks.service.create(task).await?;
    if matches!(mode, Mode::Detached { .. }) && !log {
        listen(&place, &mut fifos)?;
    }
    Ok(Made { fifos })
}

/// Deletes a task that has ended.
async fn clear(tasks: &Tasks, id: &str) -> Result<()> {
    match tasks.service.get(&ProcessId::init(id)).await {
        Err(error) if error.is_not_found() => return Ok(()),
        Ok(process) if matches!(process.status, Status::Stopped | Status::Created) => {}
        Ok(process) => {
            let status = process.status.to_string().to_lowercase();
            return Err(Error::failed_precondition(format!("container {id:?} is {status}")));
        }
        Err(error) => return Err(error),
    }
    match tasks.service.delete(id).await {
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a container's program was made to have a terminal.
///
/// # Errors
/// Internal for a spec that is none.
pub(in crate::verb) fn has_terminal(container: &Container) -> Result<bool> {
    let spec: Value = serde_json::from_slice(&container.spec.value).map_err(|error| {
        Error::internal(format!("the spec of {:?} cannot be read", container.id)).with_source(error)
    })?;
    Ok(spec.pointer("/process/terminal").and_then(Value::as_bool).unwrap_or(false))
}

/// Has a shim start our logger.
///
/// # Errors
/// Internal when this program's path is not known, or no text.
pub(in crate::verb) fn log_address(place: &Place, terminal: bool) -> Result<String> {
    let failed = || Error::internal("the path of this program, which writes logs");
    let program = std::env::current_exe().map_err(|error| failed().with_source(error))?;
    let program = program.to_str().ok_or_else(failed)?;
    let log = place.log().to_str().ok_or_else(failed)?;
    let kind = if terminal { "tty:" } else { "" };
    Ok(format!("binary://{}?logger={}", escaped(program), escaped(&format!("{kind}{log}"))))
}

/// As it stands in an address.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => {
                escaped.push(byte.into());
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Starts our logger ourselves, on FIFOs that a shim has opened. It outlives this process.
fn listen(place: &Place, fifos: &mut Fifos) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::internal(format!("start the logger of {}", place.log().display())).with_source(error)
    };
    let (Some(out), Some(err)) = fifos.take_output() else {
        return Err(Error::internal("there is no output to log"));
    };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").args(["logger", "--inherited"]).arg(place.log());
    let mut child = command.stdin(out).stdout(err).stderr(Pipe::piped()).spawn().map_err(failed)?;
    let mut said = String::new();
    let mut ready = [0];
    if let Some(mut stderr) = child.stderr.take() {
        match stderr.read(&mut ready) {
            Ok(1) if ready == *b"\n" => return Ok(()),
            _ => stderr.read_to_string(&mut said).map_err(failed)?,
        };
    }
    child.wait().map_err(failed)?;
    let said = String::from_utf8_lossy(&ready).into_owned() + &said;
    Err(failed(std::io::Error::other(said.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_no_characters_of_their_own() {
        assert_eq!(escaped("/var/lib/a-b_c.d"), "/var/lib/a-b_c.d");
        assert_eq!(escaped("/a b/?&=%+ä"), "/a%20b/%3F%26%3D%25%2B%C3%A4");
    }
}
