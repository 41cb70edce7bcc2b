//! Snapshots and their names: rows against each other and against what the back ends have.

use std::collections::{BTreeMap, BTreeSet};

use lamina_core::digest::chain_id;
use lamina_core::snapshot::Kind;
use lamina_core::{Digest, Labels, Result};

use super::{Code, FsckOptions, Report};
use crate::Store;
use crate::db::snapshots::SnapshotRow;
use crate::snapshot::Engine;
use crate::snapshot::driver::{Removed, Snapshot, SnapshotId};

/// Rows per read transaction.
const PAGE: usize = 256;

pub(super) fn check(store: &Store, options: FsckOptions, report: &mut Report) -> Result<()> {
    for name in store.db().read(|r| r.snapshotters())? {
        let rows = read_rows(store, &name)?;
        report.snapshots += rows.len() as u64;
        check_rows(store, &name, &rows, report)?;
        match store.engine(&name) {
            Ok(engine) => check_files(store, &engine, &rows, options, report)?,
            Err(error) => {
                report.add(Code::SnapshotterAway, &name, error.chain());
            }
        }
        check_names(store, &name, &rows, report)?;
    }
    Ok(())
}

fn read_rows(store: &Store, snapshotter: &str) -> Result<BTreeMap<SnapshotId, SnapshotRow>> {
    let mut rows = BTreeMap::new();
    for live in [true, false] {
        let mut after = SnapshotId(0);
        loop {
            let page = store.db().read(|r| r.snapshot_page(snapshotter, after, live, PAGE))?;
            let Some(last) = page.last() else { break };
            after = last.id;
            rows.extend(page.into_iter().map(|row| (row.id, row)));
        }
    }
    Ok(rows)
}

