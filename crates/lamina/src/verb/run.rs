//! `lamina run`

mod make;
mod options;

use clap::Args;
use lamina_core::namespace::check_identifier;
use lamina_core::task::{ProcessId, Stdio};
use lamina_core::{Container, Error, Reference, Result};

use super::tasks::forward::Signals;
use super::tasks::streams::Streams;
use super::tasks::{self, Tasks};
use crate::cli::{Context, Exited};

/// Runs a program in a new container
///
/// An image that is not here is pulled. The program's output is ours, signals are sent on to it, and
/// its exit code is ours in the end. It reads nothing. Needs root, runc and containerd's shim for it.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Print the container's identifier and leave it running; its output goes nowhere
    #[arg(long, short, conflicts_with = "rm")]
    detach: bool,
    /// Remove the container when the program has ended
    #[arg(long)]
    rm: bool,
    /// The container's identifier [default: one that is made up]
    #[arg(long, value_name = "ID")]
    name: Option<String>,
    /// The runtime: a name, or the path of a shim
    #[arg(long, value_name = "NAME", default_value = "io.containerd.runc.v2")]
    runtime: String,
    #[command(flatten)]
    options: options::OptionArgs,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// What to run instead of the image's command, with its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Run {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let options = self.options.read(&self.command)?;
        let id = match &self.name {
            Some(name) => name.clone(),
            None => random_id()?,
        };
        check_identifier(&id)?;
        self.pull_if_missing(cx).await?;
        let mut signals = Signals::listen()?;
        let mut streams = match self.detach {
            true => None,
            false => Some(Streams::make(&cx.settings.config.state)?),
        };
        let stdio = streams.as_ref().map(Streams::stdio).unwrap_or_default();
        let container = self.make(cx, &id, &options, stdio).await?;
        let tasks = Tasks::reach(cx)?;
        let process = ProcessId::init(&id);
        if let Err(error) = tasks.service.start(&process).await {
            discard(cx, &tasks, &container).await;
            tasks.close().await;
            return Err(error.context(format!("start container {id:?}")));
        }
        let Some(streams) = &mut streams else {
            tasks.close().await;
            return cx.line(id);
        };
        let copying = streams.copy()?;
        let exit = tasks.attend(&process, &mut signals).await;
        if exit.is_ok() {
            copying.end().await;
        }
        let status = exit?.status;
        if self.rm {
            let session = cx.connect().await?;
            tasks.remove(cx, &session, &container).await?;
            session.collect().await?;
        }
        tasks.close().await;
        Exited::check(status)
    }

    async fn pull_if_missing(&self, cx: &Context<'_>) -> Result<()> {
        let found = {
            let session = tasks::own(cx, "run").await?;
            let images = session.images(&cx.scope());
            let name = super::image::name_of(&*images, &self.image).await?;
            images.get(&name).await
        };
        match found {
            Err(error) if error.is_not_found() => {
                super::pull::Pull::missing(cx, &Reference::parse(&self.image)?).await
            }
            found => found.map(drop),
        }
    }

    /// Makes the container and its task. The store is let go of in the end.
    async fn make(
        &self,
        cx: &Context<'_>,
        id: &str,
        options: &lamina_runtime::spec::Options,
        stdio: Stdio,
    ) -> Result<Container> {
        let session = tasks::own(cx, "run").await?;
        let named = |error: Error| error.context(format!("make container {id:?}"));
        let wish = make::Wish { id, image: &self.image, runtime: &self.runtime, options };
        wish.make(cx, &session, stdio).await.map_err(named)
    }
}

/// Takes away a container that did not come to run, whose error is what is told.
async fn discard(cx: &Context<'_>, tasks: &Tasks, container: &Container) {
    let discarded = async {
        let session = cx.connect().await?;
        tasks.remove(cx, &session, container).await?;
        session.collect().await.map(drop)
    };
    if let Err(error) = discarded.await {
        eprintln!("warning: container {:?} is left: {}", container.id, error.chain());
    }
}

/// A new identifier.
///
/// # Errors
/// Internal if the kernel has no random numbers.
pub(super) fn random_id() -> Result<String> {
    let mut bytes = [0; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    rustix::rand::getrandom(&mut bytes, flags)
        .map_err(|error| Error::internal("make up an identifier").with_source(error))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
