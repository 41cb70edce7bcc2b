//! `lamina snapshot`: file trees laid on top of each other.

mod cleanup;
mod commit;
mod diff;
mod info;
mod label;
mod ls;
mod mounts;
mod prepare;
mod rm;
mod tree;
mod unpack;
mod usage;
mod view;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lamina_core::{Error, Labels, Mount, Result, labels};

use crate::cli::Context;
use crate::out::MountView;

/// Works with snapshots, the file trees of images and containers
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(ls::Ls),
    Tree(tree::Tree),
    Info(info::Info),
    Mounts(mounts::Mounts),
    Prepare(prepare::Prepare),
    View(view::View),
    Commit(commit::Commit),
    Rm(rm::Rm),
    Label(label::Label),
    Diff(diff::Diff),
    Usage(usage::Usage),
    Unpack(unpack::Unpack),
    Cleanup(cleanup::Cleanup),
}

impl Verb {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Verb::Ls(verb) => verb.run(cx).await,
            Verb::Tree(verb) => verb.run(cx).await,
            Verb::Info(verb) => verb.run(cx).await,
            Verb::Mounts(verb) => verb.run(cx).await,
            Verb::Prepare(verb) => verb.run(cx).await,
            Verb::View(verb) => verb.run(cx).await,
            Verb::Commit(verb) => verb.run(cx).await,
            Verb::Rm(verb) => verb.run(cx).await,
            Verb::Label(verb) => verb.run(cx).await,
            Verb::Diff(verb) => verb.run(cx).await,
            Verb::Usage(verb) => verb.run(cx).await,
            Verb::Unpack(verb) => verb.run(cx).await,
            Verb::Cleanup(verb) => verb.run(cx).await,
        }
    }
}

pub(super) use mounts::{activated, deactivate, left_to_mount};

/// The label that keeps a snapshot made by hand until it is removed by hand.
pub(super) fn kept() -> Result<Labels> {
    let now = jiff::Timestamp::now().round(jiff::Unit::Second);
    let now = now.map_err(|error| Error::internal("read the clock").with_source(error))?;
    Ok([(labels::GC_ROOT.to_owned(), now.to_string())].into())
}

/// How the mounts of a new snapshot are printed.
#[derive(Debug, Args)]
struct ShowMounts {
    /// Print the commands that mount it there
    #[arg(long, short, value_name = "DIR")]
    target: Option<PathBuf>,
    /// Print its mounts as JSON
    #[arg(long)]
    mounts: bool,
}

impl ShowMounts {
    fn print(&self, cx: &mut Context<'_>, mounts: &[Mount]) -> Result<()> {
        if let Some(target) = &self.target {
            mounts::print_commands(cx, mounts, target)?;
        }
        if self.mounts {
            let views: Vec<MountView<'_>> = mounts.iter().map(MountView::from).collect();
            cx.out.json(&views)?;
        }
        Ok(())
    }
}