fn check_rows(
    store: &Store,
    snapshotter: &str,
    rows: &BTreeMap<SnapshotId, SnapshotRow>,
    report: &mut Report,
) -> Result<()> {
    let next = store.db().read(|r| r.next_snapshot_id(snapshotter))?;
    for row in rows.values() {
        let subject = format!("{snapshotter}/{}", row.id);
        if row.id >= next {
            report.add(Code::SnapshotId, &subject, format!("ids below {next} are reserved"));
        }
        let parent = row.parent.map(|id| (id, rows.get(&id)));
        let wrong = match parent {
            Some((id, None)) => Some(format!("its parent {id} has no row")),
            Some((id, Some(below))) if below.kind != Kind::Committed => {
                Some(format!("its parent {id} is {}", below.kind.as_str()))
            }
            Some((id, Some(below))) if row.live && !below.live => {
                Some(format!("its parent {id} was removed"))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            report.add(Code::SnapshotParent, &subject, wrong);
        }
        if let Some(found) = wrong_chain(row, parent.and_then(|(_, below)| below)) {
            report.add(Code::SnapshotChain, &subject, found);
        }
        if !row.live {
            continue;
        }
        if store.db().read(|r| r.names_of(snapshotter, row.id))? == 0
            && store.db().read(|r| r.snapshot(snapshotter, row.id))?.is_some_and(|now| now.live)
        {
            report.add(Code::SnapshotUnnamed, &subject, "no namespace has it");
        }
        if !row.settled {
            report.add(Code::SnapshotUnsettled, &subject, "the next start settles it");
        }
    }
    Ok(())
}

/// What a row's chain ID should be, if it has another.
fn wrong_chain(row: &SnapshotRow, below: Option<&SnapshotRow>) -> Option<String> {
    let chain = row.chain_id.as_ref()?;
    let Some(diff_id) = &row.diff_id else {
        return Some(format!("it has chain ID {chain} and no diff ID"));
    };
    let parent: Option<&Digest> = match below {
        None => None,
        Some(below) => match &below.chain_id {
            Some(parent) => Some(parent),
            None => return Some("its parent has no verified chain ID".to_owned()),
        },
    };
    let wanted = chain_id(parent, diff_id);
    (wanted != *chain).then(|| format!("it is {chain}, but should be {wanted}"))
}

fn check_files(
    store: &Store,
    engine: &Engine,
    rows: &BTreeMap<SnapshotId, SnapshotRow>,
    options: FsckOptions,
    report: &mut Report,
) -> Result<()> {
    let (name, driver) = (engine.name(), engine.driver());
    for row in rows.values().filter(|row| row.live) {
        let snapshot = Snapshot {
            id: row.id,
            kind: row.kind,
            parents: parents(rows, row),
            labels: Labels::new(),
        };
        let still = || store.db().read(|r| r.snapshot(name, row.id));
        if !driver.exists(&snapshot)? && still()?.is_some_and(|now| now.live) {
            let detail = "its files are missing: remove what is on it and unpack it again";
            report.add(Code::SnapshotLost, format!("{name}/{}", row.id), detail);
        }
    }
    if let Some(ids) = driver.list()? {
        for id in ids.into_iter().filter(|id| !rows.contains_key(id)) {
            stray(store, engine, id, options, report)?;
        }
    }
    if options.repair {
        engine.reap()?;
    }
    for row in store.db().read(|r| r.snapshot_page(name, SnapshotId(0), false, PAGE))? {
        let subject = format!("{name}/{}", row.id);
        report.add(Code::SnapshotDead, subject, "removed, and still on disk");
    }
    Ok(())
}

/// An id on disk without a row. One that is being made just now has none yet; ids only grow, so it
/// lies beyond all that had rows, and only those below are garbage for sure.
fn stray(
    store: &Store,
    engine: &Engine,
    id: SnapshotId,
    options: FsckOptions,
    report: &mut Report,
) -> Result<()> {
    let name = engine.name();
    if engine.is_being_made(id) || store.db().read(|r| r.snapshot(name, id))?.is_some() {
        return Ok(());
    }
    let finding = report.add(Code::SnapshotStray, format!("{name}/{id}"), "no row names it");
    if options.repair {
        finding.repaired = engine.driver().remove(id)? == Removed::Gone;
    }
    Ok(())
}

fn parents(rows: &BTreeMap<SnapshotId, SnapshotRow>, row: &SnapshotRow) -> Vec<SnapshotId> {
    let mut parents = Vec::new();
    let mut seen = BTreeSet::from([row.id]);
    let mut next = row.parent;
    while let Some(id) = next.filter(|id| seen.insert(*id)) {
        parents.push(id);
        next = rows.get(&id).and_then(|row| row.parent);
    }
    parents
}

fn check_names(
    store: &Store,
    snapshotter: &str,
    rows: &BTreeMap<SnapshotId, SnapshotRow>,
    report: &mut Report,
) -> Result<()> {
    for namespace in store.db().read(|r| r.gc_namespaces())? {
        let mut after = String::new();
        loop {
            let page = store.db().read(|r| r.name_page(&namespace, snapshotter, &after, PAGE))?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.key);
            for name in page {
                report.names += 1;
                // Made since the rows were read.
                let Some(row) = rows.get(&name.id) else { continue };
                let subject = format!("{namespace}/{snapshotter}/{}", name.key);
                if !row.live {
                    report.add(Code::NameDead, &subject, format!("it names {}", name.id));
                }
                let below = match name.parent.as_str() {
                    "" => None,
                    parent => {
                        let found = store.db().read(|r| r.name(&namespace, snapshotter, parent))?;
                        Some(found.map(|name| name.id))
                    }
                };
                if below != row.parent.map(Some) {
                    let now = store.db().read(|r| r.name(&namespace, snapshotter, &name.key))?;
                    // Committed with a parent, or removed, since.
                    if now.is_some_and(|now| now == name) {
                        let detail = format!(
                            "its parent {:?} is not snapshot {:?}",
                            name.parent, row.parent
                        );
                        report.add(Code::NameParent, &subject, detail);
                    }
                }
            }
        }
    }
    Ok(())
}
