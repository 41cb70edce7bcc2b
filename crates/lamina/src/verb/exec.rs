//! `lamina exec`

use std::path::{Path, PathBuf};

use clap::Args;
use lamina_core::task::{ExecProcess, ProcessId};
use lamina_core::{Any, Container, Error, Result};
use lamina_runtime::spec::{Privileges, user};
use serde_json::{Value, json};

use super::run::options::variables;
use super::tasks::attach::{Attached, Drain};
use super::tasks::fifos::{Fifos, Wanted};
use super::tasks::forward::Signals;
use super::tasks::keys::Keys;
use super::tasks::place::Place;
use super::tasks::{Tasks, terminal};
use crate::cli::{Context, Exited, Runs};

/// The type of a process's description.
const TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

/// Runs another program in a container that runs, as who and where its first one is
///
/// Output, input, the terminal, signals and the exit code are as with `run`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Leave it running; its output goes nowhere
    #[arg(long, short, conflicts_with_all = ["interactive", "tty"])]
    detach: bool,
    /// Let the program read what is typed
    #[arg(long, short)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(long, short)]
    tty: bool,
    /// The keys that let go of a terminal whose program goes on
    #[arg(long, value_name = "KEYS", default_value = Keys::DEFAULT)]
    detach_keys: Keys,
    /// Set a variable; a name alone takes the value it has here
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set the variables of a file, which has one in each line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Who to be in the container
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Where to begin
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// Give all capabilities
    #[arg(long)]
    privileged: bool,
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
        cx.set_runs(Runs::InContainer);
        if self.interactive && self.tty {
            terminal::check_input()?;
        }
        let (record, place) = {
            let session = cx.connect().await?;
            let record = session.containers(&cx.scope()).get(&self.id).await?;
            (record, Place::of(cx, &session, &self.id).await?)
        };
        let mut signals = Signals::listen()?;
        let tasks = Tasks::reach(cx).await?;
        let done = self.execute(&tasks, &record, &place, &mut signals).await;
        tasks.close().await;
        match done? {
            Some(status) => Exited::check(status),
            None => Ok(()),
        }
    }

    /// The container's first process, with another command and what was asked for.
    fn process(&self, container: &Container, pid: u32) -> Result<Any> {
        let broken = |why: &str| Error::internal(format!("the spec of {:?} {why}", self.id));
        let mut spec: Value = serde_json::from_slice(&container.spec.value)
            .map_err(|error| broken("cannot be read").with_source(error))?;
        let process = spec.get_mut("process").and_then(Value::as_object_mut);
        let process = process.ok_or_else(|| broken("has no process"))?;
        process.insert("args".to_owned(), self.command.clone().into());
        process.insert("terminal".to_owned(), self.tty.into());
        if let Some(workdir) = &self.workdir {
            if !workdir.starts_with('/') || workdir.contains('\0') {
                let message = format!("the working directory {workdir:?} is not absolute");
                return Err(Error::invalid_argument(message));
            }
            process.insert("cwd".to_owned(), workdir.as_str().into());
        }
        let given = variables(&self.env_file, &self.env)?;
        let env = process.entry("env").or_insert_with(|| json!([]));
        let env = env.as_array_mut().ok_or_else(|| broken("has variables that are none"))?;
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        for entry in given.into_iter().chain(self.tty.then(|| "TERM=xterm".to_owned())) {
            env.retain(|known| known.as_str().is_none_or(|known| name(known) != name(&entry)));
            env.push(entry.into());
        }
        if let Some(wanted) = &self.user {
            // What the container sees as its root, whatever it has mounted there since.
            let found = user::find_at(Path::new(&format!("/proc/{pid}/root")), wanted)?;
            let (uid, gid) = (found.uid, found.gid);
            let ids = json!({"uid": uid, "gid": gid, "additionalGids": found.groups});
            process.insert("user".to_owned(), ids);
        }
        if self.privileged {
            let all = Privileges::of_this_process()?.capabilities;
            let sets = json!({"bounding": all, "effective": all, "permitted": all});
            process.insert("capabilities".to_owned(), sets);
        }
        let value = Value::Object(std::mem::take(process)).to_string().into_bytes();
        Ok(Any { type_url: TYPE_URL.to_owned(), value })
    }

    async fn execute(
        &self,
        tasks: &Tasks,
        record: &Container,
        place: &Place,
        signals: &mut Signals,
    ) -> Result<Option<u32>> {
        let init = tasks.service.get(&ProcessId::init(&self.id)).await?;
        let spec = self.process(record, init.pid)?;
        let (container, exec) = (self.id.clone(), super::run::random_id()?);
        let wanted = Wanted { stdin: self.interactive, output: true, terminal: self.tty };
        let fifos = match self.detach {
            true => Fifos::default(),
            false => Fifos::make(&place.of_exec(&exec), wanted)?,
        };
        let process = ProcessId::new(&container, &exec);
        let stdio = fifos.stdio();
        tasks.service.exec(ExecProcess { container, exec, stdio, spec }).await?;
        let mut attached = match self.detach {
            true => None,
            false => Some(Attached::begin(fifos, Some(self.detach_keys.clone()))?),
        };
        if let Err(error) = tasks.service.start(&process).await {
            // The error of the start is what is told.
            let _ = tasks.service.delete_process(&process).await;
            if let Some(attached) = attached {
                let _ = attached.finish(Drain::Nothing).await;
            }
            return Err(error);
        }
        let Some(mut attached) = attached.take() else { return Ok(None) };
        attached.resize(tasks, &process).await;
        let exit = match attached.attend(tasks, &process, signals).await {
            Ok(Some(exit)) => exit,
            let_go => {
                attached.finish(Drain::Nothing).await?;
                return let_go.map(|_| None);
            }
        };
        attached.finish(Drain::All).await?;
        match tasks.service.delete_process(&process).await {
            // With its container.
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Some(exit.status)),
        }
    }
}
