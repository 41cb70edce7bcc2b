//! Running the shim's program: `start`, which answers where the shim listens, and `delete`, which
//! cleans up after one that has gone.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lamina_api::convert::any;
use lamina_api::proto::containerd::runtime::bootstrap::v1::{BootstrapParams, Extension, LogLevel};
use lamina_api::proto::containerd::task::v2::DeleteResponse;
use lamina_api::proto::containerd::types::RuntimeInfo;
use lamina_core::{Any, Error, Kind, Result};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::answer::{self, Endpoint};
use crate::bundle::Bundle;
use crate::runtime::Config;

/// The most bytes of an answer that are read; what says more is no shim.
const ANSWER_BYTES: u64 = 1 << 20;

/// What shims before containerd 2.3 complain of when they take the parameters for what they expect
/// there: the runtime's options, in an `Any`. They have done nothing by then.
const TAKEN_FOR_OPTIONS: &str = "type with url ";

/// What programs in Go say of a flag that they do not know.
const UNKNOWN_FLAG: &str = "flag provided but not defined";

/// How long a pipe may stay open when the program that had it has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Starts a shim in its bundle.
///
/// # Errors
/// Internal when it fails or its answer is none, with what it said; DeadlineExceeded when it takes
/// longer than `timeouts.start`, and it is killed then; those of [`answer::parse`].
pub(crate) async fn start(
    config: &Config,
    bundle: &Bundle,
    shim: &Path,
    options: Option<&Any>,
) -> Result<Endpoint> {
    let what = format!("start shim {}", shim.display());
    let attempt = async |input: Vec<u8>| -> Result<Vec<u8>> {
        let mut command = command(config, bundle, shim);
        let (status, said) = run(command.arg("start"), &input, config.timeouts.start, true).await?;
        succeeded(status, &said, &said).map(|()| said)
    };
    let mut said = attempt(parameters(config, bundle, options).encode_to_vec()).await;
    if let Err(error) = &said
        && error.message().contains(TAKEN_FOR_OPTIONS)
    {
        let any = options.cloned().map(any::encode).unwrap_or_default();
        said = attempt(any.encode_to_vec()).await;
    }
    said.and_then(|said| answer::parse(&said)).map_err(|error| error.context(what))
}

/// Has the shim's program clean up what a shim left; answers how the task ended.
///
/// # Errors
/// As of [`start`].
pub(crate) async fn delete(
    config: &Config,
    bundle: &Bundle,
    shim: &Path,
) -> Result<DeleteResponse> {
    let mut command = command(config, bundle, shim);
    command.arg("-bundle").arg(bundle.path()).arg("delete");
    let what = || format!("clean up with shim {}", shim.display());
    let (status, said) = run(&mut command, &[], config.timeouts.cleanup, false)
        .await
        .map_err(|error| error.context(what()))?;
    succeeded(status, &said, &[]).map_err(|error| error.context(what()))?;
    DeleteResponse::decode(said.as_slice())
        .map_err(|error| Error::internal(what()).with_source(error))
}

/// Asks a shim's program what it is and can do, with the runtime's options.
///
/// # Errors
/// As of [`start`]; Unimplemented for one that does not know the question, as of containerd 1.
pub(crate) async fn info(
    config: &Config,
    shim: &Path,
    options: Option<&Any>,
) -> Result<RuntimeInfo> {
    let what = || format!("ask shim {}", shim.display());
    let input = options.cloned().map(any::encode).unwrap_or_default().encode_to_vec();
    let ask = async |complaints| {
        let mut command = base(config, shim);
        command.arg("-info").current_dir(&config.state);
        let asked = run(&mut command, &input, config.timeouts.start, complaints).await;
        asked.map_err(|error| error.context(what()))
    };
    let (status, said) = ask(false).await?;
    if !status.success() {
        // Again, for why: among what it says when all is well a complaint would be in the way.
        let (status, complaint) = ask(true).await?;
        if String::from_utf8_lossy(&complaint).contains(UNKNOWN_FLAG) {
            return Err(Error::unimplemented(format!("{}: it has no -info", what())));
        }
        succeeded(status, &complaint, &complaint).map_err(|error| error.context(what()))?;
    }
    RuntimeInfo::decode(said.as_slice()).map_err(|error| Error::internal(what()).with_source(error))
}

