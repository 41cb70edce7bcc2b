//! The verbs, one file each: what is typed after `lamina`, and what is done about it.
//!
//! A verb is a struct of arguments, whose documentation is its help text, with a `run`. Verbs are
//! written against the traits of `lamina-core`; only those that belong to the owner of the store
//! (`df`, `fsck`) and what a daemon does its own way (`pull`, `prune`) ask which it is.

mod attach;
mod commit;
mod completion;
mod config;
mod container;
mod content;
mod df;
mod events;
mod exec;
mod fsck;
mod image;
mod info;
mod kill;
mod lease;
mod logger;
mod logs;
mod namespace;
mod pause;
mod plugins;
mod prune;
mod ps;
mod publish;
mod pull;
mod push;
mod rm;
mod run;
mod serve;
mod snapshot;
mod snapshotter;
mod stop;
mod task;
mod tasks;
pub(crate) mod version;

use clap::Subcommand;
use lamina_core::Result;

use crate::cli::Context;

/// Everything `lamina` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Serve(serve::Serve),
    Snapshotter(snapshotter::Snapshotter),
    Pull(pull::Pull),
    Push(push::Push),
    Load(image::import::Import),
    Save(image::export::Export),
    Run(Box<run::Run>),
    Ps(ps::Ps),
    Exec(Box<exec::Exec>),
    Logs(logs::Logs),
    Attach(attach::Attach),
    Stop(stop::Stop),
    Kill(kill::Kill),
    Pause(pause::Pause),
    Unpause(pause::Unpause),
    Rm(rm::Rm),
    #[command(subcommand, visible_aliases = ["containers", "c"])]
    Container(container::Verb),
    #[command(subcommand, visible_aliases = ["tasks", "t"])]
    Task(task::Verb),
    Commit(commit::Commit),
    #[command(subcommand, visible_aliases = ["i", "images"])]
    Image(image::Verb),
    Rmi(image::rm::Rm),
    Tag(image::tag::Tag),
    #[command(subcommand)]
    Content(content::Verb),
    #[command(subcommand, visible_alias = "snapshots")]
    Snapshot(snapshot::Verb),
    #[command(subcommand, visible_aliases = ["namespaces", "ns"])]
    Namespace(namespace::Verb),
    #[command(subcommand, visible_alias = "leases")]
    Lease(lease::Verb),
    #[command(subcommand, visible_alias = "plugin")]
    Plugins(plugins::Verb),
    #[command(subcommand)]
    Config(config::Verb),
    Events(events::Events),
    Publish(publish::Publish),
    Df(df::Df),
    Fsck(fsck::Fsck),
    Prune(prune::Prune),
    Info(info::Info),
    Version(version::Show),
    Completion(completion::Completion),
    #[command(hide = true)]
    Logger(logger::Logger),
}

impl Verb {
    /// Whether it works for many at once, and logs.
    pub(crate) fn serves(&self) -> bool {
        matches!(self, Verb::Serve(_) | Verb::Snapshotter(_))
    }

    /// What shims start, which needs no settings.
    pub(crate) fn logger(&self) -> Option<&logger::Logger> {
        match self {
            Verb::Logger(verb) => Some(verb),
            _ => None,
        }
    }

    /// Does it.
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Serve(verb) => verb.run(cx.settings).await,
            Verb::Snapshotter(verb) => verb.run(cx.settings).await,
            Verb::Pull(verb) => verb.run(cx).await,
            Verb::Push(verb) => verb.run(cx).await,
            Verb::Load(verb) => verb.run(cx).await,
            Verb::Save(verb) => verb.run(cx).await,
            Verb::Run(verb) => verb.run(cx).await,
            Verb::Ps(verb) => verb.run(cx).await,
            Verb::Exec(verb) => verb.run(cx).await,
            Verb::Logs(verb) => verb.run(cx).await,
            Verb::Attach(verb) => verb.run(cx).await,
            Verb::Stop(verb) => verb.run(cx).await,
            Verb::Kill(verb) => verb.run(cx).await,
            Verb::Pause(verb) => verb.run(cx).await,
            Verb::Unpause(verb) => verb.run(cx).await,
            Verb::Rm(verb) => verb.run(cx).await,
            Verb::Container(verb) => verb.run(cx).await,
            Verb::Task(verb) => verb.run(cx).await,
            Verb::Commit(verb) => verb.run(cx).await,
            Verb::Image(verb) => verb.run(cx).await,
            Verb::Rmi(verb) => verb.run(cx).await,
            Verb::Tag(verb) => verb.run(cx).await,
            Verb::Content(verb) => verb.run(cx).await,
            Verb::Snapshot(verb) => verb.run(cx).await,
            Verb::Namespace(verb) => verb.run(cx).await,
            Verb::Lease(verb) => verb.run(cx).await,
            Verb::Plugins(verb) => verb.run(cx).await,
            Verb::Config(verb) => verb.run(cx),
            Verb::Events(verb) => verb.run(cx).await,
            Verb::Publish(verb) => verb.run(cx).await,
            Verb::Df(verb) => verb.run(cx).await,
            Verb::Fsck(verb) => verb.run(cx).await,
            Verb::Prune(verb) => verb.run(cx).await,
            Verb::Info(verb) => verb.run(cx).await,
            Verb::Version(verb) => verb.run(cx).await,
            Verb::Completion(verb) => verb.run(cx),
            Verb::Logger(verb) => verb.run(),
        }
    }
}
