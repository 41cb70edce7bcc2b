//! `lamina prune`

use clap::Args;
use lamina_core::{Error, Result};
use lamina_store::snapshot::State;
use lamina_store::{Collected, Store, disk};
use serde::Serialize;

use crate::cli::{Context, Session};
use crate::out::{FormatArg, Sizes, visible};

/// Frees what nothing refers to, in all namespaces
///
/// What images, containers, leases that have not expired and the label containerd.io/gc.root refer to
/// stays, and what that refers to in turn. The files are gone when the command ends; what is in use
/// is listed, and freed by a later one.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    format: FormatArg,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    images: usize,
    leases: usize,
    blobs: usize,
    ingests: usize,
    snapshots: usize,
    mounts: usize,
    freed: u64,
    busy: Vec<String>,
}

impl Prune {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let report = match cx.connect().await? {
            session @ Session::Daemon(_) => return self.by_daemon(cx, &session).await,
            Session::Store(ref store) => collect(store)?,
        };
        if self.format.is_json() {
            return cx.out.json(&report);
        }
        report.lines().iter().try_for_each(|line| cx.line(line))
    }

    /// A daemon says neither how much it was nor what is in use.
    async fn by_daemon(&self, cx: &mut Context<'_>, session: &Session) -> Result<()> {
        session.collect().await?;
        if self.format.is_json() {
            return cx.out.json(&serde_json::json!({}));
        }
        cx.line("the daemon has freed what nothing refers to")
    }
}

fn collect(store: &Store) -> Result<Report> {
    let before = used(store)?;
    let Collected { blobs, snapshots, images, leases, ingests, mounts, busy } = store.collect()?;
    let mut report = Report { images, leases, blobs, ingests, snapshots, mounts, freed: 0, busy };
    empty_trash(store, &mut report.busy);
    report.freed = before.saturating_sub(used(store)?);
    Ok(report)
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let counts = [
            (self.images, "images"),
            (self.leases, "leases"),
            (self.blobs, "blobs"),
            (self.ingests, "ingests"),
            (self.snapshots, "snapshots"),
            (self.mounts, "mounts"),
        ];
        let some = counts.iter().filter(|(count, _)| *count > 0);
        let mut lines: Vec<String> =
            some.map(|(count, what)| format!("removed {what}: {count}")).collect();
        lines.push(format!("freed {}", Sizes::Human.show(self.freed)));
        lines.extend(self.busy.iter().map(|what| format!("still in use: {}", visible(what))));
        lines
    }
}

/// Removes the files of what was removed earlier, too. What cannot be removed now is noted.
fn empty_trash(store: &Store, busy: &mut Vec<String>) {
    for (name, state) in store.snapshotters() {
        let State::Ready(engine) = state else { continue };
        let mut note = |line: String| {
            if !busy.contains(&line) {
                busy.push(line);
            }
        };
        match engine.reap() {
            Ok(reaped) => {
                for (id, why) in reaped.busy {
                    note(format!("{name} snapshot {id}: {why}"));
                }
            }
            Err(error) => note(format!("{name}: {}", Error::chain(&error))),
        }
    }
}

fn used(store: &Store) -> Result<u64> {
    // The database does not shrink when rows go, it may even grow; that is not what was freed.
    let parts = disk::parts(store)?;
    Ok(parts.iter().filter(|part| part.name != disk::DATABASE).map(|part| part.size).sum())
}
