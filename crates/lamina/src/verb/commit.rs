//! `lamina commit`

use clap::{ArgAction, Args};
use lamina_core::task::{ProcessId, Status};
use lamina_core::{Container, Reference, Result, TaskService};
use lamina_image::commit::{Change, CommitOptions, Committed, commit};

use super::tasks::Tasks;
use crate::cli::{Context, Session, date, until_interrupted};

/// Makes an image of what a container has written, and prints its digest
///
/// The image has the layers of the container's image and one more, and is unpacked. A container that
/// runs is paused for as long as its files are read.
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// Who made the image
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    author: String,
    /// A change to how the image is run, as in a Dockerfile: 'CMD ["a"]', 'ENV A=b'
    #[arg(long, short, value_name = "INSTRUCTION")]
    change: Vec<Change>,
    /// Why it was made
    #[arg(long, short, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    /// Pause the container meanwhile; =false lets it run, and fails if it writes
    #[arg(
        long,
        short,
        action = ArgAction::Set,
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    pause: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The name of the image
    #[arg(value_name = "REF")]
    reference: String,
}

impl Commit {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let name = Reference::parse(&self.reference)?.to_string();
        let options = CommitOptions {
            author: self.author.clone(),
            message: self.message.trim().to_owned(),
            changes: self.change.clone(),
            date: date::of_the_source()?,
        };
        let tasks = Tasks::reach(cx).await?;
        let session = cx.connect().await?;
        let container = session.containers(&cx.scope()).get(&self.container).await?;
        let made = match self.pause {
            true => {
                paused(&*tasks.service, &container, make(cx, &session, &container, &name, &options))
                    .await
            }
            false => make(cx, &session, &container, &name, &options).await,
        };
        tasks.close().await;
        cx.line(made?.image.target.digest)
    }
}

async fn make(
    cx: &Context<'_>,
    session: &Session,
    container: &Container,
    name: &str,
    options: &CommitOptions,
) -> Result<Committed> {
    let limits = cx.settings.config.limits.documents;
    let what = format!("commit {}", container.id);
    let scope = cx.scope();
    let made = commit(&**session, &scope, container, name, options, limits);
    until_interrupted(&what, made).await
}

/// Does `work` while the container stands still, if it runs; whatever comes of it, it runs again.
async fn paused<T>(
    tasks: &dyn TaskService,
    container: &Container,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let id = &container.id;
    let status = match tasks.get(&ProcessId::init(id)).await {
        Err(error) if error.is_not_found() => Status::Stopped,
        found => found?.status,
    };
    if status != Status::Running {
        return work.await;
    }
    if let Err(error) = tasks.pause(id).await {
        // It may have ended meanwhile.
        let now = tasks.get(&ProcessId::init(id)).await;
        if now.is_ok_and(|process| process.status == Status::Running) {
            return Err(error.context(format!("pause container {id:?}")));
        }
        return work.await;
    }
    let done = work.await;
    let resumed = tasks.resume(id).await;
    match (done, resumed) {
        (Ok(done), Ok(())) => Ok(done),
        (Err(error), Ok(())) => Err(error),
        (done, Err(error)) => {
            eprintln!("warning: container {id:?} stays paused: {}", error.chain());
            done
        }
    }
}