fn command(config: &Config, bundle: &Bundle, shim: &Path) -> Command {
    let mut command = base(config, shim);
    command.current_dir(bundle.path());
    command.arg("-namespace").arg(bundle.namespace().as_str());
    command.arg("-address").arg(&config.address);
    command.arg("-publish-binary").arg(&config.publish_binary);
    command.arg("-id").arg(bundle.id());
    if config.debug {
        command.arg("-debug");
    }
    command.env("NAMESPACE", bundle.namespace().as_str());
    command
}

/// A shim's program in the environment that all calls of it have.
fn base(config: &Config, shim: &Path) -> Command {
    let mut command = Command::new(shim);
    command.env_clear().envs(config.env.iter().map(|(key, value)| (key, value)));
    command.envs([
        ("PATH", config.path.clone()),
        ("GOMAXPROCS", OsString::from("2")),
        ("MAX_SHIM_VERSION", OsString::from("2")),
        ("TTRPC_ADDRESS", OsString::from(&config.ttrpc_address)),
        ("GRPC_ADDRESS", OsString::from(&config.address)),
    ]);
    // A signal to our group is none to the shim, and a shim that hangs dies with what it started.
    command.process_group(0).kill_on_drop(true);
    command
}

fn parameters(config: &Config, bundle: &Bundle, options: Option<&Any>) -> BootstrapParams {
    let level = if config.debug { LogLevel::Debug } else { LogLevel::Info };
    let extension = |any: &Any| Extension { value: Some(any::encode(any.clone())) };
    BootstrapParams {
        instance_id: bundle.id().to_owned(),
        namespace: bundle.namespace().as_str().to_owned(),
        log_level: level.into(),
        containerd_version: config.version.clone(),
        containerd_ttrpc_address: config.ttrpc_address.clone(),
        containerd_grpc_address: config.address.clone(),
        containerd_binary: config.publish_binary.to_string_lossy().into_owned(),
        extensions: options.map(extension).into_iter().collect(),
        socket_dir: config.socket_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned()),
    }
}

fn succeeded(status: ExitStatus, said: &[u8], complaint: &[u8]) -> Result<()> {
    if said.len() as u64 >= ANSWER_BYTES {
        return Err(Error::internal("the shim does not stop talking"));
    }
    if status.success() {
        return Ok(());
    }
    Err(Error::internal(format!("{status}: {}", answer::shown(complaint))))
}

/// Runs a program to its end, and answers what it wrote to its output; with `complaints`, to both.
async fn run(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
    complaints: bool,
) -> Result<(ExitStatus, Vec<u8>)> {
    let failed = |error| Error::internal("cannot run it").with_source(error);
    let (mut output, writer) = {
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        (pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?, writer)
    };
    command.stderr(if complaints {
        writer.try_clone().map_err(failed)?.into()
    } else {
        Stdio::null()
    });
    command.stdout(writer).stdin(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // Ours of the pipe's ends, which would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let group = child.id();
    let conversation = converse(&mut child, &mut output, input);
    match tokio::time::timeout(limit, conversation).await {
        Ok(done) => done.map_err(failed),
        Err(_) => {
            kill_group(group);
            child.wait().await.map_err(failed)?;
            Err(Error::new(Kind::DeadlineExceeded, format!("it did not end in {limit:?}")))
        }
    }
}

async fn converse(
    child: &mut Child,
    output: &mut pipe::Receiver,
    input: &[u8],
) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let stdin = child.stdin.take();
    let tell = async {
        if let Some(mut stdin) = stdin {
            // Older shims read nothing.
            let _ = stdin.write_all(input).await;
        }
    };
    let mut said = Vec::new();
    let group = child.id();
    let listen = async {
        let read = output.take(ANSWER_BYTES).read_to_end(&mut said).await;
        if matches!(read, Ok(bytes) if bytes as u64 >= ANSWER_BYTES) {
            kill_group(group);
        }
        read
    };
    let (ended, told) = (tokio::sync::Notify::new(), tell);
    let wait = async {
        let status = child.wait().await;
        ended.notify_one();
        status
    };
    // A shim that left its output to its server has said everything when it ends.
    let listen = async {
        let late = async {
            ended.notified().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            read = listen => read.map(|_| ()),
            () = late => Ok(()),
        }
    };
    let (status, read, ()) = tokio::join!(wait, listen, told);
    read?;
    Ok((status?, said))
}

fn kill_group(leader: Option<u32>) {
    let pid = leader.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by now.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}
