//! `lamina exec`

use clap::Args;
use lamina_core::task::{ExecProcess, ProcessId};
use lamina_core::{Any, Error, Result};
use serde_json::Value;

use super::tasks::forward::Signals;
use super::tasks::streams::Streams;
use super::tasks::{self, Tasks};
use crate::cli::{Context, Exited};

/// The type of a process's description.
const TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

/// Runs another program in a container that runs, as who and where its first one is
///
/// Output, signals and the exit code are as with `run`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Leave it running; its output goes nowhere
    #[arg(long, short)]
    detach: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// What to run, with its arguments
    #[arg(
        value_name = "CMD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

impl Exec {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let record = {
            let session = tasks::own(cx, "exec").await?;
            session.containers(&cx.scope()).get(&self.id).await?
        };
        let spec = self.process(&record.spec)?;
        let mut signals = Signals::listen()?;
        let tasks = Tasks::reach(cx)?;
        let done = self.execute(cx, &tasks, &mut signals, spec).await;
        tasks.close().await;
        done
    }

    /// The container's first process, with another command.
    fn process(&self, spec: &Any) -> Result<Any> {
        let broken = |why: &str| Error::internal(format!("the spec of {:?} {why}", self.id));
        let mut spec: Value = serde_json::from_slice(&spec.value)
            .map_err(|error| broken("cannot be read").with_source(error))?;
        let process = spec.get_mut("process").and_then(Value::as_object_mut);
        let process = process.ok_or_else(|| broken("has no process"))?;
        process.insert("args".to_owned(), self.command.clone().into());
        let value = Value::Object(std::mem::take(process)).to_string().into_bytes();
        Ok(Any { type_url: TYPE_URL.to_owned(), value })
    }

    async fn execute(
        &self,
        cx: &Context<'_>,
        tasks: &Tasks,
        signals: &mut Signals,
        spec: Any,
    ) -> Result<()> {
        let mut streams = match self.detach {
            true => None,
            false => Some(Streams::make(&cx.settings.config.state)?),
        };
        let (container, exec) = (self.id.clone(), super::run::random_id()?);
        let process = ProcessId::new(&container, &exec);
        let stdio = streams.as_ref().map(Streams::stdio).unwrap_or_default();
        tasks.service.exec(ExecProcess { container, exec, stdio, spec }).await?;
        if let Err(error) = tasks.service.start(&process).await {
            // The error of the start is what is told.
            let _ = tasks.service.delete_process(&process).await;
            return Err(error);
        }
        let Some(streams) = &mut streams else { return Ok(()) };
        let copying = streams.copy()?;
        let status = tasks.attend(&process, signals).await?.status;
        copying.end().await;
        match tasks.service.delete_process(&process).await {
            // With its container.
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        Exited::check(status)
    }
}
