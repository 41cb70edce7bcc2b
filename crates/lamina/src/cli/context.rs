//! What a verb gets: settings, the output, and the way to the store.

use std::cell::Cell;
use std::fmt::Display;
use std::sync::Arc;

use lamina_core::{Host, Result, Scope, Snapshotter};
use lamina_store::fsck::{FsckOptions, Report};

use super::session::{self, Daemon};
use super::settings::Durability;
use super::{Session, Settings};
use crate::out::Out;

/// The surroundings of one verb.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) out: &'a mut Out,
    looked: Cell<Looked>,
    runs: Cell<Runs>,
}

/// Whose exit code a verb's is to be: what failed then is told from what the program did by codes that
/// programs leave to shells, as Docker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Runs {
    /// The verb's own.
    #[default]
    Nothing,
    /// A program's, in a container that there is.
    InContainer,
    /// A container's.
    Container,
}

/// Where a verb looked for things: whoever does not find them may have meant another place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Looked {
    /// At the host as a whole.
    #[default]
    Host,
    /// In the namespace.
    Namespace,
    /// In the snapshotter of the namespace.
    Snapshotter,
}

impl<'a> Context<'a> {
    pub(crate) fn new(settings: &'a Settings, out: &'a mut Out) -> Self {
        Context { settings, out, looked: Cell::default(), runs: Cell::default() }
    }

    /// The store, through the daemon or by its lock.
    pub(crate) async fn connect(&self) -> Result<Session> {
        let session = Session::connect(self.settings).await?;
        self.learn(&*session).await?;
        Ok(session)
    }

    /// Lets the namespace say which snapshotter it uses, where nothing was typed.
    pub(crate) async fn learn(&self, host: &dyn Host) -> Result<()> {
        self.settings.snapshotter.learn(host, &self.settings.namespace).await
    }

    /// The daemon, if there is one.
    pub(crate) async fn daemon(&self) -> Result<Option<Daemon>> {
        Daemon::find(self.settings).await
    }

    /// The store by its lock, with another durability than the configured one if one is named.
    pub(crate) fn open_with(&self, durability: Option<Durability>) -> Result<Session> {
        Session::open(self.settings, durability.unwrap_or(self.settings.config.durability))
    }

    /// What is wrong with the store, before opening it puts it in order.
    pub(crate) async fn examine(&self, look: FsckOptions) -> Result<Report> {
        session::examine(self.settings, look).await
    }

    /// Sees and makes things of the namespace that was asked for.
    pub(crate) fn scope(&self) -> Scope {
        self.looked.set(self.looked.get().max(Looked::Namespace));
        Scope::new(self.settings.namespace.clone())
    }

    /// The snapshotter that was asked for, as the namespace sees it.
    pub(crate) fn snapshotter(&self, session: &Session) -> Result<Arc<dyn Snapshotter>> {
        let snapshotter = session.snapshotter(&self.scope(), &self.settings.snapshotter)?;
        self.looked.set(Looked::Snapshotter);
        Ok(snapshotter)
    }

    /// Says whose exit code is to be ours.
    pub(crate) fn set_runs(&self, runs: Runs) {
        self.runs.set(runs);
    }

    /// Whose exit code is to be ours.
    pub(super) fn runs(&self) -> Runs {
        self.runs.get()
    }

    /// Where the verb looked for things.
    pub(super) fn looked(&self) -> Looked {
        self.looked.get()
    }

    /// Prints one line.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<()> {
        self.out.line(line)
    }
}
